import Testing

@testable import FSStack

/// IPv6 headers and their extensions.
@Suite struct NetworkLayerTests {
  struct Case: Sendable {
    var name: String
    /// Number of the first header after IPv6.
    var first: UInt8 = 6
    /// The extension headers.
    var headers = ""
    var expected: ParseResult = .segment
    var change: @Sendable (inout [UInt8]) -> Void = { _ in }
  }

  private static let extensions: [Case] = [
    Case(name: "none"),
    Case(name: "hop-by-hop, padded", first: 0, headers: "06 00 01 04 00000000"),
    Case(name: "router alert and Pad1", first: 0, headers: "06 00 0502 0000 00 00"),
    Case(
      name: "all three", first: 0,
      headers: "3c 00 0104 00000000  2b 00 0104 00000000  06 00 02 00 00000000"),
    Case(name: "16 bytes", first: 60, headers: "06 01 010c 000000000000000000000000"),
    Case(
      name: "hop-by-hop second", first: 60, headers: "00 00 0104 00000000 06 00 0104 00000000",
      expected: .drop(.ipv6ExtensionHeader)),
    Case(
      name: "segments left", first: 43, headers: "06 00 02 01 00000000",
      expected: .drop(.ipv6ExtensionHeader)),
    Case(
      name: "header beyond packet", first: 60, headers: "06 ff 0104 00000000",
      expected: .drop(.ipv6ExtensionHeader)),
    Case(
      name: "option that must be known", first: 60, headers: "06 00 c204 00000000",
      expected: .drop(.ipv6ExtensionHeader)),
    Case(
      name: "option to discard", first: 0, headers: "06 00 4004 00000000",
      expected: .drop(.ipv6ExtensionHeader)),
    Case(
      name: "option beyond header", first: 0, headers: "06 00 0105 00000000",
      expected: .drop(.ipv6ExtensionHeader)),
    Case(
      name: "option without length", first: 0, headers: "06 00 0103 00000001",
      expected: .drop(.ipv6ExtensionHeader)),
    Case(name: "atomic fragment (RFC 6946)", first: 44, headers: "06 00 0000 12345678"),
    Case(
      name: "atomic fragment behind options", first: 60,
      headers: "2c 00 0104 00000000 06 ff 0006 00000000"),
    Case(
      name: "first fragment", first: 44, headers: "06 00 0001 00000000",
      expected: .drop(.fragment)),
    Case(
      name: "last fragment", first: 44, headers: "06 00 0008 00000000",
      expected: .drop(.fragment)),
    Case(
      name: "last fragment of the largest packet", first: 60,
      headers: "2c 00 0104 00000000 06 00 fff8 00000000", expected: .drop(.fragment)),
    Case(
      name: "jumbo payload option (RFC 2675)", first: 0, headers: "06 00 c204 00010000",
      expected: .drop(.ipv6ExtensionHeader)),
    Case(name: "unknown header", first: 253, expected: .drop(.notTCP)),
    Case(name: "no next header", first: 59, expected: .drop(.notTCP)),
    Case(name: "ICMPv6", first: 58, expected: .icmpError),
    Case(name: "ICMPv4", first: 1, expected: .drop(.notTCP)),
    Case(
      name: "ICMPv6 behind options", first: 60, headers: "3a 00 0104 00000000", expected: .icmpError
    ),
    Case(
      name: "eight headers", first: 60,
      headers: String(repeating: "3c 00 0104 00000000", count: 7) + "06 00 0104 00000000"),
    Case(
      name: "nine headers", first: 60,
      headers: String(repeating: "3c 00 0104 00000000", count: 8) + "06 00 0104 00000000",
      expected: .drop(.ipv6ExtensionHeader)),
  ]

  private static let fixed: [Case] = [
    Case(name: "version 4", expected: .drop(.ipv6Header)) { $0[14] = 0x4b },
    Case(name: "length 0", expected: .drop(.ipv6Header)) { $0.put16(0, at: 18) },
    Case(name: "beyond the frame", expected: .drop(.ipv6Header)) { $0.put16(61, at: 18) },
    Case(name: "39 bytes", expected: .drop(.frameTooShort)) { $0 = Array($0[..<53]) },
    Case(name: "header alone", expected: .drop(.ipv6Header)) { $0 = Array($0[..<54]) },
    Case(name: "source multicast", expected: .drop(.sourceAddressInvalid)) { $0[22] = 0xff },
    Case(name: "source loopback", expected: .drop(.sourceAddressInvalid)) {
      $0.replaceSubrange(22..<38, with: bytes("00000000000000000000000000000001"))
    },
    Case(name: "source unspecified", expected: .drop(.sourceAddressInvalid)) {
      $0.replaceSubrange(22..<38, with: bytes("00000000000000000000000000000000"))
    },
    Case(name: "source mapped", expected: .drop(.sourceAddressInvalid)) {
      $0.replaceSubrange(22..<38, with: bytes("00000000000000000000ffff0a000001"))
    },
    Case(name: "destination mapped", expected: .drop(.destinationNotLocal)) {
      $0.replaceSubrange(38..<54, with: bytes("00000000000000000000ffff0a000001"))
    },
    Case(name: "LAND", expected: .drop(.sourceAddressInvalid)) {
      $0.replaceSubrange(22..<38, with: $0[38..<54])
    },
  ]

  @Test(arguments: extensions + fixed)
  func ipv6(_ test: Case) {
    var frame = GoldenFrame.sack6.frame
    let headers = bytes(test.headers)
    frame.insert(contentsOf: headers, at: 54)
    frame[20] = test.first
    frame.put16(UInt16(60 + headers.count), at: 18)
    test.change(&frame)
    let (result, segment) = parsed(frame)
    #expect(result == test.expected, "\(test.name)")
    if result == .segment {
      #expect(segment.payloadOffset == GoldenFrame.sack6.frame.count + headers.count)
      #expect(segment.payloadLength == 0 && segment.options.sackCount == 3)
    }
  }
}
