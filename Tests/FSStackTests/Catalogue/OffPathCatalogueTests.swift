import Testing

@testable import FSStack

/// What others could be made to do by somebody who only guesses (docs/bug-catalogue.md).
@Suite struct OffPathCatalogueTests {
  /// CVE-2004-0230: RST and SYN at a distance of a window, over the whole sequence space: none of them
  /// hits but the exact one.
  @Test(arguments: [TCPFlags.rst, .syn])
  func sweep(flags: TCPFlags) {
    let pair = ScriptedPair()
    let socket = pair.open()
    for guess in stride(from: 60_000, to: Int(UInt32.max), by: 20_000_000) {
      pair.simulation.send(pair.peer.header(flags, guess).frame(), from: 1)
    }
    pair.simulation.run(for: .milliseconds(10))
    #expect(socket.error == nil)
    #expect(pair.peer.take().allSatisfy { $0 == "A> ACK 1 ack 1" })
    pair.peer.send([], 1, count: 10, ack: 1)
    #expect(socket.unread == 10)
  }

  /// CVE-2016-5696: challenges of one connection leave those of another as they were: whoever counts
  /// them learns nothing about a connection that is not his.
  @Test func challengesAreNotShared() {
    let pair = ScriptedPair()
    _ = pair.open()
    let peers = (0..<20).map { ScriptedPeer(pair.simulation, port: 2000 + UInt16($0)) }
    pair.simulation.trace.keepsNumbers = false
    for peer in peers.prefix(7) {
      peer.open()
      for _ in 0..<200 { peer.send(.rst, 100) }
      #expect(peer.take() == ["A> ACK 1 ack 1"])
    }
    pair.peer.send(.rst, 100)
    #expect(pair.peer.take() == ["A> ACK 1 ack 1"])
  }

  /// CVE-2004-1060, and PTB with an MTU that no link has: segments do not get smaller than the floors of
  /// RFC 1191 and RFC 8201.
  @Test(arguments: [
    (true, 0), (true, 1), (true, 68), (true, 551), (false, 0), (false, 1), (false, 1279),
  ])
  func absurdMTU(isIPv4: Bool, mtu: UInt32) {
    let pair = ScriptedPair(isIPv4: isIPv4)
    let socket = pair.open()
    socket.setOption(level: 6, name: 1, 1)
    socket.send(14_600)
    pair.simulation.run(for: .milliseconds(1))
    for _ in 0..<5 {
      pair.peer.sendError(type: isIPv4 ? 3 : 2, code: isIPv4 ? 4 : 0, word: mtu, quoting: 1)
    }
    pair.simulation.run(for: .seconds(1))
    let smallest = isIPv4 ? 512 : 1220
    let segments = pair.frames.filter { $0.payloadLength > 0 }
    // The last of what is queued may be shorter, each time that it is sent.
    #expect(segments.count { $0.payloadLength < smallest } <= 2, "\(segments.map(\.payloadLength))")
    #expect(socket.error == nil)
    for _ in 0..<20 {
      pair.peer.send([], 1, ack: pair.sentEdge)
      pair.server.run()
    }
    #expect(socket.isDrained)
  }

  /// CVE-2004-0790 and its like: an error that quotes numbers which are not in flight is nobody's.
  @Test(arguments: [-1, 101, 100_000, 1 << 31])
  func errorQuotesAnother(sequence: Int) {
    let pair = ScriptedPair()
    let socket = pair.open()
    socket.send(100)
    pair.simulation.run(for: .milliseconds(1))
    for (type, code) in [(3, 0), (3, 2), (3, 3), (3, 4), (11, 0), (12, 0)] as [(UInt8, UInt8)] {
      pair.peer.sendError(type: type, code: code, word: 600, quoting: sequence)
    }
    let connection = pair.simulation.a.engines[0].engine.connections[ConnectionID(raw: 0)]
    #expect(connection.segmentSize == 1460 && socket.error == nil)
    #expect(pair.drops(.icmpNoFlow) == 6)
  }

  /// ACK storms: a peer that answers everything with a segment which is out of the window, in each of
  /// the ways that ask for an answer, gets few answers.
  @Test(arguments: ["old number", "future number", "acknowledges the future", "SYN", "RST"])
  func acknowledgementStorm(kind: String) {
    let pair = ScriptedPair()
    _ = pair.open()
    var answers = 0
    for _ in 0..<1000 {
      switch kind {
      case "old number": pair.peer.send([], -100, ack: 1)
      case "future number": pair.peer.send([], 3_000_000, ack: 1)
      case "acknowledges the future": pair.peer.send([], 1, ack: 1000)
      case "SYN": pair.peer.send(.syn, 500)
      default: pair.peer.send(.rst, 500)
      }
      answers += pair.peer.take().count
    }
    // Half a second of it: two, and one at the edges.
    #expect(answers >= 1 && answers <= 3, "\(answers)")
  }

  /// Two engines of which each has the other's numbers wrong come to rest.
  @Test func desynchronized() {
    let pair = Pair()
    defer { pair.simulation.end() }
    let (server, client) = pair.connect()
    // What neither has sent moves both on.
    pair.simulation.reportsProblems = false
    for (sender, receiver, isToServer) in [(client, server, true), (server, client, false)] {
      var header = OutgoingHeader()
      let (from, to) =
        isToServer ? (pair.simulation.b, pair.simulation.a) : (pair.simulation.a, pair.simulation.b)
      header.sourceMAC = from.macAddress
      header.destinationMAC = to.macAddress
      header.source = from.address
      header.destination = to.address
      header.sourcePort = sender.endpoint.localPort
      header.destinationPort = receiver.endpoint.localPort
      let connection = to.engines[0].engine.connections[ConnectionID(raw: 0)]
      header.sequence = connection.receiveNext
      header.acknowledgement = connection.sendUnacknowledged
      header.flags = [.ack, .psh]
      header.window = 1000
      pair.simulation.send(header.frame([1, 2, 3]), from: isToServer ? 1 : 0)
    }
    pair.simulation.run(for: .seconds(60))
    #expect(pair.simulation.trace.entries.count < 300)
    server.close(reset: true)
    client.close(reset: true)
    pair.simulation.run(for: .seconds(1))
  }
}
