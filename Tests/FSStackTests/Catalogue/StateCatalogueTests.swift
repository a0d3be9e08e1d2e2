import Testing

@testable import FSStack

/// What confused the state machines of others (docs/bug-catalogue.md).
@Suite struct StateCatalogueTests {
  // MARK: LISTEN

  /// Flags that exclude each other or say nothing, to a listener and to a closed port: no connection,
  /// and no answer but RST where RFC 9293 section 3.10.7 wants one.
  @Test(
    arguments: [
      [.syn, .fin], [.syn, .rst], [.syn, .fin, .rst, .psh], [], [.fin, .psh, .urg], .fin, .psh,
      .urg,
      [.syn, .fin, .rst, .psh, .urg],
    ] as [TCPFlags])
  func strangeFlags(flags: TCPFlags) {
    for port: UInt16 in [80, 81] {
      let pair = ScriptedPair()
      let peer = ScriptedPeer(pair.simulation, to: port)
      peer.send(flags, 0)
      #expect(peer.take() == [] && pair.states[.synReceived, default: 0] == 0)
      #expect(pair.drops(.flagsInvalid) == 1)
    }
  }

  /// Reserved bits and ECN bits do not make a SYN another one (RFC 3360).
  @Test(
    arguments: [
      (.ece, 0), (.cwr, 0), (TCPFlags(), 0x0e), (TCPFlags(), 0x02),
    ] as [(TCPFlags, UInt8)])
  func unknownBits(flags: TCPFlags, reserved: UInt8) {
    let pair = ScriptedPair()
    var frame = pair.peer.header(flags.union(.syn), 0).frame()
    frame[46] |= reserved
    pair.peer.send(resized: frame)
    #expect(pair.peer.take().first?.hasPrefix("A> SYN ") == true)
  }

  /// Data in a SYN does not get lost: it is taken, or sent again by the peer.
  @Test func dataInSYN() {
    let pair = ScriptedPair()
    let payload = (0..<100).map { StreamPattern.byte($0, port: 80, toServer: true) }
    pair.peer.send(pair.peer.header(.syn, 0).frame(payload))
    let answer = pair.peer.take()
    #expect(answer == ["A> SYN ACK 0 ack 1"] || answer == ["A> SYN ACK 0 ack 101"])
    pair.peer.send([], 1, count: 100, ack: 1)
    let socket = pair.server.accept()
    #expect(socket?.read() == 100 && socket?.firstWrongByte == nil)
  }

  // MARK: Handshake

  /// SYNs that come again in SYN-RECEIVED, the same and with other options: one connection, whose
  /// options are the first ones'.
  @Test func repeatedSYN() {
    let pair = ScriptedPair()
    pair.peer.send(.syn, 0) { $0.options.maximumSegmentSize = 1000 }
    pair.peer.send(.syn, 0) { $0.options.maximumSegmentSize = 1000 }
    pair.peer.send(.syn, 0) {
      $0.options.maximumSegmentSize = 100
      $0.options.windowScale = 14
      $0.options.hasTimestamp = true
    }
    #expect(pair.states[.synReceived] == 1)
    pair.peer.send([], 1, ack: 1)
    pair.simulation.trace.keepsNumbers = true
    _ = pair.peer.take()
    pair.server.accept()?.send(5000)
    pair.simulation.run(for: .milliseconds(1))
    #expect(pair.peer.take().first == "A> ACK 1:1001 ack 1")
    #expect(pair.server.accept() == nil)
  }

  /// A SYN with another number in SYN-RECEIVED does not move the connection.
  @Test(arguments: [100, -100, 1_000_000])
  func otherSYN(sequence: Int) {
    let pair = ScriptedPair()
    pair.peer.send(.syn, 0)
    _ = pair.peer.take()
    pair.simulation.trace.keepsNumbers = true
    pair.peer.send(.syn, sequence)
    #expect(pair.peer.take().allSatisfy { !$0.contains("RST") })
    pair.peer.send([], 1, ack: 1)
    pair.peer.send([], 1, count: 10, ack: 1)
    #expect(pair.server.accept()?.unread == 10)
  }

  /// The last acknowledgement of the handshake is lost: data, or FIN with data, completes it.
  @Test(arguments: [TCPFlags.psh, .fin])
  func dataCompletesHandshake(flags: TCPFlags) {
    let pair = ScriptedPair()
    pair.peer.send(.syn, 0)
    pair.peer.send(flags, 1, count: 100, ack: 1)
    let socket = pair.server.accept()
    #expect(socket?.unread == 100 && socket?.peerFinished == (flags == .fin))
  }

  /// Data behind a gap before the handshake is complete.
  @Test func dataBeforeHandshakeInDisorder() {
    let pair = ScriptedPair()
    pair.peer.send(.syn, 0)
    pair.peer.send([], 101, count: 100, ack: 1)
    pair.peer.send([], 1, count: 100, ack: 1)
    let socket = pair.server.accept()
    #expect(socket?.read() == 200 && socket?.firstWrongByte == nil)
  }

  /// A SYN-ACK that comes again, as it was, with another number, or with other options, does not move
  /// an open connection: it is acknowledged with what is known.
  @Test(arguments: [0, 100, -100, 3_000_000])
  func repeatedSYNACK(sequence: Int) {
    let simulation = Simulation(engines: (1, 0))
    let application = TestApplication(on: simulation.a.engines[0])
    let socket = application.connect(to: simulation.b.address, port: 1024, localPort: 40_000)
    simulation.run(for: .milliseconds(1))
    let peer = ScriptedPeer(simulation, to: 40_000)
    peer.isServer = true
    peer.send(.syn, 0, ack: 1) { $0.options.maximumSegmentSize = 1000 }
    simulation.trace.keepsNumbers = true
    _ = peer.take()
    peer.send(.syn, sequence, ack: 1) { $0.options.maximumSegmentSize = 200 }
    #expect(peer.take() == ["A> ACK 1 ack 1"])
    socket.send(3000)
    simulation.run(for: .milliseconds(1))
    #expect(peer.take().first == "A> ACK 1:1001 ack 1" && socket.error == nil)
  }

  // MARK: FIN

  /// In ESTABLISHED, a FIN without ACK is no segment at all (section 3.10.7.4, fifth step).
  @Test func finWithoutACK() {
    let pair = ScriptedPair()
    let socket = pair.open()
    pair.peer.send(.fin, 1)
    #expect(!socket.peerFinished && pair.peer.take() == [])
  }

  /// Bytes behind the FIN are nobody's, and a FIN that comes again with another number, or with bytes
  /// it had not, changes nothing.
  @Test(arguments: [
    (TCPFlags(), 12, 100), (TCPFlags(), 11, 100), (.fin, 12, 0), (.fin, 11, 100), (.fin, 1, 50),
    (.fin, 6, 0), (.fin, 500, 10),
  ])
  func afterFIN(flags: TCPFlags, sequence: Int, count: Int) {
    let pair = ScriptedPair()
    let socket = pair.open()
    pair.peer.send(.fin, 1, count: 10, ack: 1)
    #expect(socket.peerFinished)
    pair.simulation.run(for: .milliseconds(300))
    _ = pair.peer.take()
    for _ in 0..<3 { pair.peer.send(flags, sequence, count: count, ack: 1) }
    #expect(socket.error == nil && socket.unread == 10)
    #expect(pair.peer.take().allSatisfy { $0 == "A> ACK 1 ack 12" })
    #expect(socket.read() == 10)
    socket.close()
    pair.simulation.run(for: .milliseconds(1))
    #expect(pair.peer.take().last == "A> FIN ACK 1 ack 12")
    pair.peer.send([], 12, ack: 2)
    #expect(pair.simulation.leftovers() == [])
  }

  /// FINs that wait behind a gap at different places: the first in the stream is the end.
  @Test func finsBehindGap() {
    let pair = ScriptedPair()
    let socket = pair.open()
    pair.peer.send(.fin, 101, count: 100, ack: 1)
    pair.peer.send(.fin, 151, count: 150, ack: 1)
    pair.peer.send([], 301, count: 100, ack: 1)
    pair.peer.send([], 1, count: 100, ack: 1)
    #expect(socket.peerFinished && socket.read() == 200 && socket.firstWrongByte == nil)
    socket.close()
    pair.simulation.run(for: .milliseconds(1))
    #expect(pair.peer.take().last == "A> FIN ACK 1 ack 202")
  }

  // MARK: close

  /// close(2) in SYN-SENT tells nobody, and what comes then is of no connection.
  @Test func closeInSYNSent() {
    let simulation = Simulation(engines: (1, 0))
    let application = TestApplication(on: simulation.a.engines[0])
    let socket = application.connect(to: simulation.b.address, port: 1024, localPort: 40_000)
    simulation.run(for: .milliseconds(1))
    let peer = ScriptedPeer(simulation, to: 40_000)
    _ = peer.take()
    socket.close()
    simulation.run(for: .milliseconds(1))
    #expect(peer.take() == [] && simulation.leftovers() == [])
    peer.send(.syn, 0, ack: 1)
    #expect(peer.take() == ["A> RST 1"])
  }

  /// close(2) in SYN-RECEIVED of an active open: FIN follows the handshake, or RST what never was.
  @Test(arguments: [true, false])
  func closeInSYNReceived(aborts: Bool) {
    let simulation = Simulation(engines: (1, 0))
    let application = TestApplication(on: simulation.a.engines[0])
    let socket = application.connect(to: simulation.b.address, port: 1024, localPort: 40_000)
    simulation.run(for: .milliseconds(1))
    let peer = ScriptedPeer(simulation, to: 40_000)
    peer.send(.syn, 0)
    _ = peer.take()
    socket.close(reset: aborts)
    simulation.run(for: .milliseconds(1))
    peer.send([], 1, ack: 1)
    let lines = peer.take()
    #expect(
      lines.contains { aborts ? $0.contains("RST") : $0.hasPrefix("A> FIN ACK 1") }, "\(lines)")
    simulation.run(for: .seconds(700))
    #expect(simulation.leftovers() == [])
  }

  /// LAST-ACK with a peer that is gone ends after a bounded number of retransmissions.
  @Test func lastAckIsBounded() {
    let pair = ScriptedPair()
    let socket = pair.open()
    pair.peer.send(.fin, 1, ack: 1)
    socket.close()
    pair.simulation.run(for: .milliseconds(1))
    #expect(pair.states[.lastAck] == 1)
    pair.simulation.run(for: .seconds(1000))
    #expect(pair.states[.lastAck, default: 0] == 0 && pair.simulation.leftovers() == [])
  }

  /// connect(2) with the flow of a connection in TIME-WAIT, or with one that is in use.
  @Test func connectToOldFlow() {
    let pair = Pair()
    defer { pair.simulation.end() }
    func connect() -> TestSocket {
      pair.client.connect(to: pair.simulation.a.address, port: 80, localPort: 40_000)
    }
    let first = connect()
    pair.simulation.run(for: .milliseconds(5))
    let second = connect()
    pair.simulation.run(for: .milliseconds(5))
    #expect(first.isConnected && second.error == 99)
    first.close()
    pair.simulation.run(for: .milliseconds(5))
    pair.server.accept()?.close()
    pair.simulation.run(for: .milliseconds(5))
    second.close()
    let third = connect()
    pair.simulation.run(for: .seconds(5))
    #expect(third.isConnected != (third.error != nil))
    third.close()
    pair.server.accept()?.close()
    pair.simulation.run(for: .seconds(1))
  }
}
