import Testing

@testable import FSStack

/// The hash of receive-side scaling: Microsoft's "Verifying the RSS hash calculation", and its
/// definition.
@Suite struct ToeplitzHashTests {
  /// The key of the published vectors.
  static let key = bytes(
    """
    6d5a56da255b0ec24167253d43a38fb0d0ca2bcbae7b30b477cb2da38030f20c6a42b73bbeac01fa
    """)

  /// A vector: hash with the ports, and of the addresses alone.
  struct Vector: Sendable {
    var destination: (String, UInt16)
    var source: (String, UInt16)
    var hash: UInt32
    var addressHash: UInt32
  }

  static let vectors = [
    Vector(
      destination: ("161.142.100.80", 1766), source: ("66.9.149.187", 2794), hash: 0x51cc_c178,
      addressHash: 0x323e_8fc2),
    Vector(
      destination: ("65.69.140.83", 4739), source: ("199.92.111.2", 14230), hash: 0xc626_b0ea,
      addressHash: 0xd718_262a),
    Vector(
      destination: ("12.22.207.184", 38024), source: ("24.19.198.95", 12898), hash: 0x5c2b_394a,
      addressHash: 0xd2d0_a5de),
    Vector(
      destination: ("209.142.163.6", 2217), source: ("38.27.205.30", 48228), hash: 0xafc7_327f,
      addressHash: 0x8298_9176),
    Vector(
      destination: ("202.188.127.2", 1303), source: ("153.39.163.191", 44251), hash: 0x10e8_28a2,
      addressHash: 0x5d18_09c5),
    Vector(
      destination: ("3ffe:2501:200:3::1", 1766), source: ("3ffe:2501:200:1fff::7", 2794),
      hash: 0x4020_7d3d, addressHash: 0x2cc1_8cd5),
    Vector(
      destination: ("ff02::1", 4739), source: ("3ffe:501:8::260:97ff:fe40:efab", 14230),
      hash: 0xdde5_1bbf, addressHash: 0x0f0c_461c),
    Vector(
      destination: ("fe80::200:f8ff:fe21:67cf", 38024),
      source: ("3ffe:1900:4545:3:200:f8ff:fe21:67cf", 44251), hash: 0x02d1_feef,
      addressHash: 0x4b61_e985),
  ]

  @Test(arguments: vectors)
  func publishedVectors(_ vector: Vector) throws {
    let flow = Flow(
      local: try #require(IPAddress(vector.destination.0)), localPort: vector.destination.1,
      remote: try #require(IPAddress(vector.source.0)), remotePort: vector.source.1)
    let toeplitz = ToeplitzHash(key: Self.key)
    defer { toeplitz.deallocate() }
    #expect(toeplitz.hash(flow) == vector.hash)
    var portless = flow
    portless.localPort = 0
    let share = toeplitz.shareOfLocalPort(flow.localPort, isIPv4: flow.local.isIPv4)
    #expect(toeplitz.hash(portless) ^ share == vector.hash)
    let message = rssMessage(flow)
    #expect(referenceToeplitz(message, key: Self.key) == vector.hash)
    #expect(referenceToeplitz(message.dropLast(4), key: Self.key) == vector.addressHash)
  }

  /// Any key and flow, also keys that are shorter or longer than the message needs.
  @Test func definition() {
    var random = SplitMix64(seed: 4)
    for round in 0..<500 {
      let key = random.bytes([40, 40, 52, 24][round % 4])
      let toeplitz = ToeplitzHash(key: key)
      defer { toeplitz.deallocate() }
      func address() -> IPAddress {
        round % 2 == 0
          ? IPAddress(v4Native: UInt32(truncatingIfNeeded: random.next()))
          : IPAddress(high: random.next() | 1, low: random.next())
      }
      let flow = Flow(
        local: address(), localPort: UInt16(truncatingIfNeeded: random.next()),
        remote: address(), remotePort: UInt16(truncatingIfNeeded: random.next()))
      let padded = key + [UInt8](repeating: 0, count: 40)
      #expect(toeplitz.hash(flow) == referenceToeplitz(rssMessage(flow), key: padded))
    }
  }
}
