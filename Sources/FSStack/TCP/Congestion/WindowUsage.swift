/// How much of the congestion window the sender uses. A window that is not used has not been tested
/// by the network, and must not grow (RFC 7661 section 1.1, RFC 9438 section 4.6); the rules are those of
/// Linux's tcp_cwnd_validate.
struct WindowUsage: BitwiseCopyable {
  /// Since when the window has not limited the sender.
  private var since = Instant.never
  /// Most bytes in flight in the present round.
  private(set) var largestFlight: UInt32 = 0
  /// SND.NXT at the beginning of the round.
  private var roundEnd = SequenceNumber(0)
  /// Most bytes in flight since `since`.
  private var used: UInt32 = 0
  /// The window limited the sender in the present round.
  private(set) var isLimited = false

  /// What is in flight after sending.
  struct Flight {
    var bytes: UInt32
    /// The window kept back what could have been sent.
    var isLimited: Bool
    var sendUnacknowledged: SequenceNumber
    var sendNext: SequenceNumber
    var segmentSize: UInt32
    var now: Instant
  }

  mutating func sent(_ flight: Flight, window: UInt32) {
    if flight.sendUnacknowledged >= roundEnd || flight.isLimited
      || !isLimited && flight.bytes > largestFlight
    {
      isLimited = flight.isLimited
      largestFlight = flight.bytes
      roundEnd = flight.sendNext
    }
    if since == .never { since = flight.now }
  }

  /// The window is not used up. What of it has been used, when that has lasted for a timeout.
  mutating func starved(_ flight: Flight, timeout: Interval) -> UInt32? {
    used = max(used, flight.bytes)
    guard flight.now - since >= timeout else { return nil }
    let most = used
    restart(now: flight.now)
    return most
  }

  mutating func restart(now: Instant) {
    used = 0
    since = now
  }
}
