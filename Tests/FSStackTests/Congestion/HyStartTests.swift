import FSRing
import Testing

@testable import FSStack

/// HyStart++ (RFC 9406).
@Suite struct HyStartTests {
  /// Rounds until slow start ends, or nil when it has not after `limit`; `roundTrip` gives each
  /// round's.
  private func rounds(
    _ clock: inout AcknowledgementClock, limit: Int, _ roundTrip: (Int) -> Interval
  ) -> Int? {
    clock.measures = true
    for round in 0..<limit {
      clock.roundTrip = roundTrip(round)
      clock.round()
      if clock.control.slowStartThreshold != .max { return round }
    }
    return nil
  }

  /// Steady round trips: slow start goes on, doubling.
  @Test func steady() {
    var clock = AcknowledgementClock(.cubic, roundTrip: .milliseconds(40))
    #expect(rounds(&clock, limit: 8) { _ in .milliseconds(40) } == nil)
    #expect(clock.segments == 2560)
  }

  /// An eighth more (at least 4 ms, at most 16 ms): five rounds of a quarter of the growth, then
  /// avoidance.
  @Test(arguments: [(10, 4), (40, 5), (64, 8), (400, 16)] as [(UInt64, UInt64)])
  func leavesWhenTheRoundTripGrows(base: UInt64, threshold: UInt64) {
    var clock = AcknowledgementClock(.cubic, roundTrip: .milliseconds(base))
    #expect(
      rounds(&clock, limit: 7) {
        $0 < 4 ? .milliseconds(base) : .milliseconds(base + threshold - 1)
      }
        == nil)
    clock = AcknowledgementClock(.cubic, roundTrip: .milliseconds(base))
    let end = rounds(&clock, limit: 12) {
      $0 < 4 ? .milliseconds(base) : .milliseconds(base + threshold)
    }
    // Noticed in round 4, whose rest is the first of five; a round of the algorithm begins with the
    // second acknowledgement of one of the clock's.
    #expect(end == 9)
    // 10 * 2^4, then about 1.25^5 times that.
    let expected = 160 * 1.25 * 1.25 * 1.25 * 1.25 * 1.25
    #expect(abs(clock.segments - expected) < 0.08 * expected, "\(clock.segments)")
    #expect(!clock.control.isInSlowStart)
  }

  /// The round trip falls again: it was jitter, and slow start goes on.
  @Test func resumesAfterJitter() {
    var clock = AcknowledgementClock(.cubic, roundTrip: .milliseconds(40))
    let end = rounds(&clock, limit: 10) { $0 == 4 ? .milliseconds(60) : .milliseconds(40) }
    #expect(end == nil && clock.segments > 2000)
  }

  /// Fewer than eight samples in a round say nothing.
  @Test func needsSamples() {
    var clock = AcknowledgementClock(.cubic, roundTrip: .milliseconds(40))
    clock.measures = true
    // A window in seven acknowledgements: L = 8 lets each count in full.
    for round in 0..<12 {
      clock.roundTrip = .milliseconds(40 + 20 * UInt64(round))
      let part = clock.control.window / 7
      for _ in 0..<7 { clock.acknowledge(min(part, 8000)) }
    }
    #expect(clock.control.slowStartThreshold == .max)
  }

  /// After the first congestion slow start is the plain one (section 4.3).
  @Test func onlyAtFirst() {
    var clock = AcknowledgementClock(.cubic, roundTrip: .milliseconds(40))
    clock.grow(to: 1000)
    clock.control.timedOut(inFlight: 1_000_000, segmentSize: 1000, isFirst: true, now: clock.now)
    clock.measures = true
    for round in 0..<9 {
      clock.roundTrip = .milliseconds(40 + 30 * UInt64(round))
      clock.round()
    }
    #expect(clock.segments == 512 && clock.control.slowStartThreshold == 700_000)
  }
}
