/// RACK (RFC 8985 sections 5 and 6): a segment is lost when one that was sent later has been delivered,
/// and it has had its round trip and a while for reordering.
struct Rack: BitwiseCopyable {
  /// RACK.xmit_ts and RACK.end_seq: the delivered segment that was sent last.
  private(set) var sentAt = Instant(nanoseconds: 0)
  private(set) var end = SequenceNumber(0)
  /// RACK.rtt: its round trip.
  private(set) var roundTrip = Interval(nanoseconds: 0)
  /// Segments have overtaken each other on this path.
  private(set) var hasReordering = false
  /// RACK.reo_wnd_mult: quarters of the shortest round trip.
  private(set) var multiplier: UInt8 = 1
  /// RACK.reo_wnd_persist: recoveries until the window is small again.
  private(set) var persistence: UInt8 = 16
  /// RACK.dsack_round; valid while `isInDuplicateRound`.
  private var duplicateRound = SequenceNumber(0)
  private var isInDuplicateRound = false

  /// DupThresh of RFC 5681.
  static var duplicateThreshold: UInt32 { 3 }

  /// Something has been delivered.
  var isValid: Bool { roundTrip.nanoseconds > 0 }

  /// Steps 1 to 3: a segment is delivered. `isOriginal`: it was sent more than once, and the
  /// acknowledgement echoes a timestamp older than the last time. `highest` is RACK.fack before the
  /// acknowledgement.
  mutating func delivered(
    _ record: TransmitRecord, isOriginal: Bool, highest: SequenceNumber,
    minimumRoundTrip: Interval, now: Instant
  ) {
    if record.isRetransmitted {
      // It may be the answer to what was sent before.
      if isOriginal || now - record.sentAt < minimumRoundTrip { return }
    } else if record.end < highest {
      hasReordering = true
    }
    if !isValid || record.wasSentAfter(sentAt, end) {
      sentAt = record.sentAt
      end = record.end
      // Nothing is measured as zero: it means that nothing is measured.
      roundTrip = max(now - record.sentAt, Interval(nanoseconds: 1))
    }
  }

  /// What was thought to be lost was only late.
  mutating func reorderingSeen() { hasReordering = true }

  /// Step 4, first part: the window grows once in a round trip with duplicates.
  mutating func acknowledged(
    _ unacknowledged: SequenceNumber, next: SequenceNumber, hasDuplicate: Bool
  ) {
    if isInDuplicateRound, unacknowledged >= duplicateRound { isInDuplicateRound = false }
    guard hasDuplicate, !isInDuplicateRound else { return }
    isInDuplicateRound = true
    duplicateRound = next
    multiplier = min(multiplier, 254) + 1
    persistence = 16
  }

  /// Step 4, second part: after 16 recoveries without duplicates the window is small again.
  mutating func recovered() {
    if persistence > 0 { persistence -= 1 }
    if persistence == 0 { multiplier = 1 }
  }

  /// Step 4, third part: RACK.reo_wnd.
  func window(
    isRecovering: Bool, sackedSegments: UInt32, smoothed: Interval, minimum: Interval
  ) -> Interval {
    if !hasReordering, isRecovering || sackedSegments >= Self.duplicateThreshold {
      return Interval(nanoseconds: 0)
    }
    let window = UInt64(multiplier) * (minimum.nanoseconds / 4)
    return Interval(nanoseconds: min(window, smoothed.nanoseconds))
  }
}
