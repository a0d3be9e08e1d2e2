/// The number of a connection in its engine's slab.
struct ConnectionID: SlabIndex, BitwiseCopyable {
  var raw: UInt32
}

/// Facts about a connection that are true or false.
struct ConnectionFlags: OptionSet, BitwiseCopyable {
  var rawValue: UInt64

  /// Opened by a SYN from the peer (RFC 9293 MUST-11: SYN-RECEIVED remembers).
  static let passive = Self(rawValue: 1 << 0)
  /// Timestamps were negotiated (RFC 7323).
  static let timestamps = Self(rawValue: 1 << 1)
  /// Both sides permit selective acknowledgements (RFC 2018).
  static let selectiveAcknowledgements = Self(rawValue: 1 << 2)
  /// The application has closed its sending side: FIN after the queued bytes.
  static let finQueued = Self(rawValue: 1 << 3)
  /// The FIN has been sent at least once.
  static let finSent = Self(rawValue: 1 << 4)
  /// The application has given its slot back; nobody reads any more.
  static let orphaned = Self(rawValue: 1 << 5)
  /// An acknowledgement is owed at the end of this burst.
  static let acknowledgeNow = Self(rawValue: 1 << 6)
  /// Lost segments wait to be sent again.
  static let retransmit = Self(rawValue: 1 << 7)
  /// A zero-window or keep-alive probe must be sent.
  static let probe = Self(rawValue: 1 << 8)
  /// A partial segment need not wait any longer.
  static let pushNow = Self(rawValue: 1 << 9)
  /// TCP_NODELAY.
  static let noDelay = Self(rawValue: 1 << 10)
  /// TCP_CORK.
  static let cork = Self(rawValue: 1 << 11)
  /// The last bytes came with MSG_MORE.
  static let more = Self(rawValue: 1 << 12)
  /// SO_KEEPALIVE.
  static let keepAlive = Self(rawValue: 1 << 13)
  /// The application has been told of the connection.
  static let announced = Self(rawValue: 1 << 14)
  /// The application must be told that its connect succeeded.
  static let reportConnected = Self(rawValue: 1 << 15)
  /// The application must be told of the peer's FIN.
  static let reportFinished = Self(rawValue: 1 << 16)
  /// The application must be told of `error`.
  static let reportFailed = Self(rawValue: 1 << 17)
  /// A tail loss probe must be sent.
  static let lossProbe = Self(rawValue: 1 << 18)
  /// The application answers what it receives: its answer may carry the acknowledgement.
  static let interactive = Self(rawValue: 1 << 19)
  /// shutdown(SHUT_RD). As in Linux, what still comes is delivered, until the sending side is shut
  /// down too.
  static let readShut = Self(rawValue: 1 << 20)
  /// The SYN was sent more than once.
  static let synchronizeRetransmitted = Self(rawValue: 1 << 21)
  /// The retransmission timer measures a closed window, not lost data.
  static let persisting = Self(rawValue: 1 << 22)
  /// `Engine.flows` finds it.
  static let indexed = Self(rawValue: 1 << 23)
  /// Its SYN waits for the next hop's address.
  static let awaitsPath = Self(rawValue: 1 << 24)
  /// RCV.UP is valid, and not behind RCV.NXT.
  static let urgentAhead = Self(rawValue: 1 << 25)
  /// RCV.UP is valid, though it may be far behind.
  static let urgentKnown = Self(rawValue: 1 << 26)
  /// The application must be told of RCV.UP.
  static let reportUrgent = Self(rawValue: 1 << 27)
  /// SND.UP is valid, and ahead of SND.UNA.
  static let urgentQueued = Self(rawValue: 1 << 28)
  /// The next segment reports `duplicateBlock`.
  static let reportDuplicate = Self(rawValue: 1 << 29)
  /// It counts among the orphans.
  static let countedOrphan = Self(rawValue: 1 << 31)
  /// SO_RCVBUF: the receive buffer does not grow by itself.
  static let receiveBufferLocked = Self(rawValue: 1 << 30)
  /// It has been exported: the kernel goes on with it.
  static let moved = Self(rawValue: 1 << 32)
  /// The application must be told so.
  static let reportMoved = Self(rawValue: 1 << 33)
  /// Its acceptor has been paused with it: the application is told so when it is told of the connection.
  static let reportPaused = Self(rawValue: 1 << 34)
}

/// What the retransmission timer is set for.
enum RetransmissionTimer: UInt8, BitwiseCopyable {
  /// RTO of RFC 6298, or a zero-window probe.
  case retransmission
  /// PTO of RFC 8985: the tail loss probe.
  case lossProbe
  /// Segments that are late will be lost (RFC 8985 section 6.2).
  case reordering
}

/// Who has a connection that the peer has opened.
enum ConnectionOrigin: BitwiseCopyable {
  /// The connection was opened here.
  case opened
  /// It has no channel yet, and waits for an acceptor.
  case waiting(at: EndpointID)
  /// An acceptor of this listener took it.
  case accepted(by: UInt32)
}

/// One TCP connection: the transmission control block of RFC 9293 section 3.3.1.
///
/// Seven cache lines, each with what is used together. What only few connections have is elsewhere:
/// `UncommonState`, `LossRecovery`, `ReceiveRate`, `PathSearch`, `ReassemblyQueue`. The methods here
/// compute; what needs other parts of the engine (frames, channels, tables) is in `Engine`.
struct Connection: BitwiseCopyable {
  // First line: what a segment is looked at for.
  var flow: Flow
  var state: TCPState
  /// Shift of windows that we receive (the peer's scale).
  var sendScale: UInt8 = 0
  /// Shift of windows that we send.
  var receiveScale: UInt8 = 0
  /// Expiries since the last sign of life: of the retransmission timer, or probes sent.
  var attempts: UInt8 = 0
  var flags: ConnectionFlags
  /// RCV.NXT.
  var receiveNext = SequenceNumber(0)
  /// The right edge that has been advertised; it never moves left (RFC 9293 SHLD-14).
  var receiveEdge = SequenceNumber(0)
  /// The acknowledgement in the last segment sent.
  var lastAcknowledgementSent = SequenceNumber(0)
  /// TS.Recent.
  var recentTimestamp: UInt32 = 0

  // Second line: the send sequence space, and delayed acknowledgement.
  /// SND.UNA.
  var sendUnacknowledged: SequenceNumber
  /// SND.NXT; goes back to SND.UNA only when a SYN must be sent again.
  var sendNext: SequenceNumber
  /// One past the last segment sent that was not full (Minshall's SND.SML).
  var smallSegmentEnd = SequenceNumber(0)
  /// The highest number ever sent, plus one.
  var sendMaximum: SequenceNumber
  /// One past the last byte that the application has queued; a FIN has this number.
  var sendQueueEnd: SequenceNumber
  /// SND.WND, scaled: unsigned (MUST-1), and of 32 bits (REC-1).
  var sendWindow: UInt32 = 0
  /// The largest window the peer ever offered.
  var largestSendWindow: UInt32 = 0
  /// SND.WL1. SND.WL2 needs no place: windows come from acknowledgements that are not older than SND.UNA.
  var windowUpdateSequence = SequenceNumber(0)
  /// The first byte that belongs to `sendHead`.
  var sendHeadSequence: SequenceNumber
  /// The first byte that belongs to `sendCursor`.
  var sendCursorSequence: SequenceNumber
  /// Oldest send chunk with unacknowledged bytes.
  var sendHead: UInt32 = .max
  /// Chunk in which SND.NXT lies, or none: look from `sendHead`.
  var sendCursor: UInt32 = .max
  /// Newest send chunk.
  var sendTail: UInt32 = .max
  /// Most bytes that the peer takes in one segment, options not deducted (SendMSS, section 3.7.1).
  var maximumSegmentSize: UInt16
  /// Largest segment the interface and the path carry, IP and TCP headers deducted.
  var pathSegmentSize: UInt16
  /// Size of the segments the peer sends, estimated: what it calls a full one.
  var peerSegmentSize: UInt16 = 536
  /// Bytes of the last segment with data.
  var lastSegmentLength: UInt16 = 0
  /// How long acknowledgements are delayed, milliseconds; 0 before the first data.
  var acknowledgementTimeout: UInt16 = 0
  /// Acknowledgements that are not delayed, because the peer is in slow start.
  var quickAcknowledgements: UInt8 = 0
  /// Keep-alive probes sent since the peer was last heard.
  var keepAliveSent: UInt8 = 0

  // Third line: what is in flight, and how long that takes.
  var roundTrip = RoundTripEstimator()
  /// What is to be done at `retransmitAt`.
  var retransmissionTimer = RetransmissionTimer.retransmission
  var ecn: ExplicitCongestion = []
  /// The segments sent and not acknowledged.
  var flight = Flight()
  // Timers: the moment each is due, or never. Others are in `UncommonState`.
  var retransmitAt = Instant.never

  // Fourth line: times, and where else something is known of the connection.
  var acknowledgeAt = Instant.never
  /// Keep-alive, FIN-WAIT-2 of an orphan.
  var lifeAt = Instant.never
  /// When data, a SYN or a FIN was last sent. While a passive open is completed: when its only
  /// SYN-ACK was sent; never, when there were several or nobody knows.
  var lastSentAt: Instant
  /// When something was last received.
  var lastReceivedAt: Instant
  /// When the oldest unacknowledged data was first sent, or the window was found closed.
  var unacknowledgedSince = Instant.never
  /// What only few connections have.
  var uncommon = UncommonStateID.none
  /// What is known of losses; none while there was no sign of any.
  var recovery = LossRecoveryID.none
  /// Segments ahead of a gap.
  var reassembly = ReassemblyQueueID.none
  /// What the receive buffer's growth is computed from.
  var receiveRate = ReceiveRateID.none
  /// What limits `pathSegmentSize` besides the first link.
  var pathSearch = PathSearchID.none
  /// Random shift of our timestamp clock (RFC 7323 section 5.4).
  var timestampOffset: UInt32

  // Fifth line: the application, and the link.
  var channel = ChannelID.none
  var slot: UInt32 = .max
  /// Oldest receive chunk the application has not read completely.
  var receiveHead: UInt32 = .max
  /// First receive chunk with bytes the application has not been told of.
  var receiveUnposted: UInt32 = .max
  /// Newest receive chunk.
  var receiveTail: UInt32 = .max
  /// Acknowledged bytes that the application has not been told of.
  var unreportedAcknowledged: UInt32 = 0
  /// Bytes given to the application and not yet read by it.
  var unreadBytes: UInt32 = 0
  /// Size of the receive buffer, bytes: the largest window at present.
  var receiveBuffer: UInt32
  var nextHop: MACAddress
  /// VLAN tag control information, or `Segment.untagged`.
  var vlan: UInt16
  var origin = ConnectionOrigin.opened
  var interface: UInt8
  /// IP_TTL, IPV6_UNICAST_HOPS (MUST-49).
  var hopLimit: UInt8 = 64
  /// Differentiated services; the ECN bits are zero.
  var trafficClass: UInt8 = 0

  // The rest of the fifth line, and the sixth and seventh.
  var tally = ConnectionTally()
  /// When it came to `channel`.
  var ownedSince = Instant(nanoseconds: 0)
  var congestion: CongestionControl
  /// When TS.Recent was taken, in units of 2^30 ns.
  var recentTimestampAt: UInt32 = 0
}

/// What a connection counts for `ConnectionReport`; the rest is in `UncommonState`. All totals wrap
/// around.
struct ConnectionTally: BitwiseCopyable {
  /// When data was last received: milliseconds of the engine's clock.
  var dataReceivedAt: UInt32 = 0
  /// When data was last sent.
  var dataSentAt: UInt32 = 0
  var segmentsIn: UInt32 = 0
  var segmentsOut: UInt32 = 0
  var bytesReceived: UInt64 = 0
  var bytesAcknowledged: UInt64 = 0
  var dataSegmentsIn: UInt32 = 0
  var dataSegmentsOut: UInt32 = 0
}

extension Connection {
  /// Bytes of sequence space sent and not acknowledged.
  @inline(__always)
  var flightSize: UInt32 { UInt32(max(sendNext - sendUnacknowledged, 0)) }

  /// What may be received beyond RCV.NXT: the advertised window.
  @inline(__always)
  var receiveWindow: UInt32 { UInt32(max(receiveEdge - receiveNext, 0)) }

  /// Bytes of options in each segment.
  @inline(__always)
  var optionLength: Int { flags.contains(.timestamps) ? 12 : 0 }

  /// Bytes that one segment carries at most, options deducted: Eff.snd.MSS (MUST-16).
  @inline(__always)
  var segmentSize: UInt32 {
    UInt32(max(Int(min(maximumSegmentSize, pathSegmentSize)) - optionLength, 1))
  }

  /// Whether our FIN has been acknowledged.
  var isFinAcknowledged: Bool {
    flags.contains(.finSent) && sendUnacknowledged - sendQueueEnd > 0
  }

  /// Whether something that was sent waits for its acknowledgement.
  var hasOutstanding: Bool { sendMaximum - sendUnacknowledged > 0 }

  /// Queued bytes that were sent and are not acknowledged.
  var bytesInFlight: UInt32 {
    guard state >= .established else { return 0 }
    return UInt32(max(min(sendMaximum, sendQueueEnd) - sendUnacknowledged, 0))
  }

  /// Queued bytes that were never sent.
  var unsentBytes: UInt32 { UInt32(max(sendQueueEnd - max(sendMaximum, sendHeadSequence), 0)) }

  /// Whether bytes or a FIN have still to be sent for the first time, or again.
  var hasUnsent: Bool {
    sendQueueEnd - sendNext > 0
      || flags.contains(.finQueued) && sendNext - sendQueueEnd <= 0
  }

  /// Whether the FIN may go out behind `length` more bytes, which are the last: it takes its place in
  /// the peer's window, too (RFC 9293 section 3.4).
  @inline(__always)
  func mayFinish(after length: Int) -> Bool {
    flags.contains(.finQueued)
      && Int(sendNext - sendUnacknowledged) + length < Int(sendWindow)
  }

  /// The number of a segment that only acknowledges: not SND.NXT, which may have gone back. The peer
  /// may have received everything, and would find such a segment too old to believe what it
  /// acknowledges; when both sides go back at once, neither would ever learn anything again. Nor
  /// beyond the peer's window, as in Linux (tcp_acceptable_seq).
  var acknowledgementSequence: SequenceNumber {
    min(sendMaximum, sendUnacknowledged + sendWindow)
  }

  /// The earliest of the timers that all connections have.
  @inline(__always)
  var nextDeadline: Instant { min(min(retransmitAt, acknowledgeAt), lifeAt) }

  /// Where it waits for an acceptor, or none.
  var endpoint: EndpointID {
    if case .waiting(let endpoint) = origin { return endpoint }
    return .none
  }

  /// The listener whose acceptor took it, or none.
  var acceptedBy: UInt32? {
    if case .accepted(let listener) = origin { return listener }
    return nil
  }

  /// RFC 9293 section 3.10.7.4, first step: whether any of the segment lies in the window.
  @inline(__always)
  mutating func isAcceptable(_ sequence: SequenceNumber, length: UInt32) -> Bool {
    let window = receiveWindow
    if length == 0 {
      return window == 0 ? sequence == receiveNext : sequence.isWithin(receiveNext, window)
    }
    guard window > 0 else { return false }
    return sequence.isWithin(receiveNext, window)
      || (sequence + (length - 1)).isWithin(receiveNext, window)
  }

  /// Takes a window from an acceptable segment whose acknowledgement is SND.UNA or, if `advances`,
  /// newer, unless an older segment carries it (RFC 9293 section 3.10.7.4, fifth step). True if the window
  /// has changed.
  ///
  /// The standard goes by the sequence number alone. But what acknowledges more than anything before is
  /// the peer's latest word, also when it is sent again and has an old number: the window before it
  /// counted from an older SND.UNA, and from the new one it would reach beyond what the peer offers. So
  /// does Linux (tcp_may_update_window).
  @inline(__always)
  mutating func updateSendWindow(
    _ sequence: SequenceNumber, _ window: UInt32, advances: Bool
  ) -> Bool {
    guard advances || windowUpdateSequence <= sequence else { return false }
    windowUpdateSequence = sequence
    guard window != sendWindow else { return false }
    sendWindow = window
    largestSendWindow = max(largestSendWindow, window)
    return true
  }

  /// What an acknowledgement of `delivered` bytes tells the congestion control.
  @inline(__always)
  func congestionSample(
    delivered: UInt32, roundTrip measured: Interval?, now: Instant
  ) -> CongestionSample {
    CongestionSample(
      delivered: delivered, now: now, roundTrip: measured,
      smoothedRoundTrip: roundTrip.smoothedRoundTrip,
      isWindowLimited: congestion.isWindowLimited, sendUnacknowledged: sendUnacknowledged,
      sendNext: sendMaximum, segmentSize: segmentSize)
  }

  /// Bytes that the peer's and the congestion window allow beyond SND.NXT, of which `pipe` are thought
  /// to be in flight; negative after the peer has shrunk its window (MUST-34): then nothing new goes
  /// out (SHLD-15), what is old and inside does again (SHLD-16).
  @inline(__always)
  mutating func usableWindow(pipe: UInt32) -> Int {
    let offered = Int(sendWindow) - Int(sendNext - sendUnacknowledged)
    return min(offered, congestionRoom(pipe: pipe, wanted: UInt32(max(sendQueueEnd - sendNext, 0))))
  }

  /// Bytes that the congestion window lets out. The rest of a window is not worth a segment that is
  /// smaller than it needs to be; the first is always let out.
  @inline(__always)
  mutating func congestionRoom(pipe: UInt32, wanted: UInt32) -> Int {
    let size = segmentSize
    guard pipe > 0 else { return Int(max(congestion.window, size)) }
    let room = Int(congestion.window) - Int(pipe)
    return room < Int(min(wanted, size)) ? 0 : room
  }

  /// Whether a segment of `length` unsent bytes may go out now: full-sized, or the last of the queue
  /// when Nagle's algorithm lets it (SHLD-7, MUST-17), or half the largest window (MUST-38, RFC 9293
  /// section 3.8.6.2.1). As in Linux Nagle's algorithm is Minshall's: a small segment waits only for
  /// another small one, so that the end of a long answer does not wait for the full ones before it.
  @inline(__always)
  mutating func maySend(_ length: UInt32, isLast: Bool) -> Bool {
    if length >= segmentSize || !flags.isDisjoint(with: [.pushNow, .urgentQueued]) { return true }
    if isLast {
      if flags.contains(.finQueued) { return true }
      if !flags.isDisjoint(with: [.cork, .more]) { return false }
      return flags.contains(.noDelay) || smallSegmentEnd <= sendUnacknowledged
        || smallSegmentEnd > sendNext
    }
    return length >= max(largestSendWindow / 2, 1)
  }
}
