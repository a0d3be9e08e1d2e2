/// What one connection has in the `ReassemblyBuffers`.
struct ReassemblyQueue {
  /// Its buffers, in the order in which they were taken.
  var buffers = ListHead<ReassemblyID>()
  var count: UInt32 = 0
  /// The number of the peer's FIN, when that has come.
  var fin: SequenceNumber?
  /// Ranges to be reported, the one with the most recent segment first. Queued ranges beyond these
  /// are not known as such, as in Linux.
  var blocks = InlineArray<4, SACKBlock>(repeating: SACKBlock())
  var blockCount = 0

  /// A segment has been queued: its range comes first, joined with those that it touches.
  mutating func report(_ left: SequenceNumber, _ right: SequenceNumber) {
    var new = SACKBlock(left: left, right: right)
    var kept = InlineArray<4, SACKBlock>(repeating: SACKBlock())
    var keptCount = 0
    for position in 0..<blockCount {
      let block = blocks[position]
      if block.left <= new.right, new.left <= block.right {
        new = SACKBlock(left: min(block.left, new.left), right: max(block.right, new.right))
      } else {
        kept[keptCount] = block
        keptCount += 1
      }
    }
    blocks[0] = new
    blockCount = min(keptCount + 1, 4)
    for position in 1..<4 where position < blockCount { blocks[position] = kept[position - 1] }
  }

  /// RCV.NXT has moved: ranges that it has reached are no longer selective.
  mutating func forgetBlocks(upTo receiveNext: SequenceNumber) {
    var kept = 0
    for position in 0..<blockCount where blocks[position].left > receiveNext {
      blocks[kept] = blocks[position]
      kept += 1
    }
    blockCount = kept
  }
}

/// Which of 2048 bytes are there.
struct ByteMap: BitwiseCopyable {
  private var words = InlineArray<32, UInt64>(repeating: 0)

  /// How many positions from `start` on, below `end`, are in the state asked for.
  func run(from start: Int, to end: Int, isPresent: Bool) -> Int {
    var position = start
    while position < end {
      let word = words[position >> 6]
      // The bits that end the run.
      let others = (isPresent ? ~word : word) >> UInt64(position & 63)
      if others != 0 { return min(position + others.trailingZeroBitCount, end) - start }
      position = (position | 63) + 1
    }
    return end - start
  }

  /// Notes that the bytes from `start` on, below `end`, are there.
  mutating func insert(from start: Int, to end: Int) {
    var position = start
    while position < end {
      let count = min(64 - position & 63, end - position)
      let bits = count == 64 ? UInt64.max : (1 << UInt64(count) - 1) << UInt64(position & 63)
      words[position >> 6] |= bits
      position += count
    }
  }
}
