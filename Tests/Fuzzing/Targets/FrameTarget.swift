@testable import FSStack

/// The first byte says which checksums to put right, since a fuzzer cannot guess one; the rest is the
/// frame.
enum FrameTarget {
  private static let rightsNetwork: UInt8 = 1
  private static let rightsTransport: UInt8 = 2
  private static let acceptsPartial: UInt8 = 4

  static func run(_ bytes: UnsafeRawBufferPointer) {
    var input = FuzzInput(bytes)
    let choice = input.byte()
    var frame = input.remainder()
    if choice & rightsTransport != 0 { rightTransportChecksum(&frame) }
    if choice & rightsNetwork != 0 { rightNetworkChecksum(&frame) }
    // A copy of its own exact size: a sanitizer then sees a byte read behind it.
    frame.withUnsafeBytes { read($0, acceptPartialChecksum: choice & acceptsPartial != 0) }
  }

  /// Puts every checksum right, after appending the payload of IP.
  static func rightChecksums(_ frame: inout [UInt8], appending payload: [UInt8] = []) {
    frame += payload
    rightTransportChecksum(&frame)
    rightNetworkChecksum(&frame)
  }

  private static func read(_ frame: UnsafeRawBufferPointer, acceptPartialChecksum: Bool) {
    var segment = Segment()
    let result = segment.parse(frame, acceptPartialChecksum: acceptPartialChecksum)
    if result == .segment {
      check(segment.payloadOffset >= 0 && segment.payloadLength >= 0)
      check(segment.payloadOffset + segment.payloadLength <= frame.count)
      check((0...4).contains(segment.options.sackCount))
      let scale = segment.options.windowScale
      check(scale <= 14 || scale == SegmentOptions.absentWindowScale)
      check(segment.flags.isPossible)
    }
    if let error = ICMPError.parse(frame) {
      check(result == .icmpError, "an ICMP error that the engine would not see")
      check(error.source.isIPv4 == error.destination.isIPv4)
    }
  }

  /// Offset of the IP header, and its length if it is IPv4.
  private static func network(_ frame: [UInt8]) -> (offset: Int, length: Int, isIPv4: Bool)? {
    guard frame.count > 14 else { return nil }
    let offset = frame[12] == 0x81 && frame[13] == 0 ? 18 : 14
    guard frame.count > offset + 20 else { return nil }
    let isIPv4 = frame[offset] >> 4 == 4
    let length = isIPv4 ? Int(frame[offset] & 15) * 4 : 40
    guard length >= 20, frame.count >= offset + length else { return nil }
    return (offset, length, isIPv4)
  }

  private static func rightNetworkChecksum(_ frame: inout [UInt8]) {
    guard let network = network(frame), network.isIPv4 else { return }
    put(0, &frame, network.offset + 10)
    let header = frame[network.offset..<network.offset + network.length]
    put(checksum(Array(header)), &frame, network.offset + 10)
  }

  /// The payload is what the length in the IP header says, as far as the frame goes.
  private static func rightTransportChecksum(_ frame: inout [UInt8]) {
    guard let network = network(frame) else { return }
    let offset = network.offset
    let stated =
      network.isIPv4
      ? Int(frame[offset + 2]) << 8 | Int(frame[offset + 3])
      : 40 + (Int(frame[offset + 4]) << 8 | Int(frame[offset + 5]))
    let start = offset + network.length
    let end = min(frame.count, offset + stated)
    let number = network.isIPv4 ? frame[offset + 9] : frame[offset + 6]
    let field = number == 6 ? 16 : 2
    guard end >= start + field + 2 else { return }
    put(0, &frame, start + field)
    var sum: [UInt8] = []
    // ICMP over IPv4 has no pseudo-header.
    if number != 1 {
      let addresses =
        network.isIPv4 ? frame[offset + 12..<offset + 20] : frame[offset + 8..<offset + 40]
      sum = addresses + [0, number, UInt8((end - start) >> 8), UInt8((end - start) & 255)]
    }
    put(checksum(sum + frame[start..<end]), &frame, start + field)
  }

  private static func put(_ value: UInt16, _ frame: inout [UInt8], _ offset: Int) {
    frame[offset] = UInt8(value >> 8)
    frame[offset + 1] = UInt8(value & 255)
  }

  private static func checksum(_ bytes: [UInt8]) -> UInt16 {
    var sum: UInt32 = 0
    for (index, byte) in bytes.enumerated() {
      sum += index % 2 == 0 ? UInt32(byte) << 8 : UInt32(byte)
      sum = (sum & 0xffff) + sum >> 16
    }
    return ~UInt16(sum)
  }
}
