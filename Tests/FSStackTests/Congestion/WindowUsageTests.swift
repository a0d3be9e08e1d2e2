import FSRing
import Testing

@testable import FSStack

/// A window that is not used does not grow, and fades (RFC 7661, RFC 5681 section 4.1, Linux's
/// tcp_cwnd_validate and tcp_cwnd_restart).
@Suite struct WindowUsageTests {
  private static let timeout = Interval.milliseconds(200)

  private func sent(_ clock: inout AcknowledgementClock, flight: UInt32, mayShrink: Bool = true) {
    clock.control.sent(
      WindowUsage.Flight(
        bytes: flight, isLimited: flight + clock.size > clock.control.window,
        sendUnacknowledged: clock.acknowledged, sendNext: clock.acknowledged + flight,
        segmentSize: clock.size, now: clock.now),
      timeout: Self.timeout, mayShrink: mayShrink)
  }

  /// Limited for the round in which the window was used up once, and not in the next.
  @Test func limitedForARound() {
    var clock = AcknowledgementClock(.newReno, roundTrip: .milliseconds(10))
    clock.grow(to: 20)
    clock.lose()
    #expect(clock.control.window == 10_000)
    sent(&clock, flight: 10_000)
    #expect(clock.control.isWindowLimited)
    // Half of it is acknowledged, and the application has no more.
    clock.isWindowLimited = clock.control.isWindowLimited
    clock.acknowledge(5000)
    sent(&clock, flight: 6000)
    #expect(clock.control.isWindowLimited)
    clock.acknowledge(6000)
    sent(&clock, flight: 1000)
    #expect(!clock.control.isWindowLimited)
    clock.isWindowLimited = false
    let window = clock.control.window
    for _ in 0..<50 { clock.acknowledge(1000) }
    #expect(clock.control.window == window)
  }

  /// In slow start the window may be twice what is used.
  @Test func slowStartMayDouble() {
    var clock = AcknowledgementClock(.cubic, roundTrip: .milliseconds(10))
    sent(&clock, flight: 6000)
    #expect(clock.control.isWindowLimited)
    clock.isWindowLimited = true
    clock.acknowledge(6000)
    #expect(clock.control.window == 16_000)
    sent(&clock, flight: 6000)
    #expect(!clock.control.isWindowLimited)
  }

  /// Less used for a timeout: half of the difference is lost, the threshold remembers.
  @Test func applicationLimited() {
    var clock = AcknowledgementClock(.cubic, roundTrip: .milliseconds(10))
    clock.grow(to: 100)
    for _ in 0..<3 {
      sent(&clock, flight: 20_000)
      clock.acknowledge(0)
      clock.wait(.milliseconds(80))
    }
    #expect(clock.control.window == 100_000)
    sent(&clock, flight: 30_000, mayShrink: false)
    #expect(clock.control.window == 100_000)
    for _ in 0..<3 {
      clock.wait(.milliseconds(80))
      sent(&clock, flight: 20_000)
    }
    #expect(clock.control.window == 60_000)
    #expect(clock.control.slowStartThreshold == .max)
    // Not below the initial window.
    for _ in 0..<20 {
      clock.wait(.milliseconds(210))
      clock.isWindowLimited = false
      clock.acknowledge(20_000)
      sent(&clock, flight: 100)
    }
    #expect((10_000..<10_100).contains(clock.control.window))
  }

  /// Idle: the window halves for each timeout, down to the initial one; the threshold keeps three
  /// quarters.
  @Test(
    arguments: [
      (150, 80_500), (200, 80_500), (201, 40_250), (400, 40_250), (401, 20_125), (601, 10_062),
      (801, 10_000), (100_000, 10_000),
    ] as [(UInt64, UInt32)])
  func idle(milliseconds: UInt64, window: UInt32) {
    var clock = AcknowledgementClock(.cubic, roundTrip: .milliseconds(10))
    clock.grow(to: 115)
    clock.lose()
    #expect(clock.control.window == 80_500)
    let last = clock.now
    clock.wait(.milliseconds(milliseconds))
    clock.control.restartAfterIdle(
      lastSentAt: last, timeout: Self.timeout, segmentSize: 1000, now: clock.now)
    #expect(clock.control.window == window)
    #expect(clock.control.slowStartThreshold == 80_500)
  }

  /// A window below the initial one is not raised by silence.
  @Test func idleDoesNotRaise() {
    var clock = AcknowledgementClock(.newReno, roundTrip: .milliseconds(10))
    clock.control.timedOut(inFlight: 10_000, segmentSize: 1000, isFirst: true, now: clock.now)
    let last = clock.now
    clock.wait(.seconds(10))
    clock.control.restartAfterIdle(
      lastSentAt: last, timeout: Self.timeout, segmentSize: 1000, now: clock.now)
    #expect(clock.control.window == 1000)
  }
}
