import Testing

@testable import FSStack

/// Losses: timers, fast retransmit, recovery.
@Suite struct RetransmissionTests {
  /// The timeout doubles from 200 ms and a round trip (Linux's minimum) to 120 s, fifteen times, then
  /// ETIMEDOUT (RFC 6298 section 5, RFC 9293 section 3.8.3).
  @Test func backOff() {
    let pair = ScriptedPair()
    let socket = pair.open()
    socket.send(10)
    #expect(pair.simulation.run(within: .seconds(2000)) { socket.error != nil })
    let times = pair.simulation.trace.entries.filter { $0.line == "A> PSH ACK 1:11 ack 1" }
      .map { ($0.time - pair.simulation.start).nanoseconds / 1_000_000 }
    #expect(times.count == 16)
    for (index, (first, second)) in zip(times, times.dropFirst()).enumerated() {
      let expected = min(UInt64(200) << UInt64(index), 120_000)
      #expect((expected...expected + expected / 100 + 2).contains(second - first), "\(times)")
    }
    #expect(socket.error == 110)
    socket.close()
    pair.simulation.run(for: .milliseconds(1))
    #expect(pair.simulation.leftovers() == [])
  }

  /// TCP_USER_TIMEOUT ends it earlier.
  @Test func userTimeout() {
    let pair = ScriptedPair()
    let socket = pair.open()
    socket.setOption(level: 6, name: 18, 3000)
    socket.send(10)
    let begin = pair.simulation.milliseconds
    #expect(pair.simulation.run(within: .seconds(2000)) { socket.error != nil })
    #expect((3000.0...6500).contains(pair.simulation.milliseconds - begin))
    #expect(socket.error == 110)
  }

  /// An acknowledgement of what was sent again measures nothing, and leaves the back-off as it is; one
  /// of what was sent once ends it (Karn's algorithm, RFC 6298 section 5, MUST-18; so does Linux).
  @Test func acknowledgementEndsBackOff() {
    let pair = ScriptedPair()
    let socket = pair.open()
    socket.send(10)
    pair.simulation.run(for: .milliseconds(1500))
    #expect(pair.peer.take().count == 4)
    pair.peer.send([], 1, ack: 11)
    socket.send(10)
    pair.simulation.run(for: .milliseconds(230))
    #expect(pair.peer.take() == ["A> PSH ACK 11:21 ack 1"])
    pair.peer.send([], 1, ack: 21)
    socket.send(10)
    pair.simulation.run(for: .milliseconds(700))
    #expect(pair.peer.take() == ["A> PSH ACK 21:31 ack 1", "A> PSH ACK 21:31 ack 1"])
  }

  /// The first two duplicate acknowledgements let a new segment out each (RFC 3042), the third sends the
  /// missing one at once; a partial acknowledgement the next (RFC 5681, RFC 6582).
  @Test func fastRetransmit() {
    let pair = ScriptedPair()
    let socket = pair.open()
    socket.send(40_000)
    pair.simulation.run(for: .milliseconds(1))
    // The initial window is ten segments.
    #expect(pair.peer.take().count == 10)
    pair.peer.send([], 1, ack: 1461)
    #expect(pair.peer.take() == ["A> ACK 14601:16061 ack 1", "A> ACK 16061:17521 ack 1"])
    for _ in 0..<2 { pair.peer.send([], 1, ack: 1461) }
    #expect(pair.peer.take() == ["A> ACK 17521:18981 ack 1", "A> ACK 18981:20441 ack 1"])
    pair.peer.send([], 1, ack: 1461)
    #expect(pair.peer.take() == ["A> ACK 1461:2921 ack 1"])
    // What is in flight goes down to seven tenths in proportion (RFC 6937).
    for _ in 0..<8 { pair.peer.send([], 1, ack: 1461) }
    #expect(
      pair.peer.take() == [
        "A> ACK 20441:21901 ack 1", "A> ACK 21901:23361 ack 1", "A> ACK 23361:24821 ack 1",
        "A> ACK 24821:26281 ack 1", "A> ACK 26281:27741 ack 1",
      ])
    pair.peer.send([], 1, ack: 4381)
    #expect(pair.peer.take().first == "A> ACK 4381:5841 ack 1")
    let counters = pair.simulation.a.engines[0].engine.statistics().counters
    #expect(counters.fastRetransmits == 1 && counters.timeouts == 0)
  }

  /// A window update, data or FIN in between is no duplicate.
  @Test func notDuplicates() {
    let pair = ScriptedPair()
    let socket = pair.open()
    socket.send(14_600)
    pair.simulation.run(for: .milliseconds(1))
    _ = pair.peer.take()
    for index in 0..<6 {
      pair.peer.window = UInt16(60_000 + index)
      pair.peer.send([], 1, ack: 1)
    }
    pair.peer.send([], 1, count: 10, ack: 1)
    pair.peer.send([], 11, count: 10, ack: 1)
    pair.peer.send([], 21, count: 10, ack: 1)
    #expect(!pair.peer.take().contains { $0.hasPrefix("A> ACK 1:") })
  }

  /// After a timeout: one segment, then two, and what the peer has already is not sent again.
  @Test func slowStartAfterTimeout() {
    let pair = ScriptedPair()
    let socket = pair.open()
    socket.send(14_600)
    pair.simulation.run(for: .milliseconds(1))
    #expect(pair.peer.take().count == 10)
    pair.simulation.run(for: .milliseconds(210))
    #expect(pair.peer.take() == ["A> ACK 1:1461 ack 1"])
    pair.peer.send([], 1, ack: 1461)
    #expect(pair.peer.take() == ["A> ACK 1461:2921 ack 1", "A> ACK 2921:4381 ack 1"])
    // The peer had everything else.
    pair.peer.send([], 1, ack: 14_601)
    pair.simulation.run(for: .seconds(5))
    pair.server.run()
    #expect(pair.peer.take() == [] && socket.isDrained)
  }

  /// Losses on every path of a long transfer, both directions, checked byte by byte: the time it
  /// takes is the assertion.
  @Test func lossyTransferIsNotSlow() {
    var conditions = LinkConditions()
    conditions.latency = .milliseconds(5)
    conditions.loss = 0.01
    let pair = Pair(conditions)
    defer { pair.simulation.end() }
    let client = pair.client.connect(to: pair.simulation.a.address, port: 80)
    pair.simulation.run(within: .seconds(20)) {
      client.isConnected && !pair.server.accepted.isEmpty
    }
    guard let server = pair.server.accept() else { return }
    let total = 300_000
    pair.client.onWake = {
      if client.bytesSent < total { client.send(total - client.bytesSent) }
      pair.client.wantSpace()
    }
    pair.server.onWake = { server.read() }
    pair.client.run()
    #expect(pair.simulation.run(within: .seconds(30)) { server.bytesReceived == total })
    #expect(server.firstWrongByte == nil)
    #expect(pair.simulation.milliseconds < 8000)
  }

  /// With its queue of segments full, the engine still takes the one that fills the gap: otherwise
  /// the connection would stand still for ever.
  @Test func theMissingSegmentNeedsNoPlace() {
    // One buffer for the connection.
    let pair = ScriptedPair(options: .init(maximumReassembly: 4))
    let socket = pair.open()
    pair.peer.send([], 3001, count: 1000, ack: 1)
    #expect(pair.drops(.reassemblyFull) == 0)
    pair.peer.send([], 6001, count: 1000, ack: 1)
    #expect(pair.drops(.reassemblyFull) == 1)
    pair.peer.send([], 1, count: 1460, ack: 1)
    pair.peer.send([], 1461, count: 1460, ack: 1)
    pair.peer.send([], 2921, count: 80, ack: 1)
    #expect(pair.peer.take().last == "A> ACK 1 ack 4001")
    socket.read()
    #expect(socket.bytesReceived == 4000 && socket.firstWrongByte == nil)
  }

  /// Who only receives learns of another next hop by what the peer sends again: the acknowledgements went to
  /// one that is dead. Of a path by another link it takes nothing.
  @Test(arguments: [0, 1])
  func nextHopOfReceiver(interface: Int) {
    let pair = ScriptedPair()
    let socket = pair.open()
    let router = MACAddress(2, 0, 0, 0, 7, 7)
    let engine = pair.simulation.a.engines[0]
    pair.peer.send(.psh, 1, count: 10, ack: 1)
    let old = engine.engine.connections[ConnectionID(raw: 0)].nextHop
    engine.control {
      $0.setPath(
        PathConfiguration(
          destination: pair.simulation.b.address, interface: interface,
          source: pair.simulation.a.address, nextHop: router, mtu: 1500))
    }
    #expect(engine.engine.connections[ConnectionID(raw: 0)].nextHop == old)
    pair.peer.send(.psh, 1, count: 10, ack: 1) { $0.sourceMAC = router }
    #expect(
      engine.engine.connections[ConnectionID(raw: 0)].nextHop == (interface == 0 ? router : old))
    #expect(socket.unread == 10)
  }

  /// The MTU of an interface grows beyond what frames hold: segments do not.
  @Test func mtuBeyondFrames() {
    let pair = ScriptedPair()
    let address = pair.simulation.a.macAddress
    pair.simulation.a.engines[0].control {
      $0.updateInterface(0, macAddress: address, mtu: 9000)
    }
    pair.peer.send(.syn, 0) { $0.options.maximumSegmentSize = 8960 }
    let offer = pair.simulation.trace.entries.last { $0.sender == "A" }
    #expect(offer?.segment.options.maximumSegmentSize == 1460)
    pair.peer.send([], 1, ack: 1)
    pair.server.accept()?.send(4000)
    pair.simulation.run(for: .milliseconds(1))
    let lengths = pair.simulation.trace.entries.filter { $0.sender == "A" }
      .map(\.segment.payloadLength)
    #expect(lengths.max() == 1460)
  }
}
