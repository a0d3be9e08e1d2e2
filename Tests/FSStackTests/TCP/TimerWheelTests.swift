import Testing

@testable import FSStack

/// A wheel with the rows of 32 connections.
private struct TestWheel: ~Copyable {
  private let rows = LinkRows<ConnectionID>(capacity: 32)
  var timers: TimerWheel

  init(at now: Instant) { timers = TimerWheel(rows: rows, now: now) }

  deinit {
    timers.deallocate()
    rows.deallocate()
  }
}

@Suite struct TimerWheelTests {
  /// A timer fires at or after its deadline, by at most a tick and what a step skips; never early.
  /// `nextDeadline` never sleeps too long.
  @Test(arguments: [1, 50, 3000, 400_000, 40_000_000] as [UInt64])
  func firesInTime(scale: UInt64) {
    var random = SplitMix64(seed: scale)
    var now = Instant(nanoseconds: 123_456_789)
    var wheel = TestWheel(at: now)
    var deadlines: [UInt32: Instant] = [:]
    for step in 0..<(scale > 10_000 ? 300 : 3000) {
      let number = UInt32.random(in: 0..<32, using: &random)
      let id = ConnectionID(raw: number)
      switch Int.random(in: 0..<4, using: &random) {
      case 0...1:
        let distance = UInt64.random(in: 0...scale * 1_000_000, using: &random)
        let deadline = now + Interval(nanoseconds: distance)
        // As an owner does: the wheel may fire before a deadline that has moved.
        deadlines[number] = deadline
        wheel.timers.arm(id, at: deadline, movesAtOnce: false)
      case 2 where random.chance(0.3):
        deadlines[number] = nil
        wheel.timers.disarm(id)
      default:
        let earliest = deadlines.values.min()
        if let earliest, let next = wheel.timers.nextDeadline() {
          // Waking at `nextDeadline` again and again comes to the earliest deadline in time.
          let late = next > earliest ? (next - earliest).nanoseconds : 0
          guard late <= 1_000_000 else {
            Issue.record("step \(step): late by \(late)")
            return
          }
        } else if earliest != nil {
          Issue.record("step \(step): no deadline")
          return
        }
        now = Instant(
          nanoseconds: now.nanoseconds
            + UInt64.random(in: 0...scale * 300_000, using: &random))
        while let fired = wheel.timers.next(by: now) {
          guard let deadline = deadlines[fired.raw] else { continue }
          if deadline <= now {
            deadlines[fired.raw] = nil
          } else {
            wheel.timers.arm(fired, at: deadline, movesAtOnce: false)
          }
        }
        // One tick of a millisecond is the precision.
        for (number, deadline) in deadlines where deadline + .milliseconds(2) <= now {
          Issue.record("step \(step): \(number) has not fired")
          return
        }
      }
    }
  }

  /// What moves at once fires once, at its deadline; what has none any more never.
  @Test(arguments: [1, 50, 3000, 400_000] as [UInt64])
  func movesAtOnce(scale: UInt64) {
    var random = SplitMix64(seed: scale)
    var now = Instant(nanoseconds: 123_456_789)
    var wheel = TestWheel(at: now)
    var deadlines: [UInt32: Instant] = [:]
    var firedCount = 0
    for step in 0..<3000 {
      let number = UInt32.random(in: 0..<32, using: &random)
      let distance = UInt64.random(in: 0...scale * 1_000_000, using: &random)
      let deadline = random.chance(0.2) ? .never : now + Interval(nanoseconds: distance)
      deadlines[number] = deadline == .never ? nil : deadline
      wheel.timers.arm(ConnectionID(raw: number), at: deadline, movesAtOnce: true)
      guard step % 4 == 0 else { continue }
      now = now + Interval(nanoseconds: UInt64.random(in: 0...scale * 300_000, using: &random))
      while let fired = wheel.timers.next(by: now) {
        let deadline = deadlines.removeValue(forKey: fired.raw)
        #expect(deadline.map { $0 <= now } == true, "step \(step): \(fired.raw) has fired")
        firedCount += 1
      }
      #expect(deadlines.values.allSatisfy { $0 + .milliseconds(2) > now }, "step \(step)")
    }
    #expect(firedCount > 100)
  }

  /// A far deadline costs a few looks, not one for each quarter of a second until then.
  @Test(arguments: [1, 300, 7200, 100_000] as [UInt64])
  func fewStops(seconds: UInt64) {
    var now = Instant(nanoseconds: 987_654_321)
    var wheel = TestWheel(at: now)
    let deadline = now + .seconds(seconds)
    wheel.timers.arm(ConnectionID(raw: 0), at: deadline, movesAtOnce: false)
    var stops = 0
    while let next = wheel.timers.nextDeadline(), stops < 1000 {
      stops += 1
      now = max(now, next)
      while let fired = wheel.timers.next(by: now) {
        if now < deadline { wheel.timers.arm(fired, at: deadline, movesAtOnce: false) }
      }
    }
    #expect(now >= deadline && now <= deadline + .milliseconds(2))
    // One for each level, and one more for each span of the whole wheel.
    #expect(stops <= 3 + Int(seconds / 16_000))
  }
}
