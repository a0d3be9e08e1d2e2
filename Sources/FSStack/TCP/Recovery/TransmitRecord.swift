/// The number of a transmit record in its engine's slab.
struct TransmitRecordID: SlabIndex, BitwiseCopyable {
  var raw: UInt32
}

/// One segment that was sent and is not acknowledged (the per-segment state of RFC 8985 section 5.1).
struct TransmitRecord: BitwiseCopyable {
  enum State: UInt8 {
    /// Under way, as far as is known.
    case inFlight
    /// Thought to be lost; it waits to be sent again.
    case lost
    /// The same, of a segment that had been sent again since the last timeout.
    case lostAgain
    /// The peer has reported it, and may still throw it away (RFC 2018 section 8).
    case sacked
  }

  /// When it was last sent.
  var sentAt: Instant
  var sequence: SequenceNumber
  /// One past its last number; a FIN has one, too.
  var end: SequenceNumber
  /// Neighbours in the sequence space.
  var next = TransmitRecordID.none
  var previous = TransmitRecordID.none
  /// Neighbours in the list of its state: in flight, by the time of sending; lost, in the order in
  /// which they go out again.
  var nextInState = TransmitRecordID.none
  var previousInState = TransmitRecordID.none
  var state = State.inFlight
  /// How often it was sent; stops counting at 255.
  var transmissions: UInt8 = 1

  /// Numbers that it takes.
  var length: UInt32 { UInt32(max(end - sequence, 0)) }

  var isRetransmitted: Bool { transmissions > 1 }

  var isLost: Bool { state == .lost || state == .lostAgain }

  /// RACK_sent_after of RFC 8985 section 6.2: what was sent in the same burst is in the order of its
  /// numbers.
  func wasSentAfter(_ time: Instant, _ end: SequenceNumber) -> Bool {
    sentAt > time || sentAt == time && self.end > end
  }
}

/// What a connection has in flight. Everything else about loss is in `LossRecovery`, which a
/// connection only has once there was some.
struct Flight: BitwiseCopyable {
  /// The records in the order of their numbers, without gaps from SND.UNA to SND.NXT.
  var first = TransmitRecordID.none
  var last = TransmitRecordID.none
  /// Those in flight, in the order in which they were last sent.
  var sent = ListHead<TransmitRecordID>()
  /// Bytes of those: "pipe" of RFC 6675.
  var bytes: UInt32 = 0
  /// Records of all states.
  var count: UInt32 = 0
}

/// What one acknowledgement has told of the segments sent.
struct Delivery: BitwiseCopyable {
  /// Bytes that are delivered and were not known to be.
  var bytes: UInt32 = 0
  /// Those of them that a selective acknowledgement told.
  var sackedBytes: UInt32 = 0
  /// When the first, and the last, of the cumulatively acknowledged segments was sent that was sent
  /// only once and not reported before: the others measure no round trip (Karn's algorithm, MUST-18).
  var firstSentAt = Instant.never
  var lastSentAt = Instant.never
  /// The same of selectively acknowledged ones.
  var firstSackedSentAt = Instant.never
  var lastSackedSentAt = Instant.never
  /// A cumulatively acknowledged segment was sent more than once. What is acknowledged with it may have
  /// arrived long before, and waited for it.
  var hasRetransmission = false
  /// A segment sent only once was delivered that was in flight when recovery began (RFC 5682).
  var hasOriginalOfEpisode = false

  /// A record is delivered, of which nothing was known.
  @inline(__always)
  mutating func take(_ record: TransmitRecord, isSelective: Bool) {
    bytes += record.length
    if isSelective { sackedBytes += record.length }
    guard !record.isRetransmitted else {
      if !isSelective { hasRetransmission = true }
      return
    }
    if isSelective {
      firstSackedSentAt = min(firstSackedSentAt, record.sentAt)
      lastSackedSentAt =
        lastSackedSentAt == .never ? record.sentAt : max(lastSackedSentAt, record.sentAt)
    } else {
      if firstSentAt == .never { firstSentAt = record.sentAt }
      lastSentAt = record.sentAt
    }
  }
}
