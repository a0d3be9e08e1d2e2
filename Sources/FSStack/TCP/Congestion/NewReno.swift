/// Congestion avoidance of RFC 5681 section 3.1: a segment in a round trip, half at congestion.
struct NewReno: BitwiseCopyable {
  /// Acknowledged bytes towards the next segment.
  private var accumulated: UInt32 = 0

  /// RFC 3465 section 2.2.
  static var appropriateByteLimit: UInt32 { 2 }

  /// The window after `delivered` bytes (RFC 3465 section 2.1: bytes are counted, not
  /// acknowledgements).
  mutating func acknowledged(
    _ delivered: UInt32, _ sample: CongestionSample, window: UInt32
  ) -> UInt32 {
    guard sample.isWindowLimited else { return window }
    accumulated += min(delivered, window)
    guard accumulated >= window else { return window }
    accumulated -= window
    return window + sample.segmentSize
  }

  /// Half of what is in flight (RFC 5681 equation 4). What limited transmit has added beyond the
  /// window does not count.
  mutating func reduced(window: UInt32, inFlight: UInt32) -> UInt32 {
    accumulated = 0
    return min(window, inFlight) / 2
  }
}
