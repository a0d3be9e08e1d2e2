/// What an engine knows of one connection: the answer to `CommandKind.inquire`. 256 bytes.
///
/// The first `informationSize` bytes are struct tcp_info of linux/tcp.h, field by field, so that the
/// answer to getsockopt(TCP_INFO) is a copy of as many of them as were asked for. Times are
/// microseconds where nothing else is said; what this engine does not have is zero.
///
/// It stands in the header page (`ChannelHeader.report`). The engine writes it, then stores
/// `Command.value` of the inquiry into `ChannelHeader.reportSequence` with release ordering; it
/// never reads what stands there, and the application believes it as it believes an event.
public struct ConnectionReport: BitwiseCopyable {
  /// enum tcp_state of Linux: 1 is ESTABLISHED, 7 CLOSE.
  public var state: UInt8 = 0
  /// enum tcp_ca_state: 0 open, 1 disorder, 2 congestion window reduced, 3 recovery, 4 loss.
  public var congestionState: UInt8 = 0
  /// Expiries of the retransmission timer since the last new acknowledgement.
  public var retransmits: UInt8 = 0
  /// Unanswered zero-window and keep-alive probes.
  public var probes: UInt8 = 0
  /// Doublings of the retransmission timeout.
  public var backoff: UInt8 = 0
  /// TCPI_OPT_TIMESTAMPS 1, SACK 2, WSCALE 4, ECN 8, ECN_SEEN 16, SYN_DATA 32.
  public var options: UInt8 = 0
  /// The peer's window scale in the lower, ours in the upper four bits.
  public var windowScales: UInt8 = 0
  /// Bit 0: `deliveryRate` was limited by the application.
  public var deliveryFlags: UInt8 = 0
  /// The retransmission timeout, with its backoff.
  public var retransmissionTimeout: UInt32 = 0
  /// How long an acknowledgement is delayed.
  public var acknowledgementTimeout: UInt32 = 0
  /// Bytes of a full segment sent.
  public var sendSegmentSize: UInt32 = 0
  /// Bytes of the segments received, estimated.
  public var receiveSegmentSize: UInt32 = 0
  /// Segments sent and not acknowledged.
  public var unacknowledged: UInt32 = 0
  /// Segments selectively acknowledged.
  public var selectivelyAcknowledged: UInt32 = 0
  /// Segments thought to be lost.
  public var lost: UInt32 = 0
  /// Segments sent again and not acknowledged.
  public var retransmitted: UInt32 = 0
  /// Always zero, as in Linux.
  public var forwardAcknowledged: UInt32 = 0
  /// Milliseconds since data was last sent.
  public var lastDataSent: UInt32 = 0
  /// Always zero, as in Linux.
  public var lastAcknowledgementSent: UInt32 = 0
  /// Milliseconds since data was last received.
  public var lastDataReceived: UInt32 = 0
  /// Milliseconds since a segment was last received.
  public var lastAcknowledgementReceived: UInt32 = 0
  /// Largest IP packet on the path, bytes.
  public var pathMTU: UInt32 = 0
  /// How far the advertised window may grow, bytes.
  public var receiveSlowStartThreshold: UInt32 = 0
  /// Smoothed round-trip time.
  public var roundTrip: UInt32 = 0
  /// Its mean deviation.
  public var roundTripVariation: UInt32 = 0
  /// Slow-start threshold, segments.
  public var sendSlowStartThreshold: UInt32 = 0
  /// Congestion window, segments.
  public var congestionWindow: UInt32 = 0
  /// Bytes of a segment that we have announced to accept.
  public var advertisedSegmentSize: UInt32 = 0
  /// How many segments may be reordered on the path.
  public var reordering: UInt32 = 0
  /// Round-trip time as the receiver measures it.
  public var receiveRoundTrip: UInt32 = 0
  /// Bytes the application reads in a round trip.
  public var receiveSpace: UInt32 = 0
  /// Segments sent again in the connection's life.
  public var totalRetransmitted: UInt32 = 0
  /// Bytes per second; all ones without limit.
  public var pacingRate: UInt64 = 0
  /// SO_MAX_PACING_RATE.
  public var maximumPacingRate: UInt64 = 0
  /// Bytes acknowledged by the peer.
  public var bytesAcknowledged: UInt64 = 0
  /// Bytes received in order.
  public var bytesReceived: UInt64 = 0
  /// Segments sent.
  public var segmentsOut: UInt32 = 0
  /// Segments received.
  public var segmentsIn: UInt32 = 0
  /// Bytes queued and never sent.
  public var unsentBytes: UInt32 = 0
  /// The least round-trip time measured.
  public var minimumRoundTrip: UInt32 = 0
  /// Segments received with data.
  public var dataSegmentsIn: UInt32 = 0
  /// Segments sent with data.
  public var dataSegmentsOut: UInt32 = 0
  /// Bytes per second delivered, as last measured.
  public var deliveryRate: UInt64 = 0
  /// Time with data outstanding.
  public var busyTime: UInt64 = 0
  /// Time in which the peer's window was the limit.
  public var windowLimitedTime: UInt64 = 0
  /// Time in which the send buffer was the limit.
  public var bufferLimitedTime: UInt64 = 0
  /// Segments delivered, retransmitted ones included.
  public var delivered: UInt32 = 0
  /// Those of them with the ECN mark.
  public var deliveredWithMark: UInt32 = 0
  /// Bytes sent, with those sent again.
  public var bytesSent: UInt64 = 0
  /// Bytes sent again.
  public var bytesRetransmitted: UInt64 = 0
  /// Duplicates that the peer has reported (RFC 2883).
  public var duplicatesReported: UInt32 = 0
  /// Times that reordering was seen.
  public var reorderingSeen: UInt32 = 0
  /// Segments received ahead of a gap.
  public var outOfOrderIn: UInt32 = 0
  /// The peer's window, bytes.
  public var sendWindow: UInt32 = 0
  /// The window offered, bytes.
  public var receiveWindow: UInt32 = 0
  /// Times that another way was asked for.
  public var rehashes: UInt32 = 0
  /// Expiries of the retransmission timer in all.
  public var totalTimeouts: UInt16 = 0
  /// Recoveries that began with one.
  public var totalTimeoutRecoveries: UInt16 = 0
  /// Milliseconds spent in them.
  public var totalTimeoutTime: UInt32 = 0
  /// TCP_CONGESTION: a `CongestionAlgorithm`.
  public var congestionAlgorithm: UInt8 = 0
  private var reserved1: UInt8 = 0
  private var reserved2: UInt16 = 0
  private var reserved4: UInt32 = 0

  /// Bytes of a report.
  public static let size = 256
  /// Bytes of struct tcp_info in it.
  public static let informationSize = 248

  /// All zero.
  public init() {}
}
