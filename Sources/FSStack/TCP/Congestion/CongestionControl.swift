import FSRing

/// The congestion window of a connection (RFC 9293 MUST-19): slow start and what all algorithms
/// share. How the window grows in congestion avoidance, and how far it falls, is `Avoidance`
/// (MAY-18: CUBIC and others).
///
/// Windows are bytes. Which segments are lost, and what may be sent during recovery, is not decided
/// here: loss recovery calls `enterRecovery`, sets the window, and calls `exitRecovery`.
struct CongestionControl: BitwiseCopyable {
  private(set) var usage = WindowUsage()
  private var growth: WindowGrowth
  private var flags: Flags = []
  /// The congestion window, cwnd.
  private(set) var window: UInt32
  /// ssthresh; `.max` until the first congestion.
  private(set) var slowStartThreshold: UInt32 = .max
  /// Window and threshold before the last reduction, for `undo`. CUBIC calls the first cwnd_prior.
  private var priorWindow: UInt32 = 0
  private var priorThreshold: UInt32 = 0
  /// SND.NXT when a mark reduced the window.
  private var reductionEnd = SequenceNumber(0)

  private struct Flags: OptionSet, BitwiseCopyable {
    var rawValue: UInt8

    /// The reduction may turn out to have been for nothing.
    static let canUndo = Self(rawValue: 1 << 0)
    static let wasUndone = Self(rawValue: 1 << 1)
    /// Slow start after a timeout.
    static let afterTimeout = Self(rawValue: 1 << 2)
    /// A mark has reduced the window; until `reductionEnd` is passed it neither falls nor grows again.
    static let reducing = Self(rawValue: 1 << 3)
    /// The peer has not been told of the last reduction (CWR).
    static let owesNotice = Self(rawValue: 1 << 4)
  }

  /// A window that no path of today needs to exceed; keeps the arithmetic within 32 bits.
  static var windowLimit: UInt32 { 1 << 30 }

  /// Begins with the initial window.
  init(_ algorithm: CongestionAlgorithm = .cubic, segmentSize: UInt32) {
    window = Self.initialWindow(segmentSize)
    growth = WindowGrowth(algorithm)
  }

  /// RFC 6928 section 2: ten segments, but of large ones only two.
  static func initialWindow(_ segmentSize: UInt32) -> UInt32 {
    min(10 * segmentSize, max(2 * segmentSize, 14_600))
  }

  var algorithm: CongestionAlgorithm { growth.algorithm }

  /// Whether a mark has reduced the window, and it neither falls nor grows again for a round trip.
  var isReducing: Bool { flags.contains(.reducing) }

  var isInSlowStart: Bool { window < slowStartThreshold }

  /// TCP_CONGESTION: another algorithm goes on from the same window.
  mutating func select(_ algorithm: CongestionAlgorithm) {
    guard algorithm != self.algorithm else { return }
    growth.select(algorithm)
  }

  // MARK: Growth

  /// Data has been delivered, and no loss is being repaired.
  mutating func acknowledged(_ sample: CongestionSample) {
    guard !isReducing(sample.sendUnacknowledged) else { return }
    var rest = sample.delivered
    if isInSlowStart {
      rest = slowStart(sample)
      guard rest > 0 else { return }
    }
    flags.remove(.afterTimeout)
    let grown = growth.avoidance(
      rest, sample, window: window, priorWindow: max(priorWindow, 1))
    window = min(grown, Self.windowLimit)
  }

  /// Slow start (RFC 5681 section 3.1) with HyStart++. Returns delivered bytes that are left for
  /// congestion avoidance.
  private mutating func slowStart(_ sample: CongestionSample) -> UInt32 {
    // The delay tells of the path only until the first congestion (RFC 9406 section 4.3).
    var divisor: UInt32 = 1
    if slowStartThreshold == .max {
      guard let found = growth.slowStart(sample) else {
        slowStartThreshold = window
        priorWindow = window
        return 0
      }
      divisor = found
    }
    guard sample.isWindowLimited else { return 0 }
    let limit = appropriateByteLimit * sample.segmentSize
    let room = slowStartThreshold - window
    let growth = min(sample.delivered, limit) / divisor
    window = min(window + min(growth, room), Self.windowLimit)
    return growth > room ? growth - room : 0
  }

  /// Segments by which one acknowledgement may grow the window in slow start. After a timeout one:
  /// the acknowledgement may cover what had arrived long ago (RFC 3465 section 2.3).
  private var appropriateByteLimit: UInt32 {
    flags.contains(.afterTimeout) ? 1 : growth.appropriateByteLimit
  }

  // MARK: Congestion

  /// Segments are lost. `inFlight` is FlightSize of RFC 5681: SND.NXT - SND.UNA.
  mutating func enterRecovery(inFlight: UInt32, segmentSize: UInt32, now: Instant) {
    reduce(inFlight: inFlight, segmentSize: segmentSize, isMarked: false)
    window = slowStartThreshold
  }

  /// What loss recovery allows to be in flight (RFC 6582, RFC 6937).
  mutating func setRecoveryWindow(_ window: UInt32) {
    self.window = min(window, Self.windowLimit)
  }

  /// Everything lost has been repaired. A reduction that was undone stays so.
  mutating func exitRecovery() {
    if !flags.contains(.wasUndone) { window = slowStartThreshold }
  }

  /// The peer echoes a router's mark. Once in a round trip the window is reduced as after a loss
  /// (RFC 3168 section 6.1.2); that was not for nothing, whatever else comes to light.
  mutating func congestionExperienced(
    inFlight: UInt32, segmentSize: UInt32, sendNext: SequenceNumber
  ) {
    guard !isReducing else { return }
    reduce(inFlight: inFlight, segmentSize: segmentSize, isMarked: true)
    window = slowStartThreshold
    flags.remove(.canUndo)
    flags.insert(.reducing)
    reductionEnd = sendNext
  }

  /// The reduction under way was not for nothing: there are marks, too.
  mutating func confirm() { flags.remove(.canUndo) }

  /// Bytes are acknowledged on a connection with ECN; `isMarked`: with an echo.
  mutating func observed(
    _ bytes: UInt32, isMarked: Bool, sendUnacknowledged: SequenceNumber, sendNext: SequenceNumber
  ) {
    _ = isReducing(sendUnacknowledged)
    growth.observed(
      bytes, isMarked: isMarked, sendUnacknowledged: sendUnacknowledged, sendNext: sendNext)
  }

  /// Something beyond the end must be acknowledged, so that the peer has seen CWR.
  private mutating func isReducing(_ sendUnacknowledged: SequenceNumber) -> Bool {
    if isReducing, sendUnacknowledged > reductionEnd { flags.remove(.reducing) }
    return isReducing
  }

  /// Whether the segment to be sent is the first since a reduction, and must say so (CWR).
  @inline(__always)
  mutating func takeNotice() -> Bool {
    flags.remove(.owesNotice) != nil
  }

  /// The retransmission timer has expired: begin again with one segment (RFC 5681 section 3.1).
  /// Only the first expiry of a row lowers the threshold.
  mutating func timedOut(inFlight: UInt32, segmentSize: UInt32, isFirst: Bool, now: Instant) {
    if isFirst { reduce(inFlight: inFlight, segmentSize: segmentSize, isMarked: false) }
    growth.timedOut()
    window = segmentSize
    flags.remove(.reducing)
    flags.insert(.afterTimeout)
  }

  private mutating func reduce(inFlight: UInt32, segmentSize: UInt32, isMarked: Bool) {
    priorThreshold = currentThreshold
    priorWindow = window
    flags.formUnion([.canUndo, .owesNotice])
    flags.subtract([.wasUndone, .afterTimeout])
    let reduced = growth.reduced(window: window, inFlight: inFlight, isMarked: isMarked)
    slowStartThreshold = max(reduced, 2 * segmentSize)
  }

  /// The last reduction was for nothing: nothing was lost (RFC 4015, RFC 9438 section 4.9).
  mutating func undo() {
    guard flags.contains(.canUndo) else { return }
    window = max(window, priorWindow)
    slowStartThreshold = max(slowStartThreshold, priorThreshold)
    growth.undo(isFirst: slowStartThreshold == .max)
    flags.subtract([.canUndo, .owesNotice, .afterTimeout])
    flags.insert(.wasUndone)
  }

  // MARK: Validation

  /// Bytes are sent after a time in which nothing was in flight since `lastSentAt`: what was learnt of
  /// the path is stale after a timeout (RFC 5681 section 4.1). The window halves for each further
  /// timeout, down to the initial one (RFC 2861, as in Linux's tcp_cwnd_restart).
  mutating func restartAfterIdle(
    lastSentAt: Instant, timeout: Interval, segmentSize: UInt32, now: Instant
  ) {
    growth.pause(until: now)
    let idle = (now - lastSentAt).nanoseconds
    let step = max(timeout.nanoseconds, 1)
    guard idle > step else { return }
    slowStartThreshold = currentThreshold
    let floor = min(window, Self.initialWindow(segmentSize))
    let halvings = min((idle - 1) / step, 31)
    window = max(window >> UInt32(halvings), floor)
    usage.restart(now: now)
  }

  /// Called when as much has been sent as could be. An application that uses less than its window
  /// loses a part of it each timeout (Linux's tcp_cwnd_validate).
  mutating func sent(_ flight: WindowUsage.Flight, timeout: Interval, mayShrink: Bool) {
    usage.sent(flight, window: window)
    if isWindowLimited {
      usage.restart(now: flight.now)
    } else if let used = usage.starved(flight, timeout: timeout), mayShrink {
      let floor = max(used, Self.initialWindow(flight.segmentSize))
      guard floor < window else { return }
      slowStartThreshold = currentThreshold
      window = (window + floor) / 2
    }
  }

  /// Whether the window limits the sender, or nearly: in slow start it may grow to twice what is used.
  var isWindowLimited: Bool {
    usage.isLimited || isInSlowStart && window / 2 < usage.largestFlight
  }

  /// The threshold that remembers three quarters of the window (RFC 2861).
  private var currentThreshold: UInt32 {
    max(slowStartThreshold, window / 2 + window / 4)
  }

  /// The SYN was lost more than once: one segment (RFC 5681 section 3.1; Linux forgives the first).
  mutating func synchronizedAfterLosses(segmentSize: UInt32) {
    window = segmentSize
  }

  // MARK: Pacing

  /// Bytes per second at which a window spreads over its round trip, with room to grow: twice that in
  /// slow start, 1.2 times in avoidance (Linux's tcp_update_pacing_rate). `.max` without a round trip.
  func pacingRate(smoothedRoundTrip: Interval) -> UInt64 {
    guard smoothedRoundTrip.nanoseconds > 0 else { return .max }
    let percent: UInt64 = window < slowStartThreshold / 2 ? 200 : 120
    return UInt64(window) * percent * 10_000_000 / smoothedRoundTrip.nanoseconds
  }
}
