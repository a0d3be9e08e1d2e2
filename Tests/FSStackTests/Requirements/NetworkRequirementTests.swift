import Testing

@testable import FSStack

/// RFC 9293 Appendix B, "IP Options", "Receiving ICMP Messages from IP" and "TCP/ALP Interface
/// Services".
@Suite struct NetworkRequirementTests {
  // MARK: IP options

  /// IP options that TCP does not understand are ignored (MUST-50): router alert, timestamp, record
  /// route, and unknown ones.
  @Test(arguments: [
    "94040000", "4408050100000000", "07070400000000 00", "01010101", "9e04ffff",
  ])
  func ignoresIPOptions(options: String) {
    let pair = ScriptedPair()
    let socket = pair.open()
    let payload = (0..<10).map { StreamPattern.byte($0, port: 80, toServer: true) }
    var frame = pair.peer.header(.psh, 1, ack: 1).frame(payload)
    let list = bytes(options)
    frame.insert(contentsOf: list, at: 34)
    frame[14] = UInt8(0x45 + list.count / 4)
    pair.peer.send(resized: frame)
    #expect(socket.read() == 10 && socket.firstWrongByte == nil)
  }

  // MARK: ICMP

  /// Errors that say nothing for certain do not end a connection (MUST-56): destination unreachable
  /// with codes 0, 1 and 5 (MUST-56 Unreachable), and the later ones of RFC 1812; time exceeded (MUST-56
  /// TimeExceeded); parameter problem (MUST-56 ParameterProblem). They find their connection (MUST-54),
  /// open or being opened, and the data goes through.
  @Test(
    arguments: [
      (3, 0), (3, 1), (3, 5), (3, 6), (3, 9), (3, 10), (3, 11), (3, 12), (3, 13), (11, 0), (11, 1),
      (12, 0), (12, 1),
    ] as [(UInt8, UInt8)])
  func softErrors(type: UInt8, code: UInt8) {
    let pair = ScriptedPair()
    let socket = pair.open()
    socket.send(100)
    pair.simulation.run(for: .milliseconds(1))
    pair.peer.sendError(type: type, code: code, quoting: 1)
    #expect(socket.error == nil)
    #expect(pair.drops(.icmpNoFlow) + pair.drops(.icmpMalformed) == 0)
    pair.peer.send([], 1, ack: 101)
    pair.server.run()
    #expect(socket.isDrained && socket.error == nil)
  }

  /// Errors that are certain (codes 2 to 4) end a connection that is being opened (SHLD-26); one that
  /// is open they do not, as in Linux: an attacker could send them (RFC 5927 section 5).
  @Test(arguments: [(2, 0), (3, 111)] as [(UInt8, UInt16)])
  func hardErrors(code: UInt8, error: UInt16) {
    let simulation = Simulation(engines: (1, 0))
    let application = TestApplication(on: simulation.a.engines[0])
    let socket = application.connect(to: simulation.b.address, port: 1024, localPort: 40_000)
    simulation.run(for: .milliseconds(1))
    let peer = ScriptedPeer(simulation, to: 40_000)
    // Only one that quotes what was sent (RFC 5927 section 4).
    peer.sendError(type: 3, code: code, quoting: 1000)
    #expect(socket.error == nil)
    peer.sendError(type: 3, code: code, quoting: 0)
    #expect(socket.error != nil && (error == 0 || socket.error == error))
    let pair = ScriptedPair()
    let open = pair.open()
    open.send(100)
    pair.simulation.run(for: .milliseconds(1))
    pair.peer.sendError(type: 3, code: code, quoting: 1)
    #expect(open.error == nil)
  }

  /// Source quench is discarded in silence (MUST-55): the connection sends as before.
  @Test func sourceQuench() {
    let pair = ScriptedPair()
    let socket = pair.open()
    socket.send(14_600)
    pair.simulation.run(for: .milliseconds(1))
    let window = pair.simulation.a.engines[0].engine.connections[ConnectionID(raw: 0)].congestion
      .window
    pair.simulation.trace.clear()
    pair.peer.sendError(type: 4, code: 0, quoting: 1)
    #expect(pair.peer.take() == [] && socket.error == nil)
    let after = pair.simulation.a.engines[0].engine.connections[ConnectionID(raw: 0)].congestion
      .window
    #expect(after == window)
  }

  // MARK: Interface

  /// Errors reach the application with their number (MUST-47): refused, reset, timed out, no route.
  @Test func errorsAreReported() {
    let pair = ScriptedPair()
    let refused = pair.server.connect(to: pair.simulation.b.address, port: 1024, localPort: 40_000)
    pair.simulation.run(for: .milliseconds(1))
    ScriptedPeer(pair.simulation, to: 40_000).send(.rst, 0, ack: 1)
    let reset = pair.open()
    pair.peer.send(.rst, 1)
    let timedOut = pair.server.connect(to: pair.simulation.b.address, port: 1024, localPort: 40_001)
    let unreachable = pair.server.connect(to: IPAddress(v4: 192, 0, 2, 1), port: 80)
    pair.simulation.run(for: .seconds(200))
    #expect(refused.error == 111 && reset.error == 104)
    #expect(timedOut.error == 110 && unreachable.error == 113)
  }

  /// The application sets the differentiated services field (MUST-48) and may change it (SHLD-21); it
  /// goes into every segment unchanged but for the ECN bits (SHLD-22). So does the hop limit (MUST-49).
  @Test(arguments: [true, false])
  func fieldsOfIP(isIPv4: Bool) {
    let pair = ScriptedPair(isIPv4: isIPv4)
    let socket = pair.open()
    let names = isIPv4 ? (level: 0, class: 1, limit: 2) : (level: 41, class: 67, limit: 16)
    for (field, limit) in [(0xb8, 5), (0x20, 255), (0, 1)] as [(Int32, Int32)] {
      let before = pair.frames.count
      socket.setOption(level: names.level, name: names.class, field)
      socket.setOption(level: names.level, name: names.limit, limit)
      socket.send(10)
      pair.simulation.run(for: .milliseconds(1))
      pair.peer.send([], 1 + socket.bytesReceived, ack: 1 + socket.bytesSent)
      // A retransmission and a pure acknowledgement, too.
      socket.send(10)
      pair.simulation.run(for: .seconds(1))
      pair.peer.send([], 1 + socket.bytesReceived, count: 10, ack: 1 + socket.bytesSent)
      pair.simulation.run(for: .milliseconds(100))
      socket.read()
      let segments = pair.frames.dropFirst(before)
      #expect(segments.count >= 4)
      for segment in segments {
        #expect(segment.trafficClass & 0xfc == UInt8(field) && segment.hopLimit == UInt8(limit))
      }
    }
  }

  /// RFC 5961: a segment whose acknowledgement is too old or of what was never sent delivers nothing
  /// and is challenged (MAY-12).
  @Test(arguments: [2, 100_000, -70_000, 1 << 31])
  func dataInjection(acknowledgement: Int) {
    let pair = ScriptedPair()
    let socket = pair.open()
    pair.peer.send(.psh, 1, count: 10, ack: acknowledgement)
    #expect(pair.peer.take() == ["A> ACK 1 ack 1"])
    #expect(socket.unread == 0 && pair.drops(.ackUnacceptable) == 1)
  }
}
