/// A range of sequence numbers that a selective acknowledgement reports: `left` is its first,
/// `right` the one after its last (RFC 2018).
struct SACKBlock: Equatable, BitwiseCopyable, Sendable {
  var left = SequenceNumber(0)
  var right = SequenceNumber(0)
}

/// The options of a received segment.
struct SegmentOptions: BitwiseCopyable, Sendable {
  /// 0 when absent. Only a SYN can have it.
  var maximumSegmentSize: UInt16 = 0
  /// `absentWindowScale` when absent; at most 14 (RFC 7323 section 2.3). Only a SYN can have it.
  var windowScale: UInt8 = Self.absentWindowScale
  /// Only a SYN can have it.
  var sackPermitted = false
  var hasTimestamp = false
  /// The options end inside an option, or one has an impossible length.
  var malformed = false
  var sackCount = 0
  var timestampValue: UInt32 = 0
  var timestampEcho: UInt32 = 0
  /// The first `sackCount` are valid.
  var sackBlocks = InlineArray<4, SACKBlock>(repeating: SACKBlock())

  static let absentWindowScale: UInt8 = 255

  /// Forgets everything; values whose presence is told elsewhere stay.
  @inline(__always)
  mutating func reset() {
    maximumSegmentSize = 0
    windowScale = Self.absentWindowScale
    sackPermitted = false
    hasTimestamp = false
    malformed = false
    sackCount = 0
  }

  /// Reads the `count` option bytes at `bytes` of any segment (MUST-5, MUST-4), wherever they begin
  /// (MUST-64). All but two kinds have a length (MUST-68), by which unknown ones are passed over (MUST-6).
  ///
  /// As in Linux, an option of a known kind with a wrong but possible length is passed over, a
  /// length that leaves the header ends the reading, and of repeated options the last one counts.
  @inline(never)
  mutating func parse(_ bytes: UnsafeRawPointer, count: Int, isSYN: Bool) {
    var offset = 0
    while offset < count {
      let kind = unsafe bytes.byte(offset)
      if kind == TCPOptionKind.end { return }
      if kind == TCPOptionKind.noOperation {
        offset += 1
        continue
      }
      guard offset + 1 < count else { break }
      let length = unsafe Int(bytes.byte(offset + 1))
      guard length >= 2, offset + length <= count else { break }
      unsafe take(kind, bytes + offset, length: length, isSYN: isSYN)
      offset += length
    }
    // Counted, and nothing else (MUST-7).
    malformed = offset < count
  }

  private mutating func take(
    _ kind: UInt8, _ option: UnsafeRawPointer, length: Int, isSYN: Bool
  ) {
    switch (kind, length) {
    case (TCPOptionKind.maximumSegmentSize, 4) where isSYN:
      unsafe maximumSegmentSize = option.network16(2)
    case (TCPOptionKind.windowScale, 3) where isSYN:
      unsafe windowScale = min(option.byte(2), 14)
    case (TCPOptionKind.sackPermitted, 2) where isSYN:
      sackPermitted = true
    case (TCPOptionKind.timestamp, 10):
      hasTimestamp = true
      unsafe timestampValue = option.network32(2)
      unsafe timestampEcho = option.network32(6)
    case (TCPOptionKind.sack, 10), (TCPOptionKind.sack, 18), (TCPOptionKind.sack, 26),
      (TCPOptionKind.sack, 34):
      sackCount = (length - 2) / 8
      for index in 0..<sackCount {
        unsafe sackBlocks[index] = SACKBlock(
          left: SequenceNumber(option.network32(2 + index * 8)),
          right: SequenceNumber(option.network32(6 + index * 8)))
      }
    default:
      return
    }
  }
}

/// Kinds of TCP options.
enum TCPOptionKind {
  static var end: UInt8 { 0 }
  static var noOperation: UInt8 { 1 }
  static var maximumSegmentSize: UInt8 { 2 }
  static var windowScale: UInt8 { 3 }
  static var sackPermitted: UInt8 { 4 }
  static var sack: UInt8 { 5 }
  static var timestamp: UInt8 { 8 }
}
