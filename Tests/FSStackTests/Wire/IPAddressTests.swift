import Testing

@testable import FSStack

@Suite struct IPAddressTests {
  /// Text, and how it is written back; nil for what is no address.
  private static let texts: [(String, String?)] = [
    ("0.0.0.0", "0.0.0.0"), ("192.0.2.255", "192.0.2.255"), ("::", "::"), ("::1", "::1"),
    ("2001:DB8:0:0:0:0:0:1", "2001:db8::1"), ("2001:db8::0:1", "2001:db8::1"),
    ("1:0:0:2:0:0:0:3", "1:0:0:2::3"), ("1:0:0:2:3:0:0:4", "1::2:3:0:0:4"),
    ("1:2:3:4:5:6:7:0", "1:2:3:4:5:6:7:0"), ("1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0"),
    ("::ffff:10.0.0.1", "10.0.0.1"), ("64:ff9b::1.2.3.4", "64:ff9b::102:304"),
    ("1:2:3:4:5:6:1.2.3.4", "1:2:3:4:5:6:102:304"), ("fe80::", "fe80::"),
    ("", nil), ("1", nil), ("1.2.3", nil), ("1.2.3.4.5", nil), ("256.0.0.1", nil),
    ("01.2.3.4", nil), ("1.2.3.4 ", nil), ("1..2.3", nil), (":", nil), (":::", nil),
    ("1::2::3", nil), ("1:2:3:4:5:6:7", nil), ("1:2:3:4:5:6:7:8:9", nil), ("12345::", nil),
    ("1:2:3:4:5:6:7:8::", nil), ("g::", nil), ("fe80::1%eth0", nil), ("1.2.3.4::", nil),
    ("::1.2.3.4:5", nil), (":1:2:3:4:5:6:7", nil), ("1:2:3:4:5:6:7:", nil),
  ]

  @Test func text() {
    for (text, expected) in Self.texts {
      #expect(IPAddress(text)?.description == expected, "\(text)")
    }
  }

  @Test func textOfRandomAddresses() {
    var random = SplitMix64(seed: 5)
    for _ in 0..<2000 {
      // Bits cleared in blocks give zero runs.
      let mask = random.next() & random.next()
      let address = IPAddress(high: random.next() & mask, low: random.next() & ~mask)
      #expect(IPAddress(address.description) == address)
    }
  }

  @Test func bytesInNetworkOrder() throws {
    let four = IPAddress(v4: 10, 1, 2, 3)
    #expect(four.withBytes(Array.init) == [10, 1, 2, 3])
    #expect(four.withBytes { IPAddress(bytes: $0) } == four)
    #expect(IPAddress(v4Native: four.v4Native) == four)
    let six = try #require(IPAddress("2001:db8::7"))
    #expect(
      six.withBytes(Array.init) == [0x20, 1, 0x0d, 0xb8] + Array(repeating: 0, count: 11) + [7])
    #expect(six.withBytes { IPAddress(bytes: $0) } == six)
  }

  /// Address: isIPv4, unspecified, loopback, multicast, link-local, may be a source.
  private static let kinds: [(String, String)] = [
    ("0.0.0.0", "4u----"), ("127.1.2.3", "4-l---"), ("224.0.0.1", "4--m--"),
    ("239.255.255.255", "4--m--"), ("255.255.255.255", "4--m--"), ("10.0.0.1", "4----s"),
    ("0.1.2.3", "4-----"), ("240.0.0.1", "4----s"), ("::", "-u----"), ("::1", "--l---"),
    ("ff02::1", "---m--"), ("fe80::1", "----ks"), ("febf::1", "----ks"), ("fec0::1", "-----s"),
    ("2001:db8::1", "-----s"), ("::2", "-----s"), ("::fffe:0:1", "-----s"),
  ]

  @Test func kinds() throws {
    for (text, expected) in Self.kinds {
      let address = try #require(IPAddress(text))
      let isSource =
        address.isIPv4
        ? IPAddress.isValidSource(v4Native: address.v4Native) : address.isValidIPv6Source
      let facts = [
        address.isIPv4, address.isUnspecified, address.isLoopback, address.isMulticast,
        address.isLinkLocal, isSource,
      ]
      let shown = zip("4ulmks", facts).map { $1 ? String($0) : "-" }.joined()
      #expect(shown == expected, "\(text)")
    }
  }
}

@Suite struct MACAddressTests {
  @Test func text() {
    let cases: [(String, String?)] = [
      ("02:00:5e:10:00:ff", "02:00:5e:10:00:ff"), ("2:0:5E:1:0:F", "02:00:5e:01:00:0f"),
      ("02:00:5e:10:00", nil), ("02:00:5e:10:00:ff:01", nil), ("02-00-5e-10-00-ff", nil),
      ("02:00:5e:10:00:1ff", nil), ("", nil), ("::::: ", nil), ("02:00::10:00:ff", nil),
    ]
    for (text, expected) in cases {
      #expect(MACAddress(text)?.description == expected, "\(text)")
    }
  }

  @Test func bytesInOrder() {
    let address = MACAddress(1, 2, 3, 4, 5, 6)
    #expect(address.bytes == [1, 2, 3, 4, 5, 6])
    #expect(address.bytes.withUnsafeBytes { MACAddress(bytes: $0) } == address)
    #expect(address.isMulticast && MACAddress.broadcast.isMulticast)
    #expect(!MACAddress(2, 0, 0, 0, 0, 1).isMulticast)
  }
}
