/// Fast retransmit and fast recovery (RFC 5681 section 3.2, RFC 6582): counts duplicate
/// acknowledgements and knows when a loss is repaired.
struct FastRetransmit: BitwiseCopyable {
  /// Duplicate acknowledgements in a row.
  private var duplicates: UInt8 = 0
  private(set) var isRecovering = false
  /// The highest number sent when recovery began; an acknowledgement of it ends recovery.
  private var recoveryPoint = SequenceNumber(0)

  /// A duplicate acknowledgement arrived; everything up to `highest` has been sent. True: recovery
  /// begins.
  mutating func duplicate(highest: SequenceNumber) -> Bool {
    guard !isRecovering else { return false }
    duplicates += 1
    guard duplicates == 3 else { return false }
    isRecovering = true
    recoveryPoint = highest
    return true
  }

  /// New data was acknowledged. True: recovery ends with it.
  mutating func acknowledged(upTo acknowledgement: SequenceNumber) -> Bool {
    duplicates = 0
    guard isRecovering, acknowledgement >= recoveryPoint else { return false }
    isRecovering = false
    return true
  }

  mutating func timedOut() { self = FastRetransmit() }
}
