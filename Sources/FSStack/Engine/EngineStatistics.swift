/// What an engine counts. Each is a total since the start.
public struct EngineCounters: BitwiseCopyable, Sendable {
  /// Frames given to `Engine.receive`.
  public var framesReceived: UInt64 = 0
  /// Bytes of those frames.
  public var bytesReceived: UInt64 = 0
  /// Frames committed for transmission.
  public var framesSent: UInt64 = 0
  /// Bytes of those frames.
  public var bytesSent: UInt64 = 0
  /// Payload bytes given to applications.
  public var payloadDelivered: UInt64 = 0
  /// Payload bytes acknowledged by peers.
  public var payloadAcknowledged: UInt64 = 0
  /// Connections given to an acceptor on this engine's core.
  public var acceptsLocal: UInt64 = 0
  /// Connections given to an acceptor of another core, because no local one was active.
  public var acceptsRemote: UInt64 = 0
  /// Connections that had to wait for an acceptor (the global slow path).
  public var acceptsGlobal: UInt64 = 0
  /// SYNs for a listener that has an acceptor on this engine's core.
  public var listenLookupsLocal: UInt64 = 0
  /// SYNs for a listener that has none: an acceptor of another core, or whoever comes, takes the connection.
  public var listenLookupsGlobal: UInt64 = 0
  /// Connections opened by applications.
  public var activeOpens: UInt64 = 0
  /// Connections opened by peers.
  public var passiveOpens: UInt64 = 0
  /// Frames handed over to the engine that owns their flow.
  public var handedOver: UInt64 = 0
  /// Frames that other engines handed over.
  public var takenOver: UInt64 = 0
  /// Frames from the engine to itself: both ends of the connection are on this host.
  public var loopbackFrames: UInt64 = 0
  /// Segments sent again.
  public var retransmissions: UInt64 = 0
  /// Expiries of the retransmission timer.
  public var timeouts: UInt64 = 0
  /// Fast retransmits.
  public var fastRetransmits: UInt64 = 0
  /// Segments that arrived ahead of a gap.
  public var outOfOrder: UInt64 = 0
  /// Acknowledgements without data.
  public var pureAcknowledgements: UInt64 = 0
  /// RST segments sent.
  public var resetsSent: UInt64 = 0
  /// RST segments accepted.
  public var resetsReceived: UInt64 = 0
  /// Challenge acknowledgements sent (RFC 5961).
  public var challengeAcknowledgements: UInt64 = 0
  /// Zero-window and keep-alive probes sent.
  public var probes: UInt64 = 0
  /// Segments whose checksum the virtual link's sender had left out.
  public var partialChecksums: UInt64 = 0
  /// New connections in place of one in TIME-WAIT.
  public var timeWaitReused: UInt64 = 0
  /// SYNs answered with a cookie, because the listener's SYN cache was full (RFC 4987).
  public var cookiesSent: UInt64 = 0
  /// Connections opened by the acknowledgement of a cookie.
  public var cookiesReceived: UInt64 = 0
  /// Acknowledgements that were taken for a cookie's and were none, or came too late.
  public var cookiesFailed: UInt64 = 0
  /// ICMP errors that were about a segment in flight.
  public var errorsReceived: UInt64 = 0
  /// Reductions of a connection's segments because a router said so (RFC 1191, RFC 8201).
  public var pathSizeReductions: UInt64 = 0
  /// The same because segments vanished and no router said why (RFC 4821).
  public var blackHolesSuspected: UInt64 = 0
  /// Larger segments sent to find out whether the path carries them.
  public var pathProbes: UInt64 = 0
  /// Commands executed.
  public var commands: UInt64 = 0
  /// Events posted.
  public var events: UInt64 = 0
  /// Wake-ups of applications asked for.
  public var wakeUps: UInt64 = 0
  /// Data segments that a router had marked (CE of RFC 3168).
  public var congestionMarks: UInt64 = 0
  /// Segments with which peers echoed a mark (ECE).
  public var congestionEchoes: UInt64 = 0
  /// Channels closed because of a violation.
  public var violations: UInt64 = 0
  /// Tail loss probes sent (RFC 8985).
  public var lossProbes: UInt64 = 0
  /// Reductions of a congestion window that were undone, because nothing had been lost.
  public var undos: UInt64 = 0
  /// Blocks of selective acknowledgements that no correct peer sends.
  public var impossibleBlocks: UInt64 = 0
  /// Peers that threw away what they had selectively acknowledged.
  public var renegings: UInt64 = 0
  /// Connections reset at close because there were too many orphans.
  public var orphansReset: UInt64 = 0
  /// Connections handed over to the kernel.
  public var exported: UInt64 = 0

  /// All zero.
  public init() {}
}

/// A snapshot of an engine's counters and fillings.
public struct EngineStatistics: Sendable {
  /// The totals.
  public var counters: EngineCounters
  /// Frames and segments thrown away, by reason.
  public var drops: [DropReason: UInt64]
  /// Connections by state. LISTEN counts listeners.
  public var connections: [TCPState: Int]
  /// Channels attached.
  public var channels: Int
  /// Receive chunks in use, of all channels.
  public var receiveChunksInUse: Int
  /// Send chunks in use, of all channels.
  public var sendChunksInUse: Int
  /// Buffers of bytes queued ahead of gaps, 2048 bytes each.
  public var reassemblySegments: Int
  /// Frames neither pending nor with the kernel, by interface.
  public var freeTransmitFrames: [Int]
  /// Segments in flight.
  public var transmitRecords = 0
}
