import Testing

@testable import FSStack

@Suite struct SequenceNumberTests {
  /// Order and distance hold at every place of the circle.
  @Test func orderIsModular() {
    for start: UInt32 in [0, 1, 0x7fff_ffff, 0x8000_0000, 0xffff_fff0, .max] {
      let first = SequenceNumber(start)
      for distance: UInt32 in [1, 2, 0xffff, 0x7fff_ffff] {
        let second = first + distance
        #expect(first < second && !(second < first) && first <= second && second > first)
        #expect(second - first == Int32(distance) && first - second == -Int32(distance))
        #expect(second - distance == first)
        #expect(second.isWithin(first, distance + 1) && !second.isWithin(first, distance))
      }
      #expect(first.isWithin(first, 1) && !first.isWithin(first, 0))
      #expect(!(first - UInt32(1)).isWithin(first, 0x7fff_ffff))
    }
  }

  /// The flags that may stand together: none of the impossible ones, and all that Linux answers.
  @Test func possibleFlags() {
    let possible: [TCPFlags] = [
      .syn, [.syn, .ack], .ack, [.ack, .psh], [.ack, .fin], [.ack, .fin, .psh, .urg], .rst,
      [.rst, .ack], [.rst, .ack, .psh], [.syn, .ece, .cwr], [.rst, .fin],
    ]
    let impossible: [TCPFlags] = [
      [], .fin, .psh, .urg, [.fin, .psh, .urg], [.syn, .fin], [.syn, .rst], [.syn, .fin, .ack],
      [.syn, .rst, .ack], TCPFlags(rawValue: 0xff), [.ece, .cwr],
    ]
    for flags in possible { #expect(flags.isPossible, "\(flags)") }
    for flags in impossible { #expect(!flags.isPossible, "\(flags)") }
  }
}
