import FSRing
import Testing

@testable import FSStack

/// NewReno (RFC 5681, RFC 6582), and what all algorithms share.
@Suite struct NewRenoTests {
  private static let size: UInt32 = 1000

  /// Slow start doubles in a round trip, congestion avoidance adds a segment (MUST-19).
  @Test func growth() {
    var clock = AcknowledgementClock(.newReno, roundTrip: .milliseconds(10))
    #expect(clock.control.window == 10_000)
    clock.round()
    #expect(clock.control.window == 20_000)
    clock.control.timedOut(
      inFlight: 20_000, segmentSize: Self.size, isFirst: true, now: clock.now)
    #expect(clock.control.window == 1000 && clock.control.slowStartThreshold == 10_000)
    for _ in 0..<9 { clock.acknowledge(Self.size) }
    #expect(clock.control.window == 10_000)
    for window in [11_000, 12_000, 13_000] as [UInt32] {
      clock.round()
      #expect(clock.control.window == window)
    }
  }

  /// Appropriate byte counting (RFC 3465): an acknowledgement of many segments counts for two in
  /// slow start, in avoidance for what it is; one of a part of a segment for that part.
  @Test func bytesAreCounted() {
    var clock = AcknowledgementClock(.newReno, roundTrip: .milliseconds(10))
    clock.acknowledge(8000)
    #expect(clock.control.window == 12_000)
    for _ in 0..<10 { clock.acknowledge(100) }
    #expect(clock.control.window == 13_000)
    clock.lose()
    #expect(clock.control.window == 6500)
    for _ in 0..<64 { clock.acknowledge(100) }
    #expect(clock.control.window == 6500)
    clock.acknowledge(100)
    #expect(clock.control.window == 7500)
    clock.acknowledge(7500)
    #expect(clock.control.window == 8500)
  }

  /// Slow start ends exactly at the threshold; the rest of the acknowledgement counts for avoidance.
  @Test func slowStartEndsAtTheThreshold() {
    var clock = AcknowledgementClock(.newReno, roundTrip: .milliseconds(10))
    clock.control.timedOut(
      inFlight: 7000, segmentSize: Self.size, isFirst: true, now: clock.now)
    #expect(clock.control.slowStartThreshold == 3500)
    for _ in 0..<3 { clock.acknowledge(1000) }
    #expect(clock.control.window == 3500)
  }

  /// Half of what is in flight, but not of what limited transmit has added; never under two segments.
  @Test func loss() {
    var clock = AcknowledgementClock(.newReno, roundTrip: .milliseconds(10))
    clock.control.enterRecovery(inFlight: 12_000, segmentSize: Self.size, now: clock.now)
    #expect(clock.control.slowStartThreshold == 5000)
    clock.control.setRecoveryWindow(8000)
    #expect(clock.control.window == 8000)
    clock.control.exitRecovery()
    #expect(clock.control.window == 5000)
    clock.control.enterRecovery(inFlight: 1000, segmentSize: Self.size, now: clock.now)
    clock.control.exitRecovery()
    #expect(clock.control.window == 2000)
  }

  /// Repeated timeouts do not lower the threshold again, and the window never vanishes.
  @Test func timeouts() {
    var clock = AcknowledgementClock(.newReno, roundTrip: .milliseconds(10))
    clock.control.timedOut(
      inFlight: 10_000, segmentSize: Self.size, isFirst: true, now: clock.now)
    clock.control.timedOut(
      inFlight: 1000, segmentSize: Self.size, isFirst: false, now: clock.now)
    #expect(clock.control.slowStartThreshold == 5000 && clock.control.window == 1000)
    clock.control.timedOut(
      inFlight: 1000, segmentSize: Self.size, isFirst: true, now: clock.now)
    #expect(clock.control.slowStartThreshold == 2000)
  }

  /// What was reduced for nothing comes back; once.
  @Test func undo() {
    var clock = AcknowledgementClock(.newReno, roundTrip: .milliseconds(10))
    clock.grow(to: 40)
    clock.control.timedOut(
      inFlight: 40_000, segmentSize: Self.size, isFirst: true, now: clock.now)
    clock.control.timedOut(
      inFlight: 40_000, segmentSize: Self.size, isFirst: false, now: clock.now)
    clock.control.undo()
    #expect(clock.control.window == 40_000 && clock.control.slowStartThreshold == .max)
    // The end of the recovery that was none takes nothing away.
    clock.control.exitRecovery()
    #expect(clock.control.window == 40_000)
    clock.lose()
    clock.control.undo()
    clock.control.undo()
    #expect(clock.control.window == 40_000)
  }

  /// RFC 6928: ten segments; of large ones 14,600 bytes or two.
  @Test(arguments: [(536, 5360), (1460, 14_600), (4000, 14_600), (8960, 17_920)])
  func initialWindow(size: UInt32, window: UInt32) {
    #expect(CongestionControl(.newReno, segmentSize: size).window == window)
    #expect(CongestionControl(.cubic, segmentSize: size).window == window)
  }

  /// TCP_CONGESTION changes the algorithm, not the window.
  @Test func selection() {
    var clock = AcknowledgementClock(.newReno, roundTrip: .milliseconds(10))
    clock.grow(to: 50)
    clock.control.select(.cubic)
    #expect(clock.control.algorithm == .cubic && clock.control.window == 50_000)
    clock.lose()
    #expect(clock.control.window == 35_000)
    clock.control.select(.newReno)
    clock.lose()
    #expect(clock.control.window == 17_500)
  }

  /// 200 % of the window in a round trip in slow start, 120 % in avoidance, as in Linux.
  @Test func pacingRate() {
    var clock = AcknowledgementClock(.newReno, roundTrip: .milliseconds(10))
    #expect(clock.control.pacingRate(smoothedRoundTrip: Interval(nanoseconds: 0)) == .max)
    #expect(clock.control.pacingRate(smoothedRoundTrip: .milliseconds(10)) == 2_000_000)
    clock.grow(to: 100)
    clock.lose()
    #expect(clock.control.pacingRate(smoothedRoundTrip: .milliseconds(10)) == 6_000_000)
  }
}
