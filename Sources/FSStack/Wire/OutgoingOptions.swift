/// The options of a segment to be sent.
struct OutgoingOptions: BitwiseCopyable, Sendable {
  /// 0: none.
  var maximumSegmentSize: UInt16 = 0
  /// `SegmentOptions.absentWindowScale`: none.
  var windowScale: UInt8 = SegmentOptions.absentWindowScale
  var sackPermitted = false
  var hasTimestamp = false
  /// Blocks to send of `sackBlocks`: at most 4, with a timestamp 3.
  var sackCount = 0
  var timestampValue: UInt32 = 0
  var timestampEcho: UInt32 = 0
  var sackBlocks = InlineArray<4, SACKBlock>(repeating: SACKBlock())

  @inline(__always)
  init() {}

  /// Bytes of all options with their padding, a multiple of four; at most 40.
  @inline(__always)
  var length: Int {
    var length = hasTimestamp ? 12 : 0
    if maximumSegmentSize != 0 { length += 4 }
    if windowScale != SegmentOptions.absentWindowScale { length += 4 }
    // Beside a timestamp it takes the place of the padding.
    if sackPermitted && !hasTimestamp { length += 4 }
    if sackCount > 0 { length += 4 + sackCount * 8 }
    return length
  }

  /// Whether there is nothing but a timestamp, as in most segments.
  @inline(__always)
  var isTimestampAlone: Bool {
    hasTimestamp && maximumSegmentSize == 0
      && windowScale == SegmentOptions.absentWindowScale && !sackPermitted && sackCount == 0
  }

  /// Writes the options, `length` bytes in Linux's order and alignment, and returns their sum. What pads
  /// them are NOPs before them, so that nothing follows the last (MUST-69).
  @inline(never)
  mutating func write(to bytes: UnsafeMutableRawPointer) -> UInt64 {
    var offset = 0
    var sum: UInt64 = 0
    func put(_ word: UInt32) {
      unsafe bytes.putNetwork(word, at: offset)
      sum += UInt64(word.bigEndian)
      offset += 4
    }
    if maximumSegmentSize != 0 {
      put(0x0204_0000 | UInt32(maximumSegmentSize))
    }
    if hasTimestamp {
      // SACK-permitted (4, 2) or two NOPs before the timestamp (8, 10).
      put(sackPermitted ? 0x0402_080a : Segment.timestampLayout)
      put(timestampValue)
      put(timestampEcho)
    } else if sackPermitted {
      put(0x0101_0402)
    }
    if windowScale != SegmentOptions.absentWindowScale {
      put(0x0103_0300 | UInt32(windowScale))
    }
    if sackCount > 0 {
      put(0x0101_0500 | UInt32(2 + sackCount * 8))
      for index in 0..<sackCount {
        put(sackBlocks[index].left.value)
        put(sackBlocks[index].right.value)
      }
    }
    return sum
  }
}
