@testable import FSStack

/// The bytes of hexadecimal digits; white space between them is passed over.
func bytes(_ hexadecimal: String) -> [UInt8] {
  let digits = hexadecimal.compactMap(\.hexDigitValue)
  precondition(digits.count % 2 == 0, "half a byte")
  return stride(from: 0, to: digits.count, by: 2).map { UInt8(digits[$0] << 4 | digits[$0 + 1]) }
}

/// The checksum of RFC 1071 as its definition says it, to compare with.
func referenceChecksum(_ data: some Sequence<UInt8>) -> UInt16 {
  var sum: UInt32 = 0
  for (index, byte) in data.enumerated() {
    sum += index % 2 == 0 ? UInt32(byte) << 8 : UInt32(byte)
    sum = (sum & 0xffff) + sum >> 16
  }
  return ~UInt16(sum)
}

extension Array where Element == UInt8 {
  mutating func put16(_ value: UInt16, at offset: Int) {
    self[offset] = UInt8(value >> 8)
    self[offset + 1] = UInt8(value & 255)
  }

  /// Makes the IPv4 header checksum at offset 14 + 10 right.
  mutating func fixIPv4Checksum() {
    put16(0, at: 24)
    put16(referenceChecksum(self[14..<(14 + Int(self[14] & 15) * 4)]), at: 24)
  }

  /// Makes the checksum of the transport header at `offset` right. The payload of IP is what
  /// follows to the end; the addresses are those of the untagged IPv4 or IPv6 header.
  mutating func fixTransportChecksum(at offset: Int, field: Int = 16, protocol number: UInt8 = 6) {
    put16(0, at: offset + field)
    let addresses = self[14] >> 4 == 4 ? self[26..<34] : self[22..<54]
    let length = UInt16(count - offset)
    let pseudo = addresses + [0, number, UInt8(length >> 8), UInt8(length & 255)]
    put16(referenceChecksum(pseudo + self[offset...]), at: offset + field)
  }
}

/// Parses a frame that ends where readable memory ends.
func parsed(
  _ frame: some Collection<UInt8>, in memory: GuardedBuffer = GuardedBuffer(),
  acceptPartialChecksum: Bool = false
) -> (ParseResult, Segment) {
  var segment = Segment()
  let result = segment.parse(memory.place(frame), acceptPartialChecksum: acceptPartialChecksum)
  return (result, segment)
}

extension OutgoingHeader {
  /// The whole frame, its header written over bytes that are not zero.
  func frame(_ payload: [UInt8] = []) -> [UInt8] {
    var frame = [UInt8](repeating: 0xa5, count: length) + payload
    let sum = payload.withUnsafeBytes { Checksum.add($0, to: 0) }
    frame.withUnsafeMutableBytes { bytes in
      guard let base = bytes.baseAddress else { return }
      write(to: base, payloadLength: payload.count, payloadSum: sum)
    }
    return frame
  }
}
