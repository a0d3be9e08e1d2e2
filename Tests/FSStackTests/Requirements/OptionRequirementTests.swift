import Testing

@testable import FSStack

/// RFC 9293 Appendix B, "TCP Options" and "TCP Checksums".
@Suite struct OptionRequirementTests {
  /// Both families, and links with small and large packets.
  static let links: [(isIPv4: Bool, mtu: Int)] = [
    (true, 1500), (false, 1500), (true, 1400), (false, 1280), (true, 9000), (false, 9000),
  ]

  /// Every SYN announces what an interface's packets hold, whatever options they will carry (MUST-14,
  /// MUST-67, SHLD-5, MAY-3, SHLD-6), and no other segment announces anything (MUST-65).
  @Test(arguments: links)
  func announcesSegmentSize(isIPv4: Bool, mtu: Int) {
    var options = SimulatedHost.Options()
    options.mtu = mtu
    let pair = ScriptedPair(isIPv4: isIPv4, options: options)
    let socket = pair.open { header in
      header.options.hasTimestamp = true
      header.options.timestampValue = 1
    }
    pair.server.connect(to: pair.simulation.b.address, port: 2000, localPort: 40_000)
    socket.send(100)
    socket.close()
    pair.simulation.run(for: .seconds(1))
    let segments = pair.frames
    let expected = mtu - (isIPv4 ? 40 : 60)
    #expect(segments.contains { $0.isSYN } && segments.contains { !$0.isSYN })
    for segment in segments {
      #expect(segment.optionKinds?.contains(2) == segment.isSYN)
      guard segment.isSYN else { continue }
      #expect(
        Array(segment.bytes[segment.tcp + 20..<segment.tcp + 24]) == [
          2, 4, UInt8(expected >> 8), UInt8(expected & 255),
        ])
    }
  }

  /// Without the option, 536 bytes over IPv4 and 1220 over IPv6 (MUST-15).
  @Test(arguments: [(true, 536), (false, 1220)])
  func defaultSegmentSize(isIPv4: Bool, size: Int) {
    let pair = ScriptedPair(isIPv4: isIPv4)
    let socket = pair.open { $0.options.maximumSegmentSize = 0 }
    socket.send(5000)
    pair.simulation.run(for: .milliseconds(1))
    #expect(
      pair.peer.take().prefix(2) == [
        "A> ACK 1:\(size + 1) ack 1", "A> ACK \(size + 1):\(2 * size + 1) ack 1",
      ])
  }

  /// What is sent is the smallest of what the peer announced and what the path carries, less the
  /// options of each segment (MUST-16).
  @Test(arguments: [
    (1000, 1500, false, 1000), (1000, 1500, true, 988), (9000, 1500, false, 1460),
    (9000, 1500, true, 1448), (1460, 1400, true, 1348),
  ])
  func effectiveSegmentSize(announced: UInt16, mtu: Int, timestamps: Bool, size: Int) {
    var options = SimulatedHost.Options()
    options.mtu = mtu
    let pair = ScriptedPair(options: options)
    let socket = pair.open {
      $0.options.maximumSegmentSize = announced
      $0.options.hasTimestamp = timestamps
      $0.options.timestampValue = 1
    }
    socket.send(5000)
    pair.simulation.run(for: .milliseconds(1))
    #expect(pair.peer.take().first == "A> ACK 1:\(size + 1) ack 1")
  }

  /// Options as bytes of a SYN, and the segment size that they make of it.
  static let lists: [(options: String, size: Int)] = [
    ("02040200", 512), ("01 02040200", 512), ("0101 02040200", 512), ("010101 02040200", 512),
    ("00 02040200", 536), ("02040200 00 ffffff", 512),
    ("fd06f9891234 02040200", 512), ("1e08000000000000 02040200", 512), ("fe02 02040200", 512),
    ("0200 02040200", 536), ("0201 02040200", 536), ("02040200 0300", 512), ("fd00 02040200", 536),
    ("02ff 0200", 536), ("010102", 536), ("02040200 080a00", 512),
  ]

  /// The end of the list, NOP and the size itself are understood (MUST-4) wherever they begin (MUST-64),
  /// others are passed over by their length (MUST-6, MUST-68), and an impossible length neither stops
  /// the connection nor the engine (MUST-7).
  @Test(arguments: lists)
  func readsLists(list: String, size: Int) {
    let pair = ScriptedPair()
    pair.peer.send(pair.peer.header(.syn, 0), options: bytes(list))
    #expect(pair.peer.take() == ["A> SYN ACK 0 ack 1"])
    pair.peer.send([], 1, ack: 1)
    _ = pair.peer.take()
    pair.server.accept()?.send(2000)
    pair.simulation.run(for: .milliseconds(1))
    #expect(pair.peer.take().first == "A> ACK 1:\(size + 1) ack 1")
  }

  /// Options in a segment with data, with FIN or with RST, known or not, right or wrong, change
  /// nothing of what the segment does (MUST-5).
  @Test(arguments: lists)
  func anySegmentMayHaveOptions(list: String, size: Int) {
    let pair = ScriptedPair()
    let socket = pair.open()
    let payload = (0..<10).map { StreamPattern.byte($0, port: 80, toServer: true) }
    pair.peer.send(pair.peer.header(.psh, 1, ack: 1), options: bytes(list), payload: payload)
    #expect(socket.unread == 10)
    pair.peer.send(pair.peer.header(.fin, 11, ack: 1), options: bytes(list))
    #expect(socket.peerFinished)
    pair.peer.send(pair.peer.header(.rst, 12), options: bytes(list))
    #expect(socket.error == 32)
  }

  /// Whatever the engine sends, its options are a well-formed list that ends in zeros, if it ends at
  /// all (MUST-69, MUST-68), and its checksum is right (MUST-2).
  @Test(arguments: [true, false])
  func sendsGoodHeaders(isIPv4: Bool) {
    let pair = ScriptedPair(isIPv4: isIPv4)
    let socket = pair.open {
      $0.options.hasTimestamp = true
      $0.options.timestampValue = 1
      $0.options.sackPermitted = true
      $0.options.windowScale = 7
    }
    var stamp: UInt32 = 1
    func send(_ sequence: Int, _ count: Int, ack: Int) {
      stamp += 1
      pair.peer.send([], sequence, count: count, ack: ack) {
        $0.options.hasTimestamp = true
        $0.options.timestampValue = stamp
      }
    }
    for length in [1, 2, 3, 1447, 1448] { socket.send(length) }
    pair.simulation.run(for: .milliseconds(1))
    for sequence in [5001, 3001, 1001, 1] { send(sequence, 999, ack: 1) }
    pair.server.connect(to: pair.simulation.b.address, port: 2000, localPort: 40_000)
    ScriptedPeer(pair.simulation, port: 9, to: 9).send(.syn, 0)
    socket.close(reset: true)
    pair.simulation.run(for: .seconds(1))
    #expect(Set(pair.frames.map { $0.flags.rawValue & 6 }) == [0, 2, 4])
    #expect(pair.frames.contains { $0.optionKinds?.contains(5) == true })
    for segment in pair.frames {
      #expect(segment.hasRightChecksums && segment.optionKinds != nil, "\(segment.bytes)")
    }
  }

  /// A segment with a wrong checksum is dropped in silence, and counted (MUST-3).
  @Test(arguments: [true, false])
  func dropsWrongChecksums(isIPv4: Bool) {
    let pair = ScriptedPair(isIPv4: isIPv4)
    let socket = pair.open()
    let payload = (0..<11).map { StreamPattern.byte($0, port: 80, toServer: true) }
    let frame = pair.peer.header(.psh, 1, ack: 1).frame(payload)
    let tcp = isIPv4 ? 34 : 54
    // The ports would make it another flow's.
    for index in tcp + 4..<frame.count {
      var damaged = frame
      damaged[index] ^= 1
      pair.peer.send(damaged)
    }
    #expect(pair.peer.take() == [] && socket.unread == 0)
    #expect(pair.drops(.tcpChecksum) == UInt64(frame.count - tcp - 4))
    pair.peer.send(frame)
    #expect(socket.read() == 11 && socket.firstWrongByte == nil)
  }
}
