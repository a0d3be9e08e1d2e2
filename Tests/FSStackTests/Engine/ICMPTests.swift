import FSRing
import Testing

@testable import FSStack

/// ICMP errors: which are believed (RFC 5927), and what follows (RFC 5461, RFC 1191).
@Suite struct ICMPTests {
  /// A router's message that quotes the engine's segment at `sequence`, of a packet of `length` bytes.
  static func send(
    _ pair: ScriptedPair, type: UInt8 = 3, code: UInt8, word: UInt32 = 0, quoting sequence: Int,
    length: UInt16 = 1500, from peer: ScriptedPeer? = nil
  ) {
    let peer = peer ?? pair.peer
    var quoted = peer.header([], 0)
    swap(&quoted.source, &quoted.destination)
    swap(&quoted.sourcePort, &quoted.destinationPort)
    quoted.sequence = peer.otherInitial + UInt32(truncatingIfNeeded: sequence)
    var quote = Array(quoted.frame()[14..<42])
    quote[2] = UInt8(length >> 8)
    quote[3] = UInt8(length & 255)
    var message: [UInt8] = [type, code, 0, 0]
    message += (0..<4).map { UInt8(truncatingIfNeeded: word >> UInt32(24 - $0 * 8)) } + quote
    message.put16(referenceChecksum(message), at: 2)
    var frame = Array(peer.header([], 0).frame()[..<34])
    frame[23] = 1
    frame.put16(UInt16(20 + message.count), at: 16)
    frame.replaceSubrange(26..<30, with: [192, 0, 2, 254])
    frame.fixIPv4Checksum()
    pair.simulation.send(frame + message, from: 1)
    pair.simulation.run(for: .microseconds(500))
  }

  private func counters(_ pair: ScriptedPair) -> EngineCounters {
    pair.simulation.a.engines[0].engine.statistics().counters
  }

  /// An engine that connects to the peer.
  private func connecting() -> (ScriptedPair, ScriptedPeer, TestSocket) {
    let pair = ScriptedPair()
    let socket = pair.server.connect(
      to: pair.simulation.b.address, port: 1024, localPort: 40_000)
    pair.simulation.run(for: .milliseconds(1))
    let peer = ScriptedPeer(pair.simulation, to: 40_000)
    _ = peer.take()
    return (pair, peer, socket)
  }

  // MARK: Errors

  /// MUST-54: in SYN-SENT every error ends the attempt, as in Linux, with its own number.
  @Test func endsConnecting() {
    let cases: [(type: UInt8, code: UInt8, error: UInt16)] = [
      (3, 0, 101), (3, 1, 113), (3, 2, 92), (3, 3, 111), (3, 5, 95), (3, 13, 113), (11, 0, 113),
      (12, 0, 71),
    ]
    for (type, code, error) in cases {
      let (pair, peer, socket) = connecting()
      ICMPTests.send(pair, type: type, code: code, quoting: 0, length: 60, from: peer)
      #expect(socket.error == error, "\(type) \(code)")
      #expect(counters(pair).errorsReceived == 1)
    }
  }

  /// CVE-2004-0790: no error ends a synchronized connection (MUST-56; this deviates from SHLD-26), and
  /// one that quotes what is not in flight is for nobody. CVE-2004-0791: source quench is nothing
  /// (MUST-55).
  @Test func doesNotEndEstablished() {
    let pair = ScriptedPair()
    let socket = pair.open()
    socket.send(100)
    pair.simulation.run(for: .milliseconds(1))
    for code: UInt8 in 0...15 where code != 4 { ICMPTests.send(pair, code: code, quoting: 1) }
    ICMPTests.send(pair, type: 11, code: 0, quoting: 50)
    ICMPTests.send(pair, type: 12, code: 0, quoting: 100)
    #expect(counters(pair).errorsReceived == 17 && pair.drops(.icmpNoFlow) == 0)
    for sequence in [0, 101, -1, 100_000] { ICMPTests.send(pair, code: 3, quoting: sequence) }
    #expect(counters(pair).errorsReceived == 17 && pair.drops(.icmpNoFlow) == 4)
    ICMPTests.send(pair, type: 4, code: 0, quoting: 1)
    #expect(pair.drops(.icmpMalformed) == 1)
    pair.peer.send([], 1, ack: 101)
    pair.server.run()
    #expect(socket.error == nil && socket.bytesAcknowledged == 100)
    // With nothing in flight nothing can be quoted.
    ICMPTests.send(pair, code: 1, quoting: 101)
    #expect(pair.drops(.icmpNoFlow) == 5)
  }

  /// SHLD-25, MUST-47: when the connection then fails by itself, the application learns why; progress makes
  /// the error void.
  @Test(arguments: [false, true])
  func softErrorExplainsFailure(_ progresses: Bool) {
    let pair = ScriptedPair()
    let socket = pair.open()
    socket.send(100)
    pair.simulation.run(for: .milliseconds(1))
    ICMPTests.send(pair, code: 1, quoting: 1)
    if progresses { pair.peer.send([], 1, ack: 51) }
    #expect(pair.simulation.run(within: .seconds(3000)) { socket.error != nil })
    #expect(socket.error == (progresses ? 110 : 113))
  }

  /// A hard error for the SYN-ACK ends a half-open connection, a soft one does not.
  @Test func halfOpen() {
    let pair = ScriptedPair()
    pair.peer.send(.syn, 0)
    ICMPTests.send(pair, code: 1, quoting: 0, length: 60)
    ICMPTests.send(pair, code: 3, quoting: 1, length: 60)
    #expect(pair.simulation.a.engines[0].engine.halfOpen.records.count == 1)
    ICMPTests.send(pair, code: 3, quoting: 0, length: 60)
    #expect(pair.simulation.a.engines[0].engine.halfOpen.records.count == 0)
    #expect(counters(pair).errorsReceived == 2 && pair.drops(.icmpNoFlow) == 1)
  }

  // MARK: Packet too big

  private func segmentSize(_ pair: ScriptedPair, _ number: UInt32 = 0) -> UInt16 {
    let connections = pair.simulation.a.engines[0].engine.connections
    return connections[ConnectionID(raw: number)].pathSegmentSize
  }

  /// A smaller MTU cuts segments and sends again what was too large (RFC 1191); what is not in flight
  /// changes nothing, nor does a packet that would have fitted (RFC 5927 section 7).
  @Test func packetTooBig() {
    let pair = ScriptedPair()
    let socket = pair.open()
    socket.send(3000)
    pair.simulation.run(for: .milliseconds(1))
    let sent = pair.peer.take()
    #expect(sent.prefix(2) == ["A> ACK 1:1461 ack 1", "A> ACK 1461:2921 ack 1"])
    ICMPTests.send(pair, code: 4, word: 1000, quoting: 100_000)
    ICMPTests.send(pair, code: 4, word: 1000, quoting: 1, length: 1000)
    #expect(pair.peer.take() == [] && pair.drops(.icmpNoFlow) == 2)
    ICMPTests.send(pair, code: 4, word: 1000, quoting: 1)
    let again = pair.peer.take()
    #expect(again.first == "A> ACK 1:961 ack 1" && segmentSize(pair) == 960)
    #expect(counters(pair).pathSizeReductions == 1)
  }

  /// CVE-2004-1060, "PTB with MTU 0/68/1279": never below the floor; an old router's 0 means the next
  /// common size.
  @Test func packetTooBigFloors() {
    let cases: [(mtu: UInt32, size: UInt16)] = [
      (68, 512), (1, 512), (551, 512), (552, 512), (553, 513), (1499, 1459), (1500, 1460),
      (0xffff, 1460), (0, 1452), (0xffff_0000 | 1000, 960),
    ]
    for (mtu, size) in cases {
      let pair = ScriptedPair()
      pair.open().send(3000)
      pair.simulation.run(for: .milliseconds(1))
      ICMPTests.send(pair, code: 4, word: mtu, quoting: 1)
      #expect(segmentSize(pair) == size, "\(mtu)")
    }
  }

  /// What a router has said counts for later connections to the same host, for ten minutes.
  @Test func remembersPathSize() {
    let pair = ScriptedPair()
    let socket = pair.open()
    socket.send(3000)
    pair.simulation.run(for: .milliseconds(1))
    ICMPTests.send(pair, code: 4, word: 1200, quoting: 1)
    socket.close(reset: true)
    for (minutes, size): (UInt64, UInt16) in [(0, 1160), (9, 1160), (2, 1460)] {
      pair.simulation.run(for: .seconds(minutes * 60))
      let peer = ScriptedPeer(pair.simulation, port: UInt16(5000 + minutes))
      pair.simulation.trace.keepsNumbers = false
      peer.open()
      pair.simulation.trace.keepsNumbers = true
      let next = pair.server.accept()
      let connections = pair.simulation.a.engines[0].engine.connections
      #expect(connections[ConnectionID(raw: 0)].pathSegmentSize == size, "\(minutes)")
      next?.close(reset: true)
      pair.simulation.run(for: .milliseconds(1))
    }
    #expect(pair.simulation.a.engines[0].engine.pathSearches.count == 0)
  }

  // MARK: Without ICMP

  /// Sends until everything has arrived over a link that silently loses packets above `limit` bytes
  /// until `healsAfter`; returns the server's final size and counters.
  private func transfer(
    _ count: Int, limit: Int, healsAfter: Interval = .seconds(1 << 30)
  ) -> (size: UInt16, counters: EngineCounters, isComplete: Bool) {
    let pair = Pair()
    defer { pair.simulation.end() }
    let (server, client) = pair.connect()
    let simulation = pair.simulation
    let start = simulation.now
    simulation.loses = { [unowned simulation] sender, segment in
      sender == "A" && segment.payloadLength > limit && simulation.now - start < healsAfter
    }
    func step() {
      server.send(count - server.bytesSent)
      client.read()
    }
    pair.server.onWake = { step() }
    pair.client.onWake = { step() }
    var rounds = 0
    while client.bytesReceived < count, rounds < 2000 {
      pair.server.run()
      pair.server.wantSpace()
      simulation.run(for: .milliseconds(100))
      rounds += 1
    }
    let connections = simulation.a.engines[0].engine.connections
    #expect(client.firstWrongByte == nil)
    return (
      connections[ConnectionID(raw: 0)].pathSegmentSize,
      simulation.a.engines[0].engine.statistics().counters, client.bytesReceived == count
    )
  }

  /// RFC 2923, RFC 4821: large packets vanish and nobody says so. After a few timeouts smaller ones get
  /// through, and the size is found to within eight bytes.
  @Test(arguments: [1100, 1300, 700])
  func blackHole(_ limit: Int) {
    let result = transfer(400_000, limit: limit)
    #expect(result.isComplete && result.counters.blackHolesSuspected >= 1)
    // The size counts the 12 bytes of the timestamp option.
    let size = Int(result.size) - 12
    #expect(size <= limit && (limit - size < 8 || limit < 1012), "\(size)")
    if limit >= 1012 { #expect(result.counters.pathProbes >= 3) }
  }

  /// A link that was merely down for a while gets its large segments back.
  @Test func outageIsNoBlackHole() {
    let result = transfer(600_000, limit: 0, healsAfter: .seconds(3))
    #expect(result.isComplete && result.counters.blackHolesSuspected >= 1)
    #expect(result.size > 1460 - 8)
  }
}
