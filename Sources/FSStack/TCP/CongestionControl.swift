/// NewReno: slow start, congestion avoidance, fast retransmit and fast recovery (RFC 5681, RFC 6582),
/// with an initial window of ten segments (RFC 6928). All values are bytes.
struct CongestionControl: BitwiseCopyable {
  private(set) var window: UInt32
  private(set) var slowStartThreshold: UInt32 = .max
  /// Acknowledged bytes towards the next segment of congestion avoidance.
  private var accumulated: UInt32 = 0
  /// Duplicate acknowledgements in a row.
  private(set) var duplicates: UInt8 = 0
  private(set) var isRecovering = false
  /// The highest number sent when recovery began; an acknowledgement of it ends recovery.
  private var recoveryPoint = SequenceNumber(0)

  /// A window that no path of today needs to exceed; keeps the arithmetic within 32 bits.
  private static var windowLimit: UInt32 { 1 << 30 }

  init(segmentSize: UInt32) {
    window = 10 * segmentSize
  }

  /// What an acknowledgement asks of the sender.
  enum Reaction {
    case none
    /// Send the segment at SND.UNA again.
    case retransmit
  }

  /// New data was acknowledged. `flightSize` is what is outstanding afterwards.
  mutating func acknowledged(
    _ bytes: UInt32, upTo acknowledgement: SequenceNumber, flightSize: UInt32, segmentSize: UInt32
  ) -> Reaction {
    duplicates = 0
    if isRecovering {
      if acknowledgement >= recoveryPoint {
        isRecovering = false
        window = min(slowStartThreshold, max(flightSize, segmentSize) + segmentSize)
        return .none
      }
      // A partial acknowledgement: deflate, and the next hole is lost too (RFC 6582 section 3.2).
      window = window > bytes ? window - bytes : segmentSize
      if bytes >= segmentSize { window += segmentSize }
      window = max(window, segmentSize)
      return .retransmit
    }
    if window < slowStartThreshold {
      // Appropriate byte counting with a limit of two segments (RFC 3465).
      window += min(bytes, 2 * segmentSize)
    } else {
      accumulated += bytes
      if accumulated >= window {
        accumulated -= window
        window += segmentSize
      }
    }
    window = min(window, Self.windowLimit)
    return .none
  }

  /// A duplicate acknowledgement arrived; everything up to `highest` has been sent.
  mutating func duplicate(
    highest: SequenceNumber, flightSize: UInt32, segmentSize: UInt32
  ) -> Reaction {
    if isRecovering {
      window = min(window + segmentSize, Self.windowLimit)
      return .none
    }
    duplicates += 1
    guard duplicates == 3 else { return .none }
    slowStartThreshold = max(flightSize / 2, 2 * segmentSize)
    window = slowStartThreshold + 3 * segmentSize
    isRecovering = true
    recoveryPoint = highest
    return .retransmit
  }

  /// The retransmission timer expired (RFC 5681 section 3.1): begin again with one segment. Only
  /// the first expiry of a row halves the threshold.
  mutating func timedOut(flightSize: UInt32, segmentSize: UInt32, isFirst: Bool) {
    if isFirst { slowStartThreshold = max(flightSize / 2, 2 * segmentSize) }
    window = segmentSize
    accumulated = 0
    duplicates = 0
    isRecovering = false
  }

  /// Nothing has been sent for longer than a retransmission timeout: what was learnt of the path is
  /// stale (RFC 5681 section 4.1).
  mutating func restartAfterIdle(segmentSize: UInt32) {
    window = min(window, 10 * segmentSize)
  }
}
