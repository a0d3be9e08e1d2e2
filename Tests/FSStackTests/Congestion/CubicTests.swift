import FSRing
import Foundation
import Testing

@testable import FSStack

/// CUBIC (RFC 9438), against the RFC's formulas in floating point.
@Suite struct CubicTests {
  /// The RFC's text: windows in segments, time in seconds since avoidance began.
  private struct Reference {
    let maximum: Double
    var window: Double
    let priorWindow: Double
    let roundTrip: Double
    var estimate: Double
    let period: Double

    init(maximum: Double, window: Double, priorWindow: Double, roundTrip: Double) {
      self.maximum = max(maximum, window)
      self.window = window
      self.priorWindow = priorWindow
      self.roundTrip = roundTrip
      estimate = window
      period = cbrt((self.maximum - window) / 0.4)
    }

    func value(_ time: Double) -> Double { 0.4 * pow(time - period, 3) + maximum }

    mutating func acknowledged(_ time: Double) {
      estimate += (estimate >= priorWindow ? 1 : 3 * 0.3 / 1.7) / window
      if value(time) < estimate {
        window = max(window, estimate)
      } else {
        let target = min(max(value(time + roundTrip), window), 1.5 * window)
        window += (target - window) / window
      }
    }
  }

  /// The algorithm and the reference under the same acknowledgements.
  private struct Comparison {
    var clock: AcknowledgementClock
    var reference: Reference
    var begin: Instant?
    /// Time that is not of the curve.
    var paused = 0.0
    /// The largest relative distance between the windows.
    var worst = 0.0

    mutating func run(seconds: Double) {
      let end = clock.now + Interval(nanoseconds: UInt64(seconds * 1e9))
      var copy = self
      while clock.now < end {
        clock.round { clock in
          let begin = copy.begin ?? clock.now
          copy.begin = begin
          let time = Double((clock.now - begin).nanoseconds) / 1e9 - copy.paused
          copy.reference.acknowledged(time)
          copy.worst = max(
            copy.worst, abs(clock.segments - copy.reference.window) / copy.reference.window)
        }
      }
      copy.clock = clock
      self = copy
    }
  }

  /// Loss with a window of so many segments.
  private func afterLoss(_ segments: UInt32, milliseconds: UInt64) -> Comparison {
    var clock = AcknowledgementClock(.cubic, roundTrip: .milliseconds(milliseconds))
    clock.grow(to: segments)
    clock.lose()
    let reference = Reference(
      maximum: Double(segments), window: 0.7 * Double(segments), priorWindow: Double(segments),
      roundTrip: Double(milliseconds) / 1000)
    return Comparison(clock: clock, reference: reference)
  }

  /// Concave up to the old maximum, flat there, convex beyond (MAY-18; sections 4.2, 4.4, 4.5).
  @Test(arguments: [40, 100, 250] as [UInt64])
  func curve(milliseconds: UInt64) {
    var run = afterLoss(600, milliseconds: milliseconds)
    #expect(run.clock.segments == 420)
    #expect(abs(run.reference.period - 7.663) < 0.001)
    run.run(seconds: 4)
    // The formula alone, a round trip ahead: 600 - 0.4 * (7.663 - 4)^3 = 580.
    #expect(abs(run.clock.segments - run.reference.value(4)) < 6, "\(run.clock.segments)")
    run.run(seconds: run.reference.period - 4)
    #expect(abs(run.clock.segments - 600) < 2, "\(run.clock.segments)")
    run.run(seconds: 9)
    #expect(run.clock.segments > 800)
    #expect(run.worst < 0.003, "\(run.worst)")
  }

  /// Short round trips: as fast as Reno would be, 9/17 segments in a round trip up to the old
  /// window, then one (section 4.3).
  @Test func renoFriendlyRegion() {
    var run = afterLoss(40, milliseconds: 5)
    #expect(run.clock.segments == 28)
    run.run(seconds: 0.005 * 17)
    #expect(abs(run.clock.segments - (28 + 9)) <= 1.1, "\(run.clock.segments)")
    run.run(seconds: 0.005 * 40)
    #expect(abs(run.reference.estimate - run.clock.segments) <= 1.1)
    #expect(run.clock.segments > 65, "\(run.clock.segments)")
    #expect(run.worst < 0.04, "\(run.worst)")
  }

  /// Neither idle time nor time in which the application is the limit makes the window jump
  /// (section 5.8, RFC 7661).
  @Test func pausesAreNoTimeOfTheCurve() {
    var run = afterLoss(1000, milliseconds: 50)
    run.run(seconds: 3)
    // Idle for 20 s, for less than the retransmission timeout.
    run.clock.wait(.seconds(20))
    run.clock.control.restartAfterIdle(
      lastSentAt: run.clock.now, timeout: .seconds(30), segmentSize: 1000, now: run.clock.now)
    run.paused = 20
    // Then the application sends little for 10 s.
    let before = run.clock.control.window
    run.clock.isWindowLimited = false
    for _ in 0..<100 {
      run.clock.wait(.milliseconds(100))
      run.clock.acknowledge(1000)
    }
    #expect(run.clock.control.window == before)
    run.clock.isWindowLimited = true
    run.paused += 10
    run.run(seconds: 3)
    #expect(run.worst < 0.005, "\(run.worst)")
  }

  /// A flow that meets congestion below its last maximum gives way (section 4.7).
  @Test func fastConvergence() {
    var run = afterLoss(1000, milliseconds: 50)
    run.clock.lose()
    // 0.7 * 0.7 * 1000, on the way to 0.85 * 700.
    #expect(run.clock.segments == 490)
    let reference = Reference(maximum: 595, window: 490, priorWindow: 700, roundTrip: 0.05)
    run = Comparison(clock: run.clock, reference: reference)
    run.run(seconds: reference.period + 2)
    #expect(run.worst < 0.005, "\(run.worst)")
  }

  /// After a timeout slow start to 0.7 of the window, and then the plateau (section 4.8): the window
  /// grows slowly at first.
  @Test func timeout() {
    var clock = AcknowledgementClock(.cubic, roundTrip: .milliseconds(100))
    clock.grow(to: 1000)
    clock.control.timedOut(
      inFlight: clock.control.window, segmentSize: 1000, isFirst: true, now: clock.now)
    #expect(clock.segments == 1 && clock.control.slowStartThreshold == 700_000)
    // An acknowledgement of much that had arrived before proves one segment.
    clock.acknowledge(50_000)
    #expect(clock.segments == 2)
    clock.grow(to: 700)
    let reference = Reference(maximum: 700, window: 700, priorWindow: 1000, roundTrip: 0.1)
    var run = Comparison(clock: clock, reference: reference)
    run.run(seconds: 6)
    #expect(run.worst < 0.005 && run.clock.segments > 780, "\(run.worst) \(run.clock.segments)")
  }

  /// A reduction for nothing is undone, with the curve's maximum (section 4.9).
  @Test func undo() {
    var run = afterLoss(1000, milliseconds: 50)
    run.run(seconds: 2)
    let window = run.clock.control.window
    run.clock.lose()
    #expect(run.clock.control.window < window)
    run.clock.control.undo()
    #expect(run.clock.control.window == window)
    run.clock.lose()
    // 1000 is still the maximum: fast convergence to 0.85 of the window.
    let segments = Double(window) / 1000
    let reference = Reference(
      maximum: 0.85 * segments, window: 0.7 * segments, priorWindow: segments, roundTrip: 0.05)
    run = Comparison(clock: run.clock, reference: reference)
    run.run(seconds: 3)
    #expect(run.worst < 0.005, "\(run.worst)")
  }

  /// The largest windows and times do not overflow, and the window has a limit.
  @Test(arguments: [1, 88, 1460, 65_495] as [UInt32])
  func extremes(size: UInt32) {
    var control = CongestionControl(.cubic, segmentSize: size)
    var sequence = SequenceNumber(0)
    var now = Instant(nanoseconds: 1)
    func acknowledge(_ bytes: UInt32) {
      sequence += bytes
      control.acknowledged(
        CongestionSample(
          delivered: bytes, now: now, roundTrip: nil, smoothedRoundTrip: .seconds(100),
          isWindowLimited: true, sendUnacknowledged: sequence, sendNext: sequence,
          segmentSize: size))
    }
    control.setRecoveryWindow(1 << 28)
    control.enterRecovery(inFlight: control.window, segmentSize: size, now: now)
    control.exitRecovery()
    for step in 0..<60 {
      now = now + Interval(nanoseconds: 1 << UInt64(step))
      for _ in 0..<20 { acknowledge(.max / 4) }
    }
    // 1024 s behind the plateau the curve rises no more: 2^30 * 0.4 segments.
    let limit = CongestionControl.windowLimit
    #expect(size == 1 ? (1 << 29...limit).contains(control.window) : control.window == limit)
    for _ in 0..<100 {
      control.timedOut(inFlight: .max / 2, segmentSize: size, isFirst: true, now: now)
    }
    #expect(control.slowStartThreshold == 2 * size && control.window == size)
  }

  /// The root is exact: neither too small nor too large by one.
  @Test func cubeRoots() {
    var random = SplitMix64(seed: 9438)
    #expect(integerCubeRoot(0) == 0 && integerCubeRoot(.max) == 2_642_245)
    for root in (1...2_642_245 as ClosedRange<UInt64>).prefix(1000) {
      #expect(integerCubeRoot(root * root * root) == root)
      #expect(integerCubeRoot(root * root * root - 1) == root - 1)
    }
    for _ in 0..<1000 {
      let root = UInt64.random(in: 1...2_642_245, using: &random)
      #expect(integerCubeRoot(root * root * root) == root)
      #expect(integerCubeRoot(root * root * root - 1) == root - 1)
    }
  }
}
