import FSStack

/// Frames for the XDP program, which looks at no checksum.
enum Frame {
  static let syn: UInt8 = 2
  static let ack: UInt8 = 16

  /// An Ethernet frame from the peer to the host.
  static func ethernet(_ type: UInt16, tags: [UInt16] = [], _ payload: [UInt8]) -> [UInt8] {
    var frame = TestNetwork.hostMAC.bytes + TestNetwork.peerMAC.bytes
    for tag in tags { frame += big(0x8100) + big(tag) }
    frame += big(type) + payload
    return frame + [UInt8](repeating: 0, count: max(60 - frame.count, 0))
  }

  static func ipv4(
    from source: IPAddress = TestNetwork.peerAddress,
    to destination: IPAddress = TestNetwork.hostAddress, protocol number: UInt8 = 6,
    options: [UInt8] = [], fragment: UInt16 = 0, _ payload: [UInt8]
  ) -> [UInt8] {
    let length = 20 + options.count
    return [0x40 | UInt8(length / 4), 0] + big(UInt16(length + payload.count)) + [0, 0]
      + big(fragment) + [64, number, 0, 0] + bytes(source) + bytes(destination) + options
      + payload
  }

  static func ipv6(
    from source: IPAddress = TestNetwork.peerAddress6,
    to destination: IPAddress = TestNetwork.hostAddress6, next: UInt8 = 6, _ payload: [UInt8]
  ) -> [UInt8] {
    [0x60, 0, 0, 0] + big(UInt16(payload.count)) + [next, 64] + bytes(source)
      + bytes(destination) + payload
  }

  static func tcp(
    from source: UInt16 = 40000, to destination: UInt16, flags: UInt8 = syn,
    payload: [UInt8] = []
  ) -> [UInt8] {
    big(source) + big(destination) + [0, 0, 0, 1, 0, 0, 0, 1, 0x50, flags, 0xff, 0xff, 0, 0, 0, 0]
      + payload
  }

  /// An ICMP or ICMPv6 message.
  static func icmp(_ type: UInt8, _ code: UInt8 = 0, _ rest: [UInt8] = []) -> [UInt8] {
    [type, code, 0, 0, 0, 0, 5, 0] + rest
  }

  /// What a router quotes of a segment that the host sent from `port`.
  static func quoted(from port: UInt16, protocol number: UInt8 = 6) -> [UInt8] {
    ipv4(
      from: TestNetwork.hostAddress, to: IPAddress(v4: 192, 0, 2, 9), protocol: number,
      Array(tcp(from: port, to: 80).prefix(8)))
  }

  static func quoted6(from port: UInt16) -> [UInt8] {
    ipv6(
      from: TestNetwork.hostAddress6, to: TestNetwork.address("2001:db8::9"),
      tcp(from: port, to: 80))
  }

  static func big(_ value: UInt16) -> [UInt8] { [UInt8(value >> 8), UInt8(value & 255)] }

  static func bytes(_ address: IPAddress) -> [UInt8] { address.withBytes { Array($0) } }
}
