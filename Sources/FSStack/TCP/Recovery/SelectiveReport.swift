/// What the blocks of one SACK option say, once those that say nothing true are left out
/// (RFC 2018, RFC 2883).
struct SelectiveReport: BitwiseCopyable {
  /// The first `count`, in ascending order: each lies between SND.UNA and SND.NXT.
  private(set) var blocks = InlineArray<4, SACKBlock>(repeating: SACKBlock())
  private(set) var count = 0
  /// The segment that arrived twice (D-SACK); `hasDuplicate` tells whether there is one.
  private(set) var duplicate = SACKBlock()
  private(set) var hasDuplicate = false
  /// Blocks that no correct peer sends.
  private(set) var impossible = 0

  /// Reads the blocks of a segment that acknowledges `acknowledgement`.
  init(
    _ options: SegmentOptions, acknowledgement: SequenceNumber, unacknowledged: SequenceNumber,
    next: SequenceNumber
  ) {
    for index in 0..<options.sackCount {
      let block = options.sackBlocks[index]
      guard block.left < block.right, block.right <= next else {
        impossible += 1
        continue
      }
      if index == 0, Self.isDuplicate(block, options, acknowledgement) {
        duplicate = block
        hasDuplicate = true
      } else if block.left > unacknowledged {
        insert(block)
      } else if block.right > unacknowledged {
        // It would have been acknowledged.
        impossible += 1
      }
      // What lies below SND.UNA is old, and no harm.
    }
  }

  /// RFC 2883 section 4: the first block repeats what is acknowledged, or lies within the second.
  private static func isDuplicate(
    _ block: SACKBlock, _ options: SegmentOptions, _ acknowledgement: SequenceNumber
  ) -> Bool {
    if block.right <= acknowledgement { return true }
    guard options.sackCount > 1 else { return false }
    let second = options.sackBlocks[1]
    return second.left <= block.left && block.right <= second.right
  }

  private mutating func insert(_ block: SACKBlock) {
    var place = count
    while place > 0, block.left < blocks[place - 1].left {
      blocks[place] = blocks[place - 1]
      place -= 1
    }
    blocks[place] = block
    count += 1
  }
}
