import Testing

@testable import FSStack

/// RST and other segments that should not be there, in the states of a passive connection
/// (RFC 9293 section 3.10.7, RFC 5961).
@Suite struct ResetTests {
  /// To a port without listener, and to a listener what is no SYN.
  @Test func closedAndListen() {
    let cases: [(port: UInt16, flags: TCPFlags, ack: Int?, count: Int, answer: [String])] = [
      (81, .syn, nil, 0, ["A> RST ACK 0 ack 1"]),
      (81, .syn, nil, 10, ["A> RST ACK 0 ack 11"]),
      (81, [], 500, 0, ["A> RST 500"]),
      (81, .fin, 500, 10, ["A> RST 500"]),
      (81, .rst, nil, 0, []),
      (81, .rst, 500, 0, []),
      (80, [], 500, 0, ["A> RST 500"]),
      (80, .syn, 500, 0, ["A> RST 500"]),
      (80, .rst, nil, 0, []),
    ]
    for (port, flags, ack, count, answer) in cases {
      let pair = ScriptedPair()
      let peer = ScriptedPeer(pair.simulation, to: port)
      peer.send(flags, 0, count: count, ack: ack)
      #expect(peer.take() == answer, "\(port) \(flags)")
      #expect(pair.simulation.leftovers() == [])
    }
  }

  /// In SYN-SENT: a RST counts only when it acknowledges the SYN, and so does any ACK.
  @Test func synSent() {
    let cases: [(flags: TCPFlags, ack: Int?, answer: [String], error: UInt16?)] = [
      (.rst, 1, [], 111), (.rst, 0, [], nil), (.rst, 2, [], nil), (.rst, nil, [], nil),
      ([], 0, ["A> RST 0"], nil), (.syn, 2, ["A> RST 2"], nil), ([], 1, [], nil),
      (.syn, 1, ["A> ACK 1 ack 1"], nil), (.syn, nil, ["A> SYN ACK 0 ack 1"], nil),
    ]
    for (flags, ack, answer, error) in cases {
      let simulation = Simulation(engines: (1, 0))
      let application = TestApplication(on: simulation.a.engines[0])
      let socket = application.connect(to: simulation.b.address, port: 1024, localPort: 40_000)
      simulation.run(for: .milliseconds(1))
      let peer = ScriptedPeer(simulation, to: 40_000)
      #expect(peer.take() == ["A> SYN 0"])
      peer.send(flags, 0, ack: ack)
      #expect(peer.take() == answer && socket.error == error, "\(flags) \(ack ?? -1)")
      #expect(socket.isConnected == (flags == .syn && ack == 1))
    }
  }

  /// In SYN-RECEIVED: a passive open returns to LISTEN and tells nobody.
  @Test func synReceived() {
    let cases: [(flags: TCPFlags, sequence: Int, ack: Int?, answer: [String], isAlive: Bool)] = [
      (.rst, 1, nil, [], false), (.rst, 0, nil, [], true), (.rst, 70_000, nil, [], true),
      (.syn, 0, nil, ["A> SYN ACK 0 ack 1"], true),
      ([], 1, 0, ["A> RST 0"], true), ([], 1, 2, ["A> RST 2"], true),
      ([], 1, 1, [], true), ([], 70_000, 1, ["A> ACK 1 ack 1"], true),
    ]
    for (flags, sequence, ack, answer, isAlive) in cases {
      let pair = ScriptedPair()
      pair.peer.send(.syn, 0)
      _ = pair.peer.take()
      pair.peer.send(flags, sequence, ack: ack)
      #expect(pair.peer.take() == answer, "\(flags) \(sequence)")
      let states = pair.simulation.a.engines[0].engine.statistics().connections
      let isEstablished = flags == [] && sequence == 1 && ack == 1
      #expect(states[.synReceived, default: 0] == (isAlive && !isEstablished ? 1 : 0))
      #expect((pair.server.accept() != nil) == isEstablished)
    }
  }

  /// In ESTABLISHED: only the exact number resets; what lies in the window is challenged.
  @Test func established() {
    let cases: [(flags: TCPFlags, sequence: Int, ack: Int?, answer: [String], error: UInt16?)] = [
      (.rst, 1, nil, [], 104), (.rst, 1, 1, [], 104), (.rst, 0, nil, [], nil),
      (.rst, 2, nil, ["A> ACK 1 ack 1"], nil), (.rst, 65_000, nil, ["A> ACK 1 ack 1"], nil),
      (.rst, 2_000_000, nil, [], nil),
      (.syn, 1, nil, ["A> ACK 1 ack 1"], nil), (.syn, 0, nil, ["A> ACK 1 ack 1"], nil),
      (.syn, 1, 1, ["A> ACK 1 ack 1"], nil),
      // An acknowledgement of what was never sent, and one that is too old.
      ([], 1, 2, ["A> ACK 1 ack 1"], nil), ([], 1, -100_000, ["A> ACK 1 ack 1"], nil),
      ([], 1, -10, [], nil),
      // Outside of the window.
      ([], 2_000_000, 1, ["A> ACK 1 ack 1"], nil), ([], -5, 1, ["A> ACK 1 ack 1"], nil),
    ]
    for (flags, sequence, ack, answer, error) in cases {
      let pair = ScriptedPair()
      let socket = pair.open()
      pair.peer.send(flags, sequence, ack: ack)
      let found = pair.peer.take()
      #expect(found == answer && socket.error == error, "\(flags) \(sequence) \(ack ?? -1)")
    }
  }

  /// Challenges are limited for each connection: two stacks must not answer each other for ever.
  @Test func challengesAreLimited() {
    let pair = ScriptedPair()
    _ = pair.open()
    for _ in 0..<10 { pair.peer.send(.rst, 5) }
    #expect(pair.peer.take() == ["A> ACK 1 ack 1"])
    pair.simulation.run(for: .milliseconds(500))
    pair.peer.send(.rst, 5)
    #expect(pair.peer.take() == ["A> ACK 1 ack 1"])
  }

  /// Frames that are no segment for anybody are counted and not answered.
  @Test func dropped() {
    let pair = ScriptedPair()
    var header = pair.peer.header(.syn, 0)
    header.destination = IPAddress(v4: 10, 0, 0, 99)
    pair.simulation.send(header.frame(), from: 1)
    header = pair.peer.header([.syn, .fin], 0)
    pair.simulation.send(header.frame(), from: 1)
    pair.simulation.send([UInt8](repeating: 0, count: 60), from: 1)
    header = pair.peer.header(.syn, 0)
    var frame = header.frame()
    frame[frame.count - 1] ^= 1
    pair.simulation.send(frame, from: 1)
    pair.simulation.run(for: .milliseconds(1))
    #expect(pair.peer.take() == [])
    for reason in [DropReason.destinationNotLocal, .flagsInvalid, .notIP, .tcpChecksum] {
      #expect(pair.drops(reason) == 1, "\(reason)")
    }
  }
}
