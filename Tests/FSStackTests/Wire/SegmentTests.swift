import Testing

@testable import FSStack

@Suite struct SegmentTests {
  @Test(arguments: GoldenFrame.all)
  func readsGoldenFrames(_ golden: GoldenFrame) {
    // Ethernet pads to 60 bytes, and a trailer may follow.
    for padding in [0, 1, 30] {
      let (result, segment) = parsed(golden.frame + [UInt8](repeating: 0x77, count: padding))
      #expect(result == .segment, "\(golden.name)")
      #expect(segment.payloadOffset == golden.header.length)
      #expect(segment.payloadLength == golden.payload.count)
      #expect(segment.source == golden.header.source && segment.vlan == golden.header.vlan)
      #expect(segment.sequence == golden.header.sequence && segment.flags == golden.header.flags)
      #expect(segment.options.hasTimestamp == golden.header.options.hasTimestamp)
      #expect(segment.options.sackCount == golden.header.options.sackCount)
    }
  }

  /// A change to a good frame, and what becomes of it.
  struct Case: Sendable {
    var name: String
    var base = GoldenFrame.data4
    /// Right the checksums after the change, so that not they are the reason.
    var fixChecksums = true
    var expected: ParseResult
    var change: @Sendable (inout [UInt8]) -> Void
  }

  private static let link: [Case] = [
    Case(name: "no bytes", fixChecksums: false, expected: .drop(.frameTooShort)) { $0 = [] },
    Case(name: "33 bytes", fixChecksums: false, expected: .drop(.frameTooShort)) {
      $0 = Array($0[..<33])
    },
    Case(name: "broadcast MAC", expected: .drop(.destinationNotLocal)) {
      $0.replaceSubrange(0..<6, with: [255, 255, 255, 255, 255, 255])
    },
    Case(
      name: "multicast MAC", base: .vlan6, fixChecksums: false,
      expected: .drop(.destinationNotLocal)
    ) {
      $0[0] = 0x33
    },
    Case(name: "ARP", fixChecksums: false, expected: .drop(.notIP)) { $0.put16(0x0806, at: 12) },
    Case(name: "802.3 length", fixChecksums: false, expected: .drop(.notIP)) {
      $0.put16(46, at: 12)
    },
    Case(name: "802.1ad", fixChecksums: false, expected: .drop(.notIP)) {
      $0.put16(0x88a8, at: 12)
    },
    Case(name: "two tags", base: .vlan4, fixChecksums: false, expected: .drop(.notIP)) {
      $0.put16(0x8100, at: 16)
    },
    Case(
      name: "tag without header", base: .vlan4, fixChecksums: false, expected: .drop(.frameTooShort)
    ) {
      $0 = Array($0[..<37])
    },
  ]

  private static let ipv4: [Case] = [
    Case(name: "version 6", fixChecksums: false, expected: .drop(.ipv4HeaderLength)) {
      $0[14] = 0x65
    },
    Case(name: "IHL 4", fixChecksums: false, expected: .drop(.ipv4HeaderLength)) { $0[14] = 0x44 },
    Case(name: "IHL beyond the frame", fixChecksums: false, expected: .drop(.ipv4HeaderLength)) {
      $0[14] = 0x4f
      $0 = Array($0[..<60])
    },
    Case(name: "total length below header", expected: .drop(.ipv4TotalLength)) {
      $0.put16(19, at: 16)
    },
    Case(name: "total length beyond frame", expected: .drop(.ipv4TotalLength)) {
      $0.put16(58, at: 16)
    },
    Case(name: "total length 65535", expected: .drop(.ipv4TotalLength)) { $0.put16(65535, at: 16) },
    Case(name: "checksum", fixChecksums: false, expected: .drop(.ipv4HeaderChecksum)) {
      $0[22] ^= 1
    },
    Case(name: "more fragments", expected: .drop(.fragment)) { $0[20] |= 0x20 },
    Case(name: "fragment offset", expected: .drop(.fragment)) { $0[21] = 1 },
    Case(name: "reserved bit and no DF", expected: .segment) { $0[20] = 0x80 },
    Case(name: "UDP", expected: .drop(.notTCP)) { $0[23] = 17 },
    Case(name: "ICMP", expected: .icmpError) { $0[23] = 1 },
    Case(name: "ICMPv6 over IPv4", expected: .drop(.notTCP)) { $0[23] = 58 },
    Case(name: "source loopback", expected: .drop(.sourceAddressInvalid)) { $0[26] = 127 },
    Case(name: "source 0", expected: .drop(.sourceAddressInvalid)) { $0[26] = 0 },
    Case(name: "source multicast", expected: .drop(.sourceAddressInvalid)) { $0[26] = 225 },
    Case(name: "source broadcast", expected: .drop(.sourceAddressInvalid)) {
      $0.replaceSubrange(26..<30, with: [255, 255, 255, 255])
    },
    Case(name: "LAND", expected: .drop(.sourceAddressInvalid)) {
      $0.replaceSubrange(26..<30, with: $0[30..<34])
    },
    Case(name: "router alert option", expected: .segment) {
      $0.insert(contentsOf: [0x94, 4, 0, 0], at: 34)
      $0[14] = 0x46
      $0.put16(UInt16($0.count - 14), at: 16)
    },
    Case(name: "checksum of an option", fixChecksums: false, expected: .drop(.ipv4HeaderChecksum)) {
      $0.insert(contentsOf: [0x94, 4, 0, 0], at: 34)
      $0[14] = 0x46
      $0.put16(UInt16($0.count - 14), at: 16)
      $0.fixIPv4Checksum()
      $0[37] = 1
    },
  ]

  private static let tcp: [Case] = [
    Case(name: "19 bytes of TCP", expected: .drop(.tcpHeaderTruncated)) {
      $0 = Array($0[..<53])
      $0.put16(39, at: 16)
    },
    Case(name: "no TCP", fixChecksums: false, expected: .drop(.tcpHeaderTruncated)) {
      $0.put16(20, at: 16)
      $0.fixIPv4Checksum()
    },
    Case(name: "data offset 4", expected: .drop(.tcpDataOffset)) { $0[46] = 0x40 },
    Case(name: "data offset 0", expected: .drop(.tcpDataOffset)) { $0[46] = 0 },
    Case(name: "data offset beyond", expected: .drop(.tcpDataOffset)) { $0[46] = 0xa0 },
    Case(name: "data offset at the end", expected: .segment) {
      $0[46] = 0x90
      $0 = Array($0[..<70])
      $0.put16(56, at: 16)
    },
    Case(name: "payload changed", fixChecksums: false, expected: .drop(.tcpChecksum)) {
      $0[70] ^= 1
    },
    Case(name: "checksum 0", fixChecksums: false, expected: .drop(.tcpChecksum)) {
      $0.put16(0, at: 50)
    },
    Case(name: "other port", fixChecksums: false, expected: .drop(.tcpChecksum)) { $0[35] ^= 4 },
    Case(name: "SYN, FIN", expected: .drop(.flagsInvalid)) { $0[47] = 3 },
    Case(name: "null", expected: .drop(.flagsInvalid)) { $0[47] = 0 },
    Case(name: "reserved bits", expected: .segment) { $0[46] |= 0x0f },
    Case(name: "urgent", expected: .segment) {
      $0[47] |= 0x20
      $0.put16(65535, at: 52)
    },
    Case(name: "malformed option", expected: .segment) { $0[57] = 255 },
  ]

  @Test(arguments: link + ipv4 + tcp)
  func changed(_ test: Case) {
    var frame = test.base.frame
    test.change(&frame)
    if test.fixChecksums {
      let header = Int(frame[14] & 15) * 4
      if 14 + header + 20 <= frame.count { frame.fixTransportChecksum(at: 14 + header) }
      frame.fixIPv4Checksum()
    }
    #expect(parsed(frame).0 == test.expected, "\(test.name)")
  }

  /// The sum of the pseudo-header in the checksum field is good only where the caller says so.
  @Test(arguments: [GoldenFrame.data4, .sack6])
  func partialChecksum(_ golden: GoldenFrame) {
    var frame = golden.frame
    let isIPv4 = golden.header.source.isIPv4
    let tcp = isIPv4 ? 34 : 54
    let addresses = isIPv4 ? frame[26..<34] : frame[22..<54]
    let pseudo = addresses + [0, 6, 0, UInt8(frame.count - tcp)]
    frame.put16(~referenceChecksum(pseudo), at: tcp + 16)

    #expect(parsed(frame).0 == .drop(.tcpChecksum))
    let (result, segment) = parsed(frame, acceptPartialChecksum: true)
    #expect(result == .segment && segment.checksumWasPartial)
    frame[tcp + 17] ^= 1
    #expect(parsed(frame, acceptPartialChecksum: true).0 == .drop(.tcpChecksum))
    let (complete, whole) = parsed(golden.frame, acceptPartialChecksum: true)
    #expect(complete == .segment && !whole.checksumWasPartial)
  }

  /// A segment that is parsed into again keeps nothing of the one before.
  @Test func forgetsTheSegmentBefore() {
    let memory = GuardedBuffer()
    var segment = Segment()
    _ = segment.parse(memory.place(GoldenFrame.syn4.frame), acceptPartialChecksum: false)
    _ = segment.parse(memory.place(GoldenFrame.sack6.frame), acceptPartialChecksum: false)
    let result = segment.parse(memory.place(GoldenFrame.vlan4.frame), acceptPartialChecksum: false)
    #expect(result == .segment && segment.payloadLength == 0 && segment.vlan == 0x0fff)
    let options = segment.options
    #expect(options.maximumSegmentSize == 0 && options.windowScale == 255 && options.sackCount == 0)
    #expect(!options.sackPermitted && !options.hasTimestamp && !options.malformed)
  }
}
