/// The number of a connection's uncommon state in its engine's slab.
struct UncommonStateID: SlabIndex, BitwiseCopyable {
  var raw: UInt32
}

/// What most connections never have: options with other values than the default, pacing, urgent data,
/// errors, and what is counted of trouble. A connection has it from the first such thing on, until its
/// end; the values here are those of a connection without.
struct UncommonState: BitwiseCopyable {
  // Options.
  /// TCP_WINDOW_CLAMP, bytes.
  var windowClamp: UInt32 = .max
  /// TCP_NOTSENT_LOWAT, bytes; all ones for none.
  var unsentLowWater: UInt32 = .max
  /// TCP_USER_TIMEOUT, milliseconds; zero for none.
  var userTimeout: UInt32 = 0
  /// TCP_KEEPIDLE and TCP_KEEPINTVL, seconds; TCP_KEEPCNT.
  var keepAliveIdle: UInt16 = 7200
  var keepAliveInterval: UInt16 = 75
  var keepAliveProbes: UInt8 = 9
  /// TCP_SYNCNT; zero for the default.
  var synchronizeRetries: UInt8 = 0
  /// TCP_LINGER2, seconds; zero for the default, negative for not at all.
  var finishTimeout: Int16 = 0
  /// TCP_MAXSEG; zero for none.
  var userSegmentSize: UInt16 = 0

  // Timers.
  /// A corked partial segment goes out.
  var pushAt = Instant.never
  var pacer = Pacer()

  // Urgent data.
  /// RCV.UP, as the number of the urgent byte itself.
  var receiveUrgent = SequenceNumber(0)
  /// SND.UP: one past the urgent byte.
  var sendUrgent = SequenceNumber(0)

  // Trouble.
  /// Why the connection has failed.
  var error: UInt16 = 0
  /// What an ICMP error has said, in case the connection fails.
  var softError: UInt16 = 0
  /// Further duplicate acknowledgements for a peer that counts them.
  var duplicatesOwed: UInt8 = 0
  /// A range that came twice (RFC 2883).
  var duplicateBlock = SACKBlock()
  /// When an out-of-window segment was last answered (RFC 5961 section 10).
  var lastChallengeAt = Instant(nanoseconds: 0)

  // Counted for `ConnectionReport`; all wrap around.
  var segmentsRetransmitted: UInt32 = 0
  var outOfOrderIn: UInt32 = 0
  var bytesRetransmitted: UInt64 = 0

  /// The earliest of its timers.
  @inline(__always)
  var nextDeadline: Instant { min(pushAt, pacer.deadline) }
}
