import Testing

@testable import FSStack

@Suite struct HandshakeTests {
  @Test(arguments: [true, false])
  func opensAndCloses(isIPv4: Bool) {
    let pair = Pair(isIPv4: isIPv4)
    let client = pair.client.connect(to: pair.simulation.a.address, port: 80)
    #expect(pair.trace() == ["B> SYN 0", "A> SYN ACK 0 ack 1", "B> ACK 1 ack 1"])
    let server = pair.server.accept()
    #expect(client.isConnected && server?.isConnected == true)
    #expect(server?.endpoint.remotePort == client.endpoint.localPort)

    client.close()
    #expect(pair.trace() == ["B> FIN ACK 1 ack 1", "A> ACK 1 ack 2"])
    #expect(server?.peerFinished == true)
    server?.close()
    #expect(pair.trace() == ["A> FIN ACK 1 ack 2", "B> ACK 2 ack 2"])
    #expect(pair.simulation.leftovers() == [])
    #expect(pair.simulation.b.engines[0].engine.statistics().connections[.timeWait] == 1)
    pair.simulation.run(for: .seconds(61))
    #expect(pair.simulation.b.engines[0].engine.statistics().connections[.timeWait] == 0)
  }

  @Test(arguments: [true, false])
  func offersAndAcceptsOptions(isIPv4: Bool) {
    let pair = Pair(isIPv4: isIPv4)
    _ = pair.client.connect(to: pair.simulation.a.address, port: 80)
    pair.simulation.run(for: .milliseconds(5))
    for entry in pair.simulation.trace.entries.prefix(2) {
      let options = entry.segment.options
      #expect(options.maximumSegmentSize == (isIPv4 ? 1460 : 1440) && options.sackPermitted)
      #expect(options.hasTimestamp && options.windowScale == 5 && !options.malformed)
      #expect(entry.segment.window == 65535)
    }
    let acknowledgement = pair.simulation.trace.entries[2].segment
    #expect(acknowledgement.options.hasTimestamp && Int(acknowledgement.window) << 5 == 1 << 16)
  }

  /// A peer without options gets none, and 536 bytes at most.
  @Test func acceptsPeerWithoutOptions() {
    let pair = ScriptedPair()
    pair.peer.send(.syn, 0)
    let reply = pair.simulation.trace.entries[1].segment
    #expect(reply.options.maximumSegmentSize == 1460 && !reply.options.hasTimestamp)
    #expect(!reply.options.sackPermitted && reply.options.windowScale == 255)
    pair.peer.send([], 1, ack: 1)
    _ = pair.peer.take()
    pair.server.accept()?.send(1000)
    pair.simulation.run(for: .milliseconds(1))
    #expect(pair.peer.take() == ["A> ACK 1:537 ack 1", "A> PSH ACK 537:1001 ack 1"])
  }

  // MARK: Losses

  @Test func lostSegments() {
    let cases: [(lost: String, expected: [String])] = [
      (
        "B> SYN 0",
        ["0 B> SYN 0", "1001 B> SYN 0", "1001 A> SYN ACK 0 ack 1", "1001 B> ACK 1 ack 1"]
      ),
      (
        "A> SYN ACK 0 ack 1",
        [
          "0 B> SYN 0", "0 A> SYN ACK 0 ack 1", "1000 A> SYN ACK 0 ack 1", "1000 B> ACK 1 ack 1",
        ]
      ),
      (
        "B> ACK 1 ack 1",
        [
          "0 B> SYN 0", "0 A> SYN ACK 0 ack 1", "0 B> ACK 1 ack 1", "1000 A> SYN ACK 0 ack 1",
          "1000 B> ACK 1 ack 1",
        ]
      ),
    ]
    for (lost, expected) in cases {
      let pair = Pair()
      defer { pair.simulation.end() }
      let trace = pair.simulation.trace
      // The first time only.
      var isLost = false
      pair.simulation.loses = { sender, segment in
        let names = Trace.names(segment.flags).joined(separator: " ")
        let hit = !isLost && lost.hasPrefix("\(sender)> \(names) ")
        if hit { isLost = true }
        return hit
      }
      let client = pair.client.connect(to: pair.simulation.a.address, port: 80)
      pair.simulation.run(for: .milliseconds(1500))
      #expect(trace.timedLines == expected, "\(lost)")
      #expect(client.isConnected && pair.server.accept() != nil, "\(lost)")
    }
  }

  /// 1 s, doubled each time, six times (Linux's tcp_syn_retries), then ETIMEDOUT.
  @Test func nobodyAnswers() {
    let pair = Pair()
    pair.simulation.loses = { sender, _ in sender == "A" }
    let client = pair.client.connect(to: pair.simulation.a.address, port: 80)
    #expect(pair.simulation.run(within: .seconds(200)) { client.error != nil })
    let times = pair.simulation.trace.entries.filter { $0.sender == "B" }
      .map { Int((($0.time - pair.simulation.start).nanoseconds + 500_000_000) / 1_000_000_000) }
    #expect(times == [0, 1, 3, 7, 15, 31, 63])
    #expect(client.error == 110)
    #expect((126_500...128_000).contains(pair.simulation.milliseconds))
    client.close()
    pair.simulation.run(for: .seconds(200))
    #expect(pair.simulation.leftovers() == [])
  }

  @Test func refused() {
    let pair = Pair()
    let client = pair.client.connect(to: pair.simulation.a.address, port: 81)
    #expect(pair.trace() == ["B> SYN 0", "A> RST ACK 0 ack 1"])
    #expect(client.error == 111)
    client.close()
    pair.simulation.run(for: .milliseconds(1))
    #expect(pair.simulation.leftovers() == [])
  }

  // MARK: Paths

  @Test func noPath() {
    let pair = Pair()
    let elsewhere = IPAddress(v4: 192, 0, 2, 1)
    let client = pair.client.connect(to: elsewhere, port: 80)
    #expect(pair.trace() == [])
    #expect(client.error == 113 && pair.simulation.b.pathRequests == [elsewhere])
    client.close()
    pair.simulation.run(for: .milliseconds(1))
    #expect(pair.simulation.leftovers() == [])
  }

  /// The SYN waits for the next hop's address; without it the connect fails after three seconds.
  @Test(arguments: [true, false])
  func nextHopUnknown(becomesKnown: Bool) {
    let pair = Pair()
    var path = PathConfiguration(
      destination: pair.simulation.a.address, interface: 0, source: pair.simulation.b.address,
      nextHop: nil, mtu: 1500)
    pair.simulation.b.engines[0].control { $0.setPath(path) }
    let client = pair.client.connect(to: pair.simulation.a.address, port: 80)
    #expect(pair.trace(for: .seconds(2)) == [])
    #expect(pair.simulation.b.pathRequests.contains(pair.simulation.a.address))
    if becomesKnown {
      path.nextHop = pair.simulation.a.macAddress
      pair.simulation.b.engines[0].control { $0.setPath(path) }
    }
    pair.simulation.run(for: .seconds(2))
    #expect(client.isConnected == becomesKnown)
    #expect(client.error == (becomesKnown ? nil : 113))
  }

  // MARK: Simultaneous open

  @Test func simultaneousOpen() {
    let pair = Pair()
    let simulation = pair.simulation
    let a = pair.server.connect(
      to: simulation.b.address, port: 50002, localPort: 50001, serverPort: 50001)
    let b = pair.client.connect(to: simulation.a.address, port: 50001, localPort: 50002)
    #expect(
      pair.trace() == [
        "A> SYN 0", "B> SYN 0", "A> SYN ACK 0 ack 1", "B> SYN ACK 0 ack 1",
        // The other's SYN came twice: it is acknowledged once more.
        "A> ACK 1 ack 1", "B> ACK 1 ack 1",
      ])
    #expect(a.isConnected && b.isConnected)
    a.send(100)
    b.send(50)
    simulation.run(for: .milliseconds(100))
    a.read()
    b.read()
    #expect(a.bytesReceived == 50 && b.bytesReceived == 100)
    #expect(a.firstWrongByte == nil && b.firstWrongByte == nil)
    a.close()
    b.close()
    simulation.run(for: .seconds(1))
    #expect(simulation.leftovers() == [])
  }
}
