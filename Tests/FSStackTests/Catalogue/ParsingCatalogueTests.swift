import Testing

@testable import FSStack

/// Frames that broke the parsers of others (docs/bug-catalogue.md), given to an engine with an open
/// connection: each is dropped for the right reason, or taken for what it is, and the connection goes
/// on.
@Suite struct ParsingCatalogueTests {
  struct Case: Sendable, CustomTestStringConvertible {
    var name: String
    var isIPv4 = true
    /// Nil: the segment, ten bytes of data, is taken.
    var drop: DropReason?
    /// The sums are put right after the change, over what the header then says.
    var fixesChecksums = true
    var change: @Sendable (inout [UInt8]) -> Void

    var testDescription: String { name }
  }

  private static let tcp: [Case] = [
    Case(name: "CVE-2020-11907, data offset 0", drop: .tcpDataOffset) { $0[46] = 0x00 },
    Case(name: "data offset 4", drop: .tcpDataOffset) { $0[46] = 0x40 },
    Case(
      name: "CVE-2020-35684, CVE-2020-24341, CVE-2021-31890: header beyond the packet",
      drop: .tcpDataOffset
    ) { $0[46] = 0xf0 },
    Case(name: "packet shorter than a header", drop: .tcpHeaderTruncated) {
      $0 = Array($0[..<50])
    },
    Case(name: "packet without transport header", drop: .tcpHeaderTruncated) {
      $0 = Array($0[..<34]) + [UInt8](repeating: 0, count: 0)
    },
    Case(
      name: "CVE-2020-13987: checksum over another length", drop: .tcpChecksum,
      fixesChecksums: false
    ) {
      // The sum of a segment that has a byte more.
      $0.append(7)
      $0.put16(UInt16($0.count - 14), at: 16)
      $0.fixIPv4Checksum()
    },
    Case(name: "checksum 0", drop: .tcpChecksum, fixesChecksums: false) { $0.put16(0, at: 50) },
  ]

  private static let ip: [Case] = [
    Case(name: "IHL 4", drop: .ipv4HeaderLength) { $0[14] = 0x44 },
    Case(name: "IHL 0", drop: .ipv4HeaderLength) { $0[14] = 0x40 },
    Case(name: "IHL beyond the frame", drop: .ipv4HeaderLength, fixesChecksums: false) {
      $0 = Array($0[..<60])
      $0[14] = 0x4f
    },
    Case(name: "version 6 in an IPv4 frame", drop: .ipv4HeaderLength, fixesChecksums: false) {
      $0[14] = 0x65
    },
    Case(name: "total length beyond the frame", drop: .ipv4TotalLength, fixesChecksums: false) {
      $0.put16(UInt16($0.count - 13), at: 16)
      $0.fixIPv4Checksum()
    },
    Case(name: "total length 65535", drop: .ipv4TotalLength, fixesChecksums: false) {
      $0.put16(65535, at: 16)
      $0.fixIPv4Checksum()
    },
    Case(
      name: "total length of less than the header", drop: .ipv4TotalLength, fixesChecksums: false
    ) {
      $0.put16(19, at: 16)
      $0.fixIPv4Checksum()
    },
    Case(name: "padding of a short frame is no data", fixesChecksums: false) {
      $0 += [UInt8](repeating: 0xee, count: 6)
    },
    Case(name: "a long trailer is no data", fixesChecksums: false) {
      $0 += [UInt8](repeating: 0xee, count: 1000)
    },
    Case(name: "wrong header checksum", drop: .ipv4HeaderChecksum, fixesChecksums: false) {
      $0[24] ^= 1
    },
    Case(name: "UDP", drop: .notTCP) { $0[23] = 17 },
    Case(name: "MPTCP's number", drop: .notTCP) { $0[23] = 6 ^ 0xff },
    Case(name: "nothing", drop: .frameTooShort, fixesChecksums: false) { $0 = [] },
    Case(name: "Ethernet alone", drop: .frameTooShort, fixesChecksums: false) {
      $0 = Array($0[..<14])
    },
  ]

  /// Puts extension headers between IPv6 and TCP.
  private static func extended(_ first: UInt8, _ headers: [UInt8])
    -> @Sendable (inout [UInt8]) -> Void
  {
    { frame in
      frame[20] = first
      frame.insert(contentsOf: headers, at: 54)
      frame.put16(UInt16(frame.count - 54), at: 18)
    }
  }

  private static let extensions: [Case] = [
    Case(
      name: "CVE-2020-13984, -17445: options that never end", isIPv4: false,
      drop: .ipv6ExtensionHeader, fixesChecksums: false,
      change: extended(60, [6, 0, 1, 0xff, 0, 0, 0, 0])),
    Case(
      name: "CVE-2020-17442: header longer than the packet", isIPv4: false,
      drop: .ipv6ExtensionHeader, fixesChecksums: false,
      change: extended(60, [6, 0xff, 1, 4, 0, 0, 0, 0])),
    Case(
      name: "CVE-2020-17444: a hundred headers", isIPv4: false, drop: .ipv6ExtensionHeader,
      fixesChecksums: false,
      change: extended(
        60, (0..<100).flatMap { [$0 == 99 ? 6 : 60, 0, 1, 4, 0, 0, 0, 0] as [UInt8] })),
    Case(
      name: "CVE-2024-38063: jumbo payload option", isIPv4: false, drop: .ipv6ExtensionHeader,
      fixesChecksums: false, change: extended(0, [6, 0, 0xc2, 4, 0, 1, 0, 0])),
    Case(
      name: "payload length 0", isIPv4: false, drop: .ipv6Header, fixesChecksums: false
    ) { $0.put16(0, at: 18) },
    Case(
      name: "payload length beyond the frame", isIPv4: false, drop: .ipv6Header,
      fixesChecksums: false
    ) { $0.put16(UInt16($0.count - 53), at: 18) },
    Case(
      name: "routing header with segments left (RFC 5095)", isIPv4: false,
      drop: .ipv6ExtensionHeader, fixesChecksums: false,
      change: extended(43, [6, 0, 0, 1, 0, 0, 0, 0])),
    Case(
      name: "hop-by-hop in the second place", isIPv4: false, drop: .ipv6ExtensionHeader,
      fixesChecksums: false,
      change: extended(60, [0, 0, 1, 4, 0, 0, 0, 0, 6, 0, 1, 4, 0, 0, 0, 0])),
    Case(
      name: "CVE-2021-24086: fragment header", isIPv4: false, drop: .fragment,
      fixesChecksums: false,
      change: extended(44, [6, 0, 0, 1, 0, 0, 0, 1])),
    Case(
      name: "no next header", isIPv4: false, drop: .notTCP, fixesChecksums: false,
      change: extended(60, [59, 0, 1, 4, 0, 0, 0, 0])),
    Case(
      name: "CVE-2020-16898: router advertisement", isIPv4: false, fixesChecksums: false,
      change: { frame in
        frame[20] = 58
        frame =
          Array(frame[..<54]) + [134, 0, 0, 0] + [UInt8](repeating: 0, count: 12)
          + [25, 4] + [UInt8](repeating: 0xff, count: 30)
        frame.put16(UInt16(frame.count - 54), at: 18)
        frame.fixTransportChecksum(at: 54, field: 2, protocol: 58)
      }),
  ]

  @Test(arguments: tcp + ip + extensions)
  func frame(_ test: Case) {
    let pair = ScriptedPair(isIPv4: test.isIPv4)
    let socket = pair.open()
    let payload = (0..<10).map { StreamPattern.byte($0, port: 80, toServer: true) }
    var frame = pair.peer.header(.psh, 1, ack: 1).frame(payload)
    let length = frame.count
    test.change(&frame)
    if test.fixesChecksums {
      frame.put16(UInt16(frame.count - 14), at: 16)
      frame.fixIPv4Checksum()
      if frame.count >= 52, frame[14] == 0x45 { frame.fixTransportChecksum(at: 34) }
    }
    pair.peer.send(frame)
    let isTaken = test.drop == nil && frame.count >= length && frame[test.isIPv4 ? 23 : 20] == 6
    #expect(socket.unread == (isTaken ? 10 : 0))
    if let reason = test.drop { #expect(pair.drops(reason) == 1) }
    #expect(socket.error == nil)
    // Nothing is left behind that would harm the next segment.
    pair.peer.send([], 1, count: 100, ack: 1)
    #expect(socket.read() == 100 && socket.firstWrongByte == nil)
  }

  // MARK: Options

  /// Options of a SYN that were written by nobody honest: the connection opens all the same, or not at
  /// all, and works.
  @Test(arguments: [
    ("CVE-2020-24337: length 0", "0200 0000"), ("CVE-2020-13988: length 1", "0201 0000"),
    ("MSS without value", "0202 0101"), ("MSS of three bytes", "0203 0501"),
    ("MSS 0", "02040000"), ("MSS 1", "02040001"), ("MSS 65535", "0204ffff"),
    ("CVE-2021-31889: SACK of 9 bytes", "0402 0509 0000000000000000 00"),
    ("SACK in a SYN", "0402 050a 0000000100000002"), ("scale above 14", "0303ff"),
    ("scale of 255 twice", "0303ff 0303ff"), ("size twice", "02040400 020405b4"),
    ("URGENT/11 CVE-2019-12258: malformed MD5", "1303 00"),
    ("CVE-2019-12260: malformed AO", "1d02 0000"), ("AO without end", "1d28 0000"),
    ("MD5", "1312 000102030405060708090a0b0c0d0e0f"),
    ("only NOP", "0101010101010101010101010101010101010101"), ("forty zeros", "0000000000000000"),
    ("fast open with a cookie", "2206 01020304"), ("multipath", "1e0c 0081 0000000000000001"),
  ])
  func option(name: String, list: String) {
    let pair = ScriptedPair()
    pair.peer.send(pair.peer.header(.syn, 0), options: bytes(list))
    #expect(pair.peer.take() == ["A> SYN ACK 0 ack 1"])
    pair.peer.send([], 1, ack: 1)
    pair.simulation.trace.keepsNumbers = true
    guard let socket = pair.server.accept() else {
      Issue.record("not accepted")
      return
    }
    pair.peer.send([], 1, count: 100, ack: 1)
    #expect(socket.read() == 100 && socket.firstWrongByte == nil)
    socket.setOption(level: 6, name: 1, 1)
    socket.send(300)
    pair.simulation.run(for: .milliseconds(1))
    for _ in 0..<20 where !socket.isDrained {
      pair.peer.send([], 101, ack: pair.sentEdge)
      pair.server.run()
    }
    #expect(socket.isDrained)
    // CVE-2020-7451: no byte of the answer is left over from another frame.
    #expect(pair.frames.allSatisfy { $0.trafficClass == 0 && $0.optionKinds != nil })
  }

  /// The same lists in the middle of a connection.
  @Test func optionsLater() {
    let pair = ScriptedPair()
    let socket = pair.open { $0.options.sackPermitted = true }
    socket.send(2920)
    pair.simulation.run(for: .milliseconds(1))
    var random = SplitMix64(seed: 24337)
    for _ in 0..<2000 {
      let list = random.bytes(Int.random(in: 1...40, using: &random))
      pair.peer.send(pair.peer.header([], 1, ack: 1), options: list)
    }
    pair.peer.send([], 1, count: 100, ack: 2921)
    pair.server.run()
    #expect(socket.isDrained && socket.read() == 100 && socket.error == nil)
  }

  /// A frame of a tagged link is none of ours when it carries two tags, and is answered with the tag it
  /// came with.
  @Test func tags() {
    let pair = ScriptedPair()
    // The observer of segments knows no tags.
    pair.simulation.reportsProblems = false
    var header = pair.peer.header(.syn, 0)
    header.vlan = 0x6007
    pair.peer.send(header.frame())
    let answer = pair.simulation.b.received.last ?? []
    #expect(Array(answer[12..<16]) == [0x81, 0x00, 0x60, 0x07])
    var twice = header.frame()
    twice.insert(contentsOf: [0x81, 0x00, 0x00, 0x01], at: 12)
    pair.peer.send(twice)
    #expect(pair.drops(.notIP) == 1)
  }
}
