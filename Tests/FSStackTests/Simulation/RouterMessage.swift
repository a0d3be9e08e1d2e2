@testable import FSStack

/// The ICMP error of a router for a packet that does not fit its next link (RFC 1191, RFC 4443).
enum RouterMessage {
  /// The frame that tells the sender of `frame` how much fits. It quotes as much as 68 bytes of an
  /// IPv4 packet, or as fits the minimal MTU of IPv6, less than any sender here fills.
  static func packetTooBig(_ frame: TCPFrame, mtu: Int) -> [UInt8] {
    let bytes = frame.bytes
    let ethernet = Array(bytes[6..<12]) + Array(bytes[0..<6]) + Array(bytes[12..<14])
    return ethernet + (frame.isIPv4 ? messageV4(bytes, mtu) : messageV6(bytes, mtu))
  }

  private static func messageV4(_ bytes: [UInt8], _ mtu: Int) -> [UInt8] {
    var message: [UInt8] = [3, 4, 0, 0, 0, 0, 0, 0]
    message.put16(UInt16(mtu), at: 6)
    message += bytes[14..<min(bytes.count, 14 + 68)]
    message.put16(referenceChecksum(message), at: 2)
    var header: [UInt8] = [0x45, 0xc0, 0, 0, 0, 0, 0, 0, 64, 1, 0, 0, 192, 0, 2, 254]
    header += bytes[26..<30]
    header.put16(UInt16(20 + message.count), at: 2)
    header.put16(referenceChecksum(header), at: 10)
    return header + message
  }

  private static func messageV6(_ bytes: [UInt8], _ mtu: Int) -> [UInt8] {
    var message: [UInt8] = [2, 0, 0, 0, 0, 0, 0, 0]
    message.put16(UInt16(mtu), at: 6)
    message += bytes[14..<min(bytes.count, 14 + 1232)]
    let router: [UInt8] = [0xfd, 0] + [UInt8](repeating: 0, count: 13) + [254]
    let addresses = router + bytes[22..<38]
    var pseudo = addresses + [0, 0, 0, 0, 0, 0, 0, 58]
    pseudo.put16(UInt16(message.count), at: addresses.count + 2)
    message.put16(referenceChecksum(pseudo + message), at: 2)
    var header: [UInt8] = [0x60, 0, 0, 0, 0, 0, 58, 64]
    header.put16(UInt16(message.count), at: 4)
    return header + addresses + message
  }
}
