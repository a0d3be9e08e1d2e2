import Testing

@testable import FSStack

@Suite struct RoundTripEstimatorTests {
  /// RFC 6298 sections 2 and 5, with the bounds of Linux.
  @Test func timeouts() {
    var estimator = RoundTripEstimator()
    #expect(estimator.current == .seconds(1))
    estimator.sample(.milliseconds(100))
    #expect(estimator.current == .milliseconds(300))
    for _ in 0..<100 { estimator.sample(.milliseconds(100)) }
    #expect(estimator.current == .milliseconds(200))
    for _ in 0..<100 { estimator.sample(.microseconds(10)) }
    #expect(estimator.current == .milliseconds(200))
    for count in 1...12 {
      estimator.expired()
      #expect(estimator.current == min(.milliseconds(200 << UInt64(count)), .seconds(120)))
    }
    estimator.acknowledged()
    #expect(estimator.current == .milliseconds(200))
    for _ in 0..<100 { estimator.sample(.seconds(300)) }
    #expect(estimator.current == .seconds(120))
  }

  /// A late spike raises the timeout at once, by four times its surprise.
  @Test func spike() {
    var estimator = RoundTripEstimator()
    for _ in 0..<100 { estimator.sample(.milliseconds(50)) }
    estimator.sample(.milliseconds(850))
    #expect(estimator.current > .milliseconds(900) && estimator.current < .milliseconds(1000))
  }

  @Test func synchronizedAfterLoss() {
    var estimator = RoundTripEstimator()
    estimator.expired()
    estimator.synchronizedAfterLoss()
    #expect(estimator.current == .seconds(3))
  }
}

@Suite struct CongestionControlTests {
  private static let size: UInt32 = 1000

  /// Slow start doubles in a round trip, congestion avoidance adds a segment.
  @Test func growth() {
    var control = CongestionControl(segmentSize: Self.size)
    #expect(control.window == 10_000)
    for round in 1...10 {
      _ = control.acknowledged(
        Self.size, upTo: SequenceNumber(UInt32(round) * 1000), flightSize: 5000,
        segmentSize: Self.size)
    }
    #expect(control.window == 20_000)
    control.timedOut(flightSize: 20_000, segmentSize: Self.size, isFirst: true)
    #expect(control.window == 1000 && control.slowStartThreshold == 10_000)
    for _ in 0..<9 {
      _ = control.acknowledged(
        Self.size, upTo: SequenceNumber(0), flightSize: 0, segmentSize: Self.size)
    }
    #expect(control.window == 10_000)
    for _ in 0..<10 {
      _ = control.acknowledged(
        Self.size, upTo: SequenceNumber(0), flightSize: 0, segmentSize: Self.size)
    }
    #expect(control.window == 11_000)
  }

  /// The third duplicate halves and retransmits; a full acknowledgement ends recovery, a partial
  /// one retransmits the next (RFC 6582).
  @Test func recovery() {
    var control = CongestionControl(segmentSize: Self.size)
    let highest = SequenceNumber(10_000)
    func duplicate() -> CongestionControl.Reaction {
      control.duplicate(highest: highest, flightSize: 10_000, segmentSize: Self.size)
    }
    let reactions = (0..<5).map { _ in duplicate() == .retransmit }
    #expect(reactions == [false, false, true, false, false])
    #expect(control.slowStartThreshold == 5000 && control.window == 10_000)
    let partial = control.acknowledged(
      2000, upTo: SequenceNumber(2000), flightSize: 8000, segmentSize: Self.size)
    #expect(partial == .retransmit && control.isRecovering)
    let full = control.acknowledged(
      8000, upTo: highest, flightSize: 0, segmentSize: Self.size)
    #expect(full == .none && !control.isRecovering && control.window <= 5000)
  }

  /// Repeated timeouts do not lower the threshold again, and the window never vanishes.
  @Test func timeouts() {
    var control = CongestionControl(segmentSize: Self.size)
    control.timedOut(flightSize: 10_000, segmentSize: Self.size, isFirst: true)
    control.timedOut(flightSize: 1000, segmentSize: Self.size, isFirst: false)
    #expect(control.slowStartThreshold == 5000 && control.window == 1000)
    control.timedOut(flightSize: 1000, segmentSize: Self.size, isFirst: true)
    #expect(control.slowStartThreshold == 2000)
  }
}
