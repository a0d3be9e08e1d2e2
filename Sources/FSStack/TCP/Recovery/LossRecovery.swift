/// The number of a connection's loss recovery in its engine's slab.
struct LossRecoveryID: SlabIndex, BitwiseCopyable {
  var raw: UInt32
}

/// What a connection knows of losses. It only has this from the first sign of one on: a selective or
/// duplicate acknowledgement, a probe or a timeout.
struct LossRecovery: BitwiseCopyable {
  /// The states of Linux's sender.
  enum Phase: UInt8 {
    case open
    /// Something is missing; it may only be late.
    case disorder
    /// Fast recovery (RFC 6675, RFC 8985).
    case recovery
    /// After a retransmission timeout.
    case loss
  }

  var phase = Phase.open
  /// SND.NXT when the last recovery began, or the timer expired: RecoveryPoint of RFC 6675.
  var recoveryPoint = SequenceNumber(0)
  /// When that was.
  var began = Instant(nanoseconds: 0)
  /// An episode has ended exactly at its recovery point: duplicate acknowledgements of it are of what was
  /// sent again, and begin no other (RFC 6582 section 4).
  var isGuarded = false
  /// Lost segments in the order in which they go out again: those not yet sent again come before those
  /// whose retransmission was lost, but for smaller numbers.
  var lost = ListHead<TransmitRecordID>()
  var lostAgain = ListHead<TransmitRecordID>()
  var lostBytes: UInt32 = 0
  var sackedBytes: UInt32 = 0
  var sackedSegments: UInt32 = 0
  var scoreboard = Scoreboard()
  var rack = Rack()
  var reduction = ProportionalRateReduction()
  var spurious = SpuriousLoss()

  // A peer without selective acknowledgements.
  /// Duplicate acknowledgements in a row.
  var duplicates: UInt32 = 0
  /// Segments in flight when the first of them came.
  var duplicateLimit: UInt32 = 0
  /// Bytes that they tell to have left the network.
  var duplicateBytes: UInt32 = 0

  // The tail loss probe (RFC 8985 section 7).
  /// TLP.end_seq, while `isProbing`.
  var probeEnd = SequenceNumber(0)
  var isProbing = false
  /// TLP.is_retrans.
  var probeIsRetransmission = false

  /// Segments that were sent again, and that D-SACKs have reported: more of the latter are not believed.
  var retransmissions: UInt32 = 0
  var duplicatesReported: UInt32 = 0

  /// The chunk with the last byte sent again, or none, and where it begins.
  var sendCursor: UInt32 = .max
  var sendCursorSequence = SequenceNumber(0)

  var isRecovering: Bool { phase == .recovery || phase == .loss }

  /// Nothing is missing: acknowledgements that report nothing need not be looked at.
  var isQuiet: Bool {
    phase == .open && !isProbing && sackedBytes == 0 && lostBytes == 0 && duplicates == 0
  }
}
