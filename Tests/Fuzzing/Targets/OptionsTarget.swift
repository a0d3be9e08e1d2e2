@testable import FSStack

/// The first byte says whether it is a SYN; the rest, 40 bytes at most, are the options.
enum OptionsTarget {
  static func run(_ bytes: UnsafeRawBufferPointer) {
    var input = FuzzInput(bytes)
    let isSYN = input.byte() & 1 != 0
    let area = input.bytes(40)
    guard !area.isEmpty else { return }
    var options = SegmentOptions()
    options.reset()
    area.withUnsafeBytes { area in
      guard let base = area.baseAddress else { return }
      options.parse(base, count: area.count, isSYN: isSYN)
    }
    compare(options, Definition(area, isSYN: isSYN), area)
  }

  private static func compare(
    _ found: SegmentOptions, _ expected: Definition, _ area: [UInt8]
  ) {
    check(found.malformed == expected.malformed, "\(area)")
    check(found.maximumSegmentSize == expected.maximumSegmentSize ?? 0, "\(area)")
    check(
      found.windowScale == expected.windowScale ?? SegmentOptions.absentWindowScale, "\(area)")
    check(found.sackPermitted == expected.sackPermitted, "\(area)")
    check(found.hasTimestamp == (expected.timestamp != nil), "\(area)")
    if let (value, echo) = expected.timestamp {
      check(found.timestampValue == value && found.timestampEcho == echo, "\(area)")
    }
    check(found.sackCount == expected.blocks.count, "\(area)")
    for (index, block) in expected.blocks.enumerated() {
      check(found.sackBlocks[index] == block, "\(area)")
    }
  }

  /// RFC 9293 section 3.2, RFC 7323 and RFC 2018, read word for word.
  private struct Definition {
    var maximumSegmentSize: UInt16?
    var windowScale: UInt8?
    var sackPermitted = false
    var timestamp: (UInt32, UInt32)?
    var blocks: [SACKBlock] = []
    var malformed = false

    init(_ area: [UInt8], isSYN: Bool) {
      var rest = area[...]
      while let kind = rest.first, kind != 0 {
        if kind == 1 {
          rest = rest.dropFirst()
          continue
        }
        guard rest.count >= 2 else { break }
        let length = Int(rest[rest.startIndex + 1])
        guard length >= 2, length <= rest.count else { break }
        take(kind, Array(rest.prefix(length).dropFirst(2)), isSYN: isSYN)
        rest = rest.dropFirst(length)
      }
      malformed = !(rest.isEmpty || rest.first == 0)
    }

    private mutating func take(_ kind: UInt8, _ body: [UInt8], isSYN: Bool) {
      func number(_ offset: Int) -> UInt32 {
        body[offset..<offset + 4].reduce(0) { $0 << 8 | UInt32($1) }
      }
      if isSYN, kind == 2, body.count == 2 {
        maximumSegmentSize = UInt16(body[0]) << 8 | UInt16(body[1])
      } else if isSYN, kind == 3, body.count == 1 {
        windowScale = min(body[0], 14)
      } else if isSYN, kind == 4, body.isEmpty {
        sackPermitted = true
      } else if kind == 8, body.count == 8 {
        timestamp = (number(0), number(4))
      } else if kind == 5, body.count % 8 == 0, (1...4).contains(body.count / 8) {
        blocks = stride(from: 0, to: body.count, by: 8).map {
          SACKBlock(
            left: SequenceNumber(number($0)), right: SequenceNumber(number($0 + 4)))
        }
      }
    }
  }
}
