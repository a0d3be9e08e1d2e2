/// What an acknowledgement tells the congestion control.
struct CongestionSample: BitwiseCopyable {
  /// Bytes that the peer has received and had not acknowledged, or selectively acknowledged, before.
  var delivered: UInt32
  var now: Instant
  /// The round trip that this acknowledgement measures; nil if it measures none.
  var roundTrip: Interval?
  /// SRTT of RFC 6298; zero while nothing has been measured.
  var smoothedRoundTrip: Interval
  /// The congestion window was what kept the sender from sending more (`WindowUsage`).
  var isWindowLimited: Bool
  /// SND.UNA, after the acknowledgement.
  var sendUnacknowledged: SequenceNumber
  /// SND.NXT; after a timeout still the highest number sent.
  var sendNext: SequenceNumber
  var segmentSize: UInt32
}
