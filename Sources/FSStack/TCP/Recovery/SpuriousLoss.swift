/// What shows that a reduction of the window was for nothing: the Eifel detection by timestamps
/// (RFC 3522), D-SACK (RFC 3708), and F-RTO (RFC 5682), each as Linux applies it.
struct SpuriousLoss: BitwiseCopyable {
  /// The steps of F-RTO.
  enum TimeoutDetection: UInt8 {
    case off
    /// The timer has expired; the first acknowledgement decides what is sent.
    case expired
    /// New data was sent in place of lost segments; the second acknowledgement tells.
    case newDataSent
  }

  /// SND.UNA when the window was reduced.
  private(set) var marker = SequenceNumber(0)
  /// A reduction can be undone.
  private(set) var isArmed = false
  /// Retransmissions since that no D-SACK has reported; none have been made yet when negative.
  private var retransmissions: Int32 = -1
  /// Our timestamp clock when the first of them was made; valid if `hasStamp`.
  private var firstStamp: UInt32 = 0
  private var hasStamp = false
  var timeout = TimeoutDetection.off

  /// The window is reduced. `retransmissions` that are under way count already.
  mutating func begin(_ unacknowledged: SequenceNumber, isProbing: Bool) {
    marker = unacknowledged
    isArmed = true
    hasStamp = false
    retransmissions = isProbing ? 1 : -1
    timeout = .off
  }

  /// The reduction is undone, or cannot be any more.
  mutating func end() {
    isArmed = false
    retransmissions = -1
    timeout = .off
  }

  /// A segment was sent again at `stamp` of our timestamp clock.
  mutating func retransmitted(stamp: UInt32) {
    guard isArmed else { return }
    if retransmissions < 0 { retransmissions = 0 }
    if !hasStamp {
      hasStamp = true
      firstStamp = stamp
    }
    retransmissions = min(retransmissions, .max - 1) + 1
  }

  /// A D-SACK: `segments` of what was sent again had arrived before.
  mutating func duplicateReported(_ block: SACKBlock, segments: Int32) {
    guard isArmed, retransmissions > 0, block.right > marker else { return }
    retransmissions = max(0, retransmissions - segments)
  }

  /// All that was sent again had arrived before.
  var allWereDuplicates: Bool { isArmed && retransmissions == 0 }

  /// The acknowledgement answers something sent before the first retransmission.
  func isAnswerToOriginal(echo: UInt32) -> Bool {
    isArmed && hasStamp && Int32(bitPattern: echo &- firstStamp) < 0
  }
}
