import Testing

@testable import FSStack

/// FIN in all its orders, RST at the end, TIME-WAIT.
@Suite struct CloseTests {
  /// One side finishes, the other still sends.
  @Test func halfClose() {
    let pair = Pair()
    let (server, client) = pair.connect()
    client.send(100)
    client.shutdown()
    #expect(pair.trace(for: .microseconds(250)) == ["B> FIN PSH ACK 1:101 ack 1"])
    server.read()
    #expect(server.peerFinished && server.bytesReceived == 100)
    server.send(2000)
    #expect(
      pair.trace(for: .milliseconds(100)) == [
        "A> ACK 1:1449 ack 102", "A> PSH ACK 1449:2001 ack 102", "B> ACK 102 ack 2001",
      ])
    client.read()
    server.close()
    client.close()
    #expect(pair.trace() == ["A> FIN ACK 2001 ack 102", "B> ACK 102 ack 2002"])
    #expect(client.bytesReceived == 2000 && client.firstWrongByte == nil)
    #expect(pair.simulation.leftovers() == [])
  }

  /// The usual short exchange: three segments from the server, one of them with data and FIN.
  @Test func shortResponse() {
    let pair = Pair()
    defer { pair.simulation.end() }
    let (server, client) = pair.connect()
    client.send(100)
    pair.server.onWake = {
      guard server.read() > 0 else { return }
      server.send(500)
      server.close()
    }
    pair.client.onWake = {
      client.read()
      if client.peerFinished { client.close() }
    }
    #expect(
      pair.trace() == [
        "B> PSH ACK 1:101 ack 1", "A> FIN PSH ACK 1:501 ack 101", "B> FIN ACK 101 ack 502",
        "A> ACK 502 ack 102",
      ])
    #expect(pair.simulation.leftovers() == [])
  }

  /// A process whose last act is write, close and exit: the bytes go out, even if the engine hears of
  /// its end first.
  @Test(arguments: [Engine.ApplicationEnd.exit, .killed, .expelled])
  func lastWords(_ end: Engine.ApplicationEnd) {
    let pair = Pair()
    let (server, client) = pair.connect()
    server.send(100)
    server.close()
    let (channel, now) = (pair.server.channel, pair.simulation.now)
    pair.simulation.a.engines[0].control { $0.detachChannel(channel, end, now: now) }
    pair.simulation.run(for: .milliseconds(5))
    #expect(client.read() == 100 && client.peerFinished && client.firstWrongByte == nil)
    client.close()
    pair.simulation.run(for: .milliseconds(5))
    #expect(pair.server.isReleased)
  }

  @Test func simultaneousClose() {
    let pair = Pair()
    let (server, client) = pair.connect()
    server.close()
    client.close()
    #expect(
      pair.trace() == [
        "A> FIN ACK 1 ack 1", "B> FIN ACK 1 ack 1", "A> ACK 2 ack 2", "B> ACK 2 ack 2",
      ])
    #expect(pair.simulation.leftovers() == [])
    for host in pair.simulation.hosts {
      #expect(host.engines[0].engine.statistics().connections[.timeWait] == 1)
    }
  }

  /// A lost FIN is sent again, a lost acknowledgement of a FIN is asked for again.
  @Test func lostFINs() {
    for lost in ["B> FIN ACK 1 ack 1", "A> ACK 1 ack 2", "A> FIN ACK 1 ack 2", "B> ACK 2 ack 2"] {
      let pair = Pair()
      defer { pair.simulation.end() }
      let (server, client) = pair.connect()
      var isLost = false
      pair.simulation.loses = { sender, segment in
        defer { isLost = isLost || pair.simulation.trace.wouldWrite(segment, sender) == lost }
        return !isLost && pair.simulation.trace.wouldWrite(segment, sender) == lost
      }
      client.close()
      pair.simulation.run(for: .milliseconds(100))
      server.close()
      pair.simulation.run(for: .seconds(3))
      #expect(isLost && pair.simulation.leftovers() == [], "\(lost)\(pair.simulation.trace)")
    }
  }

  /// Closing with bytes unread resets: the peer learns that they are lost (RFC 9293 SHLD-3).
  @Test func closeWithUnreadBytes() {
    let pair = Pair()
    let (server, client) = pair.connect()
    client.send(10)
    pair.simulation.run(for: .microseconds(300))
    server.close()
    #expect(pair.trace() == ["B> PSH ACK 1:11 ack 1", "A> RST ACK 1 ack 11"])
    #expect(client.error == 104)
    client.close()
    pair.simulation.run(for: .milliseconds(1))
    #expect(pair.simulation.leftovers() == [])
  }

  /// Data for a connection that nobody will read any more is answered with RST.
  @Test func dataAfterClose() {
    let pair = Pair()
    let (server, client) = pair.connect()
    server.close()
    _ = pair.trace()
    client.send(10)
    #expect(pair.trace() == ["B> PSH ACK 1:11 ack 2", "A> RST 2"])
    // RST in CLOSE-WAIT is EPIPE.
    #expect(client.error == 32)
    client.close()
    pair.simulation.run(for: .milliseconds(1))
    #expect(pair.simulation.leftovers() == [])
  }

  /// SO_LINGER with zero timeout.
  @Test func abort() {
    let pair = Pair()
    let (server, client) = pair.connect()
    client.send(10)
    client.close(reset: true)
    #expect(pair.trace() == ["B> RST ACK 1 ack 1"])
    #expect(server.error == 104)
    server.close()
    pair.simulation.run(for: .milliseconds(1))
    #expect(pair.simulation.leftovers() == [])
  }

  /// A peer that vanishes after our close: FIN-WAIT-1 gives up after eight retransmissions,
  /// FIN-WAIT-2 after 60 seconds.
  @Test(arguments: [true, false])
  func peerVanishes(beforeAcknowledgement: Bool) {
    let pair = ScriptedPair()
    let socket = pair.open()
    socket.close()
    pair.simulation.run(for: .milliseconds(1))
    if !beforeAcknowledgement { pair.peer.send([], 1, ack: 2) }
    let states = pair.simulation.a.engines[0].engine.statistics().connections
    #expect(states[beforeAcknowledgement ? .finWait1 : .finWait2] == 1)
    pair.simulation.run(for: .seconds(beforeAcknowledgement ? 600 : 61))
    #expect(pair.simulation.leftovers() == [])
    let lines = pair.peer.take()
    #expect(lines.count { $0 == "A> FIN ACK 1 ack 1" } == (beforeAcknowledgement ? 9 : 1))
  }

  // MARK: TIME-WAIT

  /// The connection through to TIME-WAIT at the engine, which closes first.
  private func timeWait(timestamps: Bool) -> ScriptedPair {
    let pair = ScriptedPair()
    pair.peer.send(.syn, 0) {
      $0.options.hasTimestamp = timestamps
      $0.options.timestampValue = 1000
    }
    pair.peer.send([], 1, ack: 1) {
      $0.options.hasTimestamp = timestamps
      $0.options.timestampValue = 1000
    }
    pair.server.accept()?.close()
    pair.simulation.run(for: .milliseconds(1))
    pair.peer.send(.fin, 1, ack: 2) {
      $0.options.hasTimestamp = timestamps
      $0.options.timestampValue = 1001
    }
    #expect(pair.peer.take().last == "A> ACK 2 ack 2")
    return pair
  }

  /// Old segments are acknowledged, RST and pure acknowledgements are not answered (RFC 1337).
  @Test func timeWaitAnswers() {
    let pair = timeWait(timestamps: false)
    pair.peer.send(.fin, 1, ack: 2)
    #expect(pair.peer.take() == ["A> ACK 2 ack 2"])
    pair.peer.send([], 2, ack: 2)
    pair.peer.send(.rst, 2)
    #expect(pair.peer.take() == [])
    #expect(pair.simulation.a.engines[0].engine.statistics().connections[.timeWait] == 1)
    pair.peer.send(.syn, 0)
    #expect(pair.peer.take() == ["A> ACK 2 ack 2"])
    // The FIN has started the wait anew.
    pair.simulation.run(for: .seconds(59))
    #expect(pair.simulation.a.engines[0].engine.statistics().connections[.timeWait] == 1)
    pair.simulation.run(for: .seconds(2))
    #expect(pair.simulation.a.engines[0].engine.statistics().connections[.timeWait] == 0)
  }

  /// A SYN that is later, by number or timestamp, opens the flow anew (RFC 9293 MAY-2, RFC 6191).
  @Test func timeWaitReuse() {
    let cases: [(sequence: Int, timestamp: UInt32?, reuses: Bool)] = [
      (3, nil, true), (100_000, nil, true), (2, nil, false), (-1, nil, false),
      (-5000, 1002, true), (100_000, 1000, false), (3, 1001, true), (-3, 1001, false),
    ]
    for (sequence, timestamp, reuses) in cases {
      let pair = timeWait(timestamps: timestamp != nil)
      pair.peer.send(.syn, sequence) {
        $0.options.hasTimestamp = timestamp != nil
        $0.options.timestampValue = timestamp ?? 0
      }
      let answer = pair.peer.take()
      // The new SYN is where the numbers of the trace now begin.
      #expect(answer.first?.hasPrefix("A> SYN ACK 0 ack 1") == reuses, "\(sequence) \(answer)")
      let counters = pair.simulation.a.engines[0].engine.statistics().counters
      #expect(counters.timeWaitReused == (reuses ? 1 : 0))
    }
  }
}
