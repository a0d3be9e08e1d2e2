import Testing

@testable import FSStack

/// SYN cookies (RFC 4987 section 3.6): what happens when the SYN cache is full.
@Suite struct CookieTests {
  /// A listener whose SYN cache is full.
  private func flooded(backlog: Int = 4, by count: Int = 4) -> ScriptedPair {
    let pair = ScriptedPair(backlog: backlog)
    for index in 0..<count {
      ScriptedPeer(pair.simulation, port: 10_000 + UInt16(index)).send(.syn, 0)
    }
    _ = pair.peer.take()
    return pair
  }

  private func counters(_ pair: ScriptedPair) -> EngineCounters {
    pair.simulation.a.engines[0].engine.statistics().counters
  }

  /// A SYN with every option; `timestamps` decides whether they can be carried.
  private func synchronize(_ pair: ScriptedPair, timestamps: Bool) -> Segment {
    pair.peer.send([.syn, .ece, .cwr], 0) {
      $0.options.maximumSegmentSize = 1300
      $0.options.windowScale = 3
      $0.options.sackPermitted = true
      $0.options.hasTimestamp = timestamps
      $0.options.timestampValue = 77
    }
    return pair.simulation.trace.entries.last {
      $0.segment.destinationPort == pair.peer.port
    }?.segment ?? Segment()
  }

  /// The flood costs no more memory than the backlog, and a real peer gets its connection, with the
  /// options that it asked for and data in the third segment.
  @Test func floodDoesNotKeepPeersOut() {
    let pair = flooded(backlog: 16, by: 2000)
    let engine = pair.simulation.a.engines[0]
    let connections = engine.engine.connections
    #expect(engine.engine.halfOpen.records.watermark == 16 && connections.watermark == 0)
    #expect(counters(pair).cookiesSent == 1984)
    let answer = synchronize(pair, timestamps: true)
    #expect(answer.options.windowScale == 5 && answer.options.sackPermitted)
    #expect(answer.options.timestampEcho == 77 && answer.flags == [.syn, .ack, .ece])
    pair.peer.window = 100
    pair.simulation.run(for: .milliseconds(900))
    pair.peer.send(.psh, 1, count: 20, ack: 1) {
      $0.options.hasTimestamp = true
      $0.options.timestampValue = 80
      $0.options.timestampEcho = answer.options.timestampValue
    }
    #expect(counters(pair).cookiesReceived == 1 && counters(pair).cookiesFailed == 0)
    let socket = pair.server.accept()
    #expect(socket?.unread == 20)
    _ = pair.peer.take()
    // The window of 100 is shifted by 3.
    socket?.send(5000)
    pair.simulation.run(for: .milliseconds(1))
    #expect(pair.peer.take() == ["A> ACK 1:801 ack 21 ect0"])
    let connection = connections[ConnectionID(raw: 0)]
    #expect(connection.maximumSegmentSize == 1300)
    #expect(connection.sendScale == 3 && connection.sendWindow == 800)
    #expect(connection.flags.contains(.selectiveAcknowledgements))
    #expect(connection.recentTimestamp == 80 && connection.ecn.contains(.negotiated))
  }

  /// Without timestamps nothing is offered that would be forgotten.
  @Test func withoutTimestamps() {
    let pair = flooded()
    let answer = synchronize(pair, timestamps: false)
    #expect(answer.options.windowScale == 255 && !answer.options.sackPermitted)
    #expect(!answer.options.hasTimestamp && answer.options.maximumSegmentSize == 1460)
    pair.peer.send([], 1, ack: 1)
    let connections = pair.simulation.a.engines[0].engine.connections
    let connection = connections[ConnectionID(raw: 0)]
    #expect(connection.state == .established && connection.maximumSegmentSize == 1300)
    #expect(connection.sendScale == 0 && connection.receiveScale == 0)
    #expect(!connection.flags.contains(.selectiveAcknowledgements))
    #expect(!connection.flags.contains(.timestamps) && !connection.ecn.contains(.negotiated))
  }

  /// A guess is answered with RST and counted; where no cookie was sent none is looked for.
  @Test func guesses() {
    let quiet = ScriptedPair()
    quiet.peer.send([], 1, ack: 1)
    #expect(quiet.peer.take() == ["A> RST 1"] && counters(quiet).cookiesFailed == 0)

    let pair = flooded(by: 5)
    for ack in [0, 2, 1000, -1_000_000] { pair.peer.send([], 1, ack: ack) }
    #expect(counters(pair).cookiesFailed == 4 && counters(pair).cookiesReceived == 0)
    #expect(pair.peer.take().allSatisfy { $0.hasPrefix("A> RST ") })
    #expect(pair.server.accepted.isEmpty)
  }

  /// The peer's own sequence number must fit, too; a RST or SYN with a good cookie opens nothing.
  @Test func goodCookieInTheWrongPlace() {
    let pair = flooded()
    _ = synchronize(pair, timestamps: false)
    pair.simulation.trace.keepsNumbers = true
    pair.peer.send([], 50, ack: 1)
    pair.peer.send(.rst, 1, ack: 1)
    pair.peer.send(.syn, 0, ack: 1)
    #expect(pair.server.accepted.isEmpty && counters(pair).cookiesReceived == 0)
    pair.peer.send([], 1, ack: 1)
    #expect(pair.server.accepted.count == 1)
  }

  /// A connection by cookie is lost here, and its peer does not know: what it still sends is no third
  /// acknowledgement, though its numbers may have moved on by nearly the same (found by the swarm).
  @Test func middleOfALostConnection() {
    for moved in 0..<40 {
      let pair = flooded()
      _ = synchronize(pair, timestamps: false)
      pair.simulation.trace.keepsNumbers = true
      for difference in -8...8 where moved + difference > 0 {
        pair.peer.send([], 1 + moved, ack: 1 + moved + difference)
      }
      #expect(pair.server.accepted.isEmpty && counters(pair).cookiesReceived == 0)
    }
  }

  /// After two minutes a cookie is void, whether others are being sent or not.
  @Test(arguments: [false, true])
  func expires(_ isBusy: Bool) {
    let pair = flooded()
    _ = synchronize(pair, timestamps: false)
    _ = pair.peer.take()
    pair.simulation.trace.keepsNumbers = true
    pair.simulation.run(for: .seconds(150))
    _ = pair.peer.take()
    if isBusy {
      for port: UInt16 in 20_000..<20_005 {
        ScriptedPeer(pair.simulation, port: port).send(.syn, 0)
      }
      _ = pair.peer.take()
    }
    pair.peer.send([], 1, ack: 1)
    #expect(pair.peer.take() == ["A> RST 1"])
    #expect(counters(pair).cookiesFailed == (isBusy ? 1 : 0))
  }

  /// A retransmitted SYN gets another cookie; the acknowledgement of either is good.
  @Test func twoCookies() {
    let pair = flooded()
    let first = synchronize(pair, timestamps: false)
    pair.simulation.run(for: .seconds(61))
    for index: UInt16 in 0..<5 { ScriptedPeer(pair.simulation, port: 20_000 + index).send(.syn, 0) }
    pair.simulation.trace.keepsNumbers = true
    let second = synchronize(pair, timestamps: false)
    #expect(second.sequence != first.sequence)
    pair.peer.send([], 1, ack: 1)
    #expect(pair.server.accepted.count == 1)
  }

  /// The real thing on both sides: with the cache full a client connects, and bytes flow.
  @Test(arguments: [true, false])
  func clientConnects(isIPv4: Bool) {
    let pair = Pair(isIPv4: isIPv4, backlog: 1)
    // A SYN whose answer is lost fills the cache.
    pair.simulation.loses = { sender, segment in sender == "A" && segment.destinationPort == 9999 }
    defer { pair.simulation.end() }
    var header = OutgoingHeader()
    header.sourceMAC = pair.simulation.b.macAddress
    header.destinationMAC = pair.simulation.a.macAddress
    header.source = pair.simulation.b.address
    header.destination = pair.simulation.a.address
    header.sourcePort = 9999
    header.destinationPort = 80
    header.flags = .syn
    pair.simulation.send(header.frame(), from: 1)
    pair.simulation.run(for: .milliseconds(1))
    let client = pair.client.connect(to: pair.simulation.a.address, port: 80)
    pair.simulation.run(for: .milliseconds(5))
    let server = pair.server.accept()
    #expect(client.isConnected && server != nil)
    client.send(10_000)
    pair.simulation.run(for: .milliseconds(100))
    #expect(server?.read() == 10_000 && server?.firstWrongByte == nil)
    let counters = pair.simulation.a.engines[0].engine.statistics().counters
    #expect(counters.cookiesSent == 1 && counters.cookiesReceived == 1)
  }
}
