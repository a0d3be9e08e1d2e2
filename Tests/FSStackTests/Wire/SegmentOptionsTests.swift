import Testing

@testable import FSStack

@Suite struct SegmentOptionsTests {
  struct Case: Sendable {
    var name: String
    var option: String
    var isSYN = true
    var expected = Expected()
  }

  struct Expected: Equatable, Sendable {
    var size: UInt16 = 0
    var scale: UInt8 = 255
    var sackPermitted = false
    var timestamp: [UInt32] = []
    var blocks: [[UInt32]] = []
    var malformed = false
  }

  private static let cases: [Case] = [
    Case(name: "none", option: ""),
    Case(name: "end hides the rest", option: "00 020405b4"),
    Case(name: "maximum segment size", option: "020405b4", expected: Expected(size: 1460)),
    Case(name: "the last one counts", option: "020405b4 02040200", expected: Expected(size: 512)),
    Case(name: "size 0 is none", option: "02040000"),
    Case(name: "only on SYN", option: "020405b4 01030307 0402 0101", isSYN: false),
    Case(name: "scale", option: "03030e 00", expected: Expected(scale: 14)),
    Case(name: "scale above 14", option: "0303ff 00", expected: Expected(scale: 14)),
    Case(name: "SACK permitted", option: "0402 0101", expected: Expected(sackPermitted: true)),
    Case(
      name: "timestamp anywhere", option: "080a0000000700000009 01 00", isSYN: false,
      expected: Expected(timestamp: [7, 9])),
    Case(
      name: "SACK", option: "0512 00000001 00000002 00000003 00000004", isSYN: false,
      expected: Expected(blocks: [[1, 2], [3, 4]])),
    Case(name: "SACK without a block", option: "0502 0101"),
    Case(name: "SACK of 9 bytes", option: "0509 00000000000000 000000"),
    Case(
      name: "wrong length is passed over", option: "0205 000000 03030a",
      expected: Expected(scale: 10)),
    Case(
      name: "unknown kinds are passed over", option: "fd06 f989 0000 1904 0000 03030a 00",
      expected: Expected(scale: 10)),
    Case(name: "MD5 passed over", option: "1312 00000000000000000000000000000000 0101"),
    Case(name: "length 0", option: "0200 0000", expected: Expected(malformed: true)),
    Case(name: "length 1", option: "fd01 0000", expected: Expected(malformed: true)),
    Case(name: "no length", option: "010101 02", expected: Expected(malformed: true)),
    Case(name: "beyond the header", option: "0101 080a", expected: Expected(malformed: true)),
    Case(name: "far beyond", option: "08ff 0000", expected: Expected(malformed: true)),
    Case(
      name: "what came before counts", option: "020405b4 0300 0000",
      expected: Expected(size: 1460, malformed: true)),
  ]

  @Test(arguments: cases)
  func parses(_ test: Case) {
    let memory = GuardedBuffer()
    let option = memory.place(bytes(test.option))
    var options = SegmentOptions()
    options.sackPermitted = true
    options.reset()
    if let base = option.baseAddress {
      options.parse(base, count: option.count, isSYN: test.isSYN)
    }
    let result = Expected(
      size: options.maximumSegmentSize, scale: options.windowScale,
      sackPermitted: options.sackPermitted,
      timestamp: options.hasTimestamp ? [options.timestampValue, options.timestampEcho] : [],
      blocks: (0..<options.sackCount).map {
        [options.sackBlocks[$0].left.value, options.sackBlocks[$0].right.value]
      },
      malformed: options.malformed)
    #expect(result == test.expected, "\(test.name)")
  }
}
