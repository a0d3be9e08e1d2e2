@testable import FSStack

/// Frames computed outside this project, with the header that makes them.
struct GoldenFrame: Sendable {
  var name: String
  var frame: [UInt8]
  var header: OutgoingHeader
  var payload: [UInt8] = []

  static let all = [syn4, data4, sack6, vlan6, vlan4]

  private static func addressed(
    _ source: String, _ sourcePort: UInt16, _ destination: String, _ destinationPort: UInt16,
    _ sequence: UInt32, _ acknowledgement: UInt32, _ flags: TCPFlags, _ window: UInt16
  ) -> OutgoingHeader {
    var header = OutgoingHeader()
    header.destinationMAC = MACAddress(2, 0, 0, 0, 0, 2)
    header.sourceMAC = MACAddress(2, 0, 0, 0, 0, 1)
    header.source = IPAddress(source) ?? .unspecified
    header.destination = IPAddress(destination) ?? .unspecified
    header.sourcePort = sourcePort
    header.destinationPort = destinationPort
    header.sequence = SequenceNumber(sequence)
    header.acknowledgement = SequenceNumber(acknowledgement)
    header.flags = flags
    header.window = window
    return header
  }

  static let syn4 = GoldenFrame(
    name: "SYN with every option of a SYN, IPv4",
    frame: bytes(
      """
      02000000000202000000000108004500003c0000400040064e80c0000201c63364079c40
      0050fffffff000000000a002faf0c04b0000020405b40402080a01020304000000000103
      0307
      """),
    header: {
      var header = addressed("192.0.2.1", 40000, "198.51.100.7", 80, 0xffff_fff0, 0, .syn, 64240)
      header.options.maximumSegmentSize = 1460
      header.options.sackPermitted = true
      header.options.hasTimestamp = true
      header.options.timestampValue = 0x0102_0304
      header.options.windowScale = 7
      return header
    }())

  static let data4 = GoldenFrame(
    name: "data with a timestamp and an odd length, IPv4",
    frame: bytes(
      """
      0200000000020200000000010800452e003900004000ff0663890a0102030a0302010050
      ffff000003e880000000801801f5f65c00000101080adeadbeef00c0ffee68656c6c6f
      """),
    header: {
      var header = addressed(
        "10.1.2.3", 80, "10.3.2.1", 65535, 1000, 0x8000_0000, [.ack, .psh], 501)
      header.trafficClass = 0x2e
      header.hopLimit = 255
      header.options.hasTimestamp = true
      header.options.timestampValue = 0xdead_beef
      header.options.timestampEcho = 0x00c0_ffee
      return header
    }(),
    payload: Array("hello".utf8))

  static let sack6 = GoldenFrame(
    name: "timestamp and three SACK blocks, IPv6",
    frame: bytes(
      """
      02000000000202000000000186dd6b800000003c064020010db800000000000000000000
      000120010db800000000000000000000000201bbc3500000000700000009f0100000419b
      00000101080adeadbeef00c0ffee0101051a00000001000000020000000300000004ffff
      fffe00000005
      """),
    header: {
      var header = addressed("2001:db8::1", 443, "2001:db8::2", 50000, 7, 9, .ack, 0)
      header.trafficClass = 0xb8
      header.options.hasTimestamp = true
      header.options.timestampValue = 0xdead_beef
      header.options.timestampEcho = 0x00c0_ffee
      header.options.sackCount = 3
      for (index, block) in [(1, 2), (3, 4), (0xffff_fffe, 5)].enumerated() {
        header.options.sackBlocks[index] = SACKBlock(
          left: SequenceNumber(UInt32(block.0)), right: SequenceNumber(UInt32(block.1)))
      }
      return header
    }())

  static let vlan6 = GoldenFrame(
    name: "FIN with data, VLAN tag, IPv6",
    frame: bytes(
      """
      0200000000020200000000018100202a86dd6000000000170601fe800000000000000000
      000000000001fe8000000000000000000000000000020001000200000003000000045011
      ffffb2c10000ff0001
      """),
    header: {
      var header = addressed("fe80::1", 1, "fe80::2", 2, 3, 4, [.fin, .ack], 65535)
      header.vlan = 0x202a
      header.hopLimit = 1
      return header
    }(),
    payload: [255, 0, 1])

  static let vlan4 = GoldenFrame(
    name: "RST, VLAN tag, IPv4",
    frame: bytes(
      """
      02000000000202000000000181000fff08004500002800004000400626ce0a0000010a00
      0002000500060000000000000000501400009bc30000
      """),
    header: {
      var header = addressed("10.0.0.1", 5, "10.0.0.2", 6, 0, 0, [.rst, .ack], 0)
      header.vlan = 0x0fff
      return header
    }())
}
