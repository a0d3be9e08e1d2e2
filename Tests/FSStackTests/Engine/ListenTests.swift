import FSRing
import Testing

@testable import FSStack

/// The listen table: backlog, acceptors, hand-back.
@Suite struct ListenTests {
  private func states(_ pair: ScriptedPair) -> [TCPState: Int] {
    pair.simulation.a.engines[0].engine.statistics().connections
  }

  /// Beyond the backlog a SYN is answered with a cookie, and nothing is remembered of it; the next one
  /// may find room.
  @Test func backlog() {
    let pair = ScriptedPair(backlog: 3)
    let peers = (0..<5).map { ScriptedPeer(pair.simulation, port: 2000 + UInt16($0)) }
    for peer in peers { peer.send(.syn, 0) }
    let engine = pair.simulation.a.engines[0]
    #expect(states(pair)[.synReceived] == 3)
    #expect(engine.engine.statistics().counters.cookiesSent == 2)
    peers[0].send([], 1, ack: 1)
    peers[1].send(.rst, 1)
    #expect(states(pair)[.synReceived] == 1 && states(pair)[.established] == 1)
    for peer in peers[3...] { peer.send(.syn, 0) }
    #expect(states(pair)[.synReceived] == 3)
    #expect(engine.engine.statistics().counters.cookiesSent == 2)
    // Half-open connections whose peer is silent do not stay for ever.
    pair.simulation.run(for: .seconds(200))
    #expect(states(pair)[.synReceived, default: 0] == 0)
    #expect(pair.server.accepted.count == 1)
  }

  /// Without an acceptor connections wait; who resumes or joins gets them, oldest first.
  @Test func waitsForAcceptor() {
    let pair = ScriptedPair()
    pair.server.pause(1, true)
    pair.simulation.run(for: .milliseconds(1))
    let peers = (0..<3).map { ScriptedPeer(pair.simulation, port: 2000 + UInt16($0)) }
    for peer in peers {
      peer.open()
      // Data that comes meanwhile is kept.
      peer.send([], 1, count: 100, ack: 1)
    }
    #expect(pair.server.accepted.isEmpty)
    pair.server.pause(1, false)
    pair.simulation.run(for: .milliseconds(100))
    #expect(pair.server.accepted.map(\.endpoint.remotePort) == [2000, 2001, 2002])
    #expect(pair.server.accepted.map(\.unread) == [100, 100, 100])
    let counters = pair.simulation.a.engines[0].engine.statistics().counters
    #expect(counters.acceptsGlobal == 3)
  }

  /// An application whose slots are all in use gets those that wait, oldest first, when it has closed some:
  /// at once after a reset, else when the last of what it sent is acknowledged.
  @Test func waitsForSlot() {
    let pair = ScriptedPair(backlog: 100)
    let peers = (0..<12).map { ScriptedPeer(pair.simulation, port: 2000 + UInt16($0)) }
    for peer in peers {
      peer.open()
      peer.send([], 1, count: 100, ack: 1)
    }
    pair.simulation.run(for: .milliseconds(1))
    let slots = Int(pair.server.geometry.firstConnectSlot)
    #expect(pair.server.accepted.map(\.endpoint.remotePort) == Array(2000..<2008) && slots == 8)
    let sockets = pair.server.accepted
    sockets[1].close(reset: true)
    pair.simulation.run(for: .milliseconds(1))
    #expect(pair.server.accepted.last?.endpoint.remotePort == 2008)
    sockets[0].read()
    sockets[0].send(10)
    sockets[0].close()
    pair.simulation.run(for: .milliseconds(1))
    #expect(pair.server.accepted.count == 9)
    peers[0].send([], 101, ack: 12)
    pair.simulation.run(for: .milliseconds(1))
    #expect(pair.server.accepted[8...].map(\.endpoint.remotePort) == [2008, 2009])
    #expect(pair.server.accepted[8...].map(\.unread) == [100, 100])
    #expect(states(pair)[.established] == 10)
  }

  /// Acceptors take turns; a remote one only gets what no local one takes.
  @Test func acceptorsTakeTurns() {
    let pair = ScriptedPair(backlog: 100)
    let engine = pair.simulation.a.engines[0]
    let second = TestApplication(on: engine)
    let remote = TestApplication(on: engine)
    second.listen(port: 80, now: pair.simulation.now)
    remote.listen(port: 80, remote: true, now: pair.simulation.now)
    for index in 0..<4 { ScriptedPeer(pair.simulation, port: 2000 + UInt16(index)).open() }
    #expect(pair.server.accepted.count == 2 && second.accepted.count == 2)
    pair.server.pause(1, true)
    second.pause(1, true)
    pair.simulation.run(for: .milliseconds(1))
    ScriptedPeer(pair.simulation, port: 3000).open()
    #expect(remote.accepted.count == 1)
    let counters = engine.engine.statistics().counters
    #expect(counters.acceptsLocal == 4 && counters.acceptsRemote == 1)
    #expect(counters.listenLookupsLocal == 4 && counters.listenLookupsGlobal == 1)
  }

  /// Who takes one at a time gets the next when he asks for it, if there are others; alone he gets them all.
  @Test func oneAtATime() {
    func paused(_ application: TestApplication) -> Int {
      application.accepted.count { $0.endpoint.flags & EventFlags.paused != 0 }
    }
    let pair = ScriptedPair(backlog: 100)
    let engine = pair.simulation.a.engines[0]
    pair.server.takeOne(1)
    pair.simulation.run(for: .milliseconds(1))
    for index in 0..<3 { ScriptedPeer(pair.simulation, port: 2000 + UInt16(index)).open() }
    #expect(pair.server.accepted.count == 3 && paused(pair.server) == 0)
    let second = TestApplication(on: engine)
    second.listen(port: 80, now: pair.simulation.now)
    second.takeOne(1)
    pair.simulation.run(for: .milliseconds(1))
    for index in 0..<5 { ScriptedPeer(pair.simulation, port: 3000 + UInt16(index)).open() }
    #expect(pair.server.accepted.count == 4 && paused(pair.server) == 1)
    #expect(second.accepted.count == 1 && paused(second) == 1)
    second.takeOne(1)
    pair.simulation.run(for: .milliseconds(1))
    #expect(second.accepted.map(\.endpoint.remotePort).last == 3002)
    #expect(second.accepted.count == 2 && paused(second) == 2)
    // As many as there are, from here on.
    pair.server.pause(1, false)
    pair.simulation.run(for: .milliseconds(1))
    #expect(pair.server.accepted.map(\.endpoint.remotePort).suffix(2) == [3003, 3004])
    #expect(paused(pair.server) == 1)
    ScriptedPeer(pair.simulation, port: 4000).open()
    #expect(pair.server.accepted.count == 7)
  }

  /// A channel without free slots is passed over.
  @Test func slotsRunOut() {
    let pair = ScriptedPair(backlog: 100)
    for index in 0..<10 { ScriptedPeer(pair.simulation, port: 2000 + UInt16(index)).open() }
    #expect(pair.server.accepted.count == 8)
    for socket in pair.server.accepted { socket.close() }
    pair.server.accepted.removeAll()
    pair.simulation.run(for: .milliseconds(1))
    // Nothing was sent, so the slots are free at once; the next to ask is a new connection.
    ScriptedPeer(pair.simulation, port: 3000).open()
    pair.simulation.run(for: .milliseconds(100))
    #expect(!pair.server.accepted.isEmpty)
  }

  /// A connection that was given but not taken goes to another acceptor, or waits for one.
  @Test func handBack() {
    let pair = ScriptedPair()
    let second = TestApplication(on: pair.simulation.a.engines[0])
    let first = pair.open()
    pair.server.pause(1, true)
    first.handBack()
    pair.simulation.run(for: .milliseconds(1))
    #expect(pair.server.accepted.isEmpty)
    pair.peer.send([], 1, count: 50, ack: 1)
    second.listen(port: 80, now: pair.simulation.now)
    pair.simulation.run(for: .milliseconds(50))
    let socket = second.accept()
    #expect(socket?.unread == 50)
    socket?.send(10)
    pair.simulation.run(for: .milliseconds(1))
    #expect(pair.peer.take().last == "A> PSH ACK 1:11 ack 51")
    socket?.read()
    socket?.close(reset: true)
    pair.simulation.run(for: .milliseconds(1))
    #expect(pair.simulation.leftovers() == [])
  }

  /// The bytes and the FIN that a connection brought with it go along when it is handed back: the
  /// next acceptor sees them, and the peer notices nothing.
  @Test(arguments: [false, true])
  func handBackWithWhatCame(_ finishes: Bool) {
    let pair = ScriptedPair()
    let first = pair.open()
    pair.peer.send([.psh], 1, count: 1000, ack: 1)
    pair.peer.send(finishes ? [.psh, .fin] : [.psh], 1001, count: 500, ack: 1)
    #expect(first.unread == 1500)
    pair.simulation.run(for: .milliseconds(50))
    _ = pair.peer.take()
    let second = TestApplication(on: pair.simulation.a.engines[0])
    second.listen(port: 80, now: pair.simulation.now)
    pair.server.pause(1, true)
    first.handBack()
    pair.simulation.run(for: .milliseconds(1))
    let socket = second.accept()
    #expect(socket?.unread == 1500)
    #expect(socket?.peerFinished == finishes)
    #expect(socket?.read() == 1500 && socket?.firstWrongByte == nil)
    socket?.send(10)
    pair.simulation.run(for: .milliseconds(50))
    let next = finishes ? 1502 : 1501
    #expect(pair.peer.take().last == "A> PSH ACK 1:11 ack \(next)")
    socket?.close(reset: true)
    pair.simulation.run(for: .milliseconds(1))
    #expect(pair.simulation.leftovers() == [])
  }

  /// A listener that goes resets what no one has taken, and only that.
  @Test func removed() {
    let pair = ScriptedPair()
    let taken = pair.open()
    pair.server.pause(1, true)
    pair.simulation.run(for: .milliseconds(1))
    let waiting = ScriptedPeer(pair.simulation, port: 2000)
    waiting.open()
    let halfOpen = ScriptedPeer(pair.simulation, port: 2001)
    halfOpen.send(.syn, 0)
    _ = pair.peer.take()
    pair.simulation.a.engines[0].control { $0.removeListener(1) }
    pair.simulation.run(for: .milliseconds(1))
    #expect(pair.peer.take() == ["A> RST ACK 1 ack 1", "A> RST ACK 1 ack 1"])
    #expect(taken.error == nil && states(pair)[.established] == 1)
    ScriptedPeer(pair.simulation, port: 2002).send(.syn, 0)
    #expect(pair.peer.take() == ["A> RST ACK 0 ack 1"])
    taken.close(reset: true)
    pair.simulation.run(for: .milliseconds(1))
    #expect(pair.simulation.leftovers() == [])
  }

  /// An IPv6 wildcard takes IPv4 unless it is IPv6-only.
  @Test func addresses() {
    for isIPv6Only in [false, true] {
      let simulation = Simulation(engines: (1, 0))
      let engine = simulation.a.engines[0]
      let isAdded = engine.control {
        $0.addListener(9, address: .unspecified, port: 80, ipv6Only: isIPv6Only, backlog: 1)
      }
      #expect(isAdded)
      let peer = ScriptedPeer(simulation)
      peer.send(.syn, 0)
      #expect(peer.take() == [isIPv6Only ? "A> RST ACK 0 ack 1" : "A> SYN ACK 0 ack 1"])
    }
  }

  /// The table is full: counted, not answered, and those there are undisturbed.
  @Test func tableFull() {
    var options = SimulatedHost.Options()
    options.maximumConnections = 2
    let pair = ScriptedPair(options: options)
    for index in 0..<3 { ScriptedPeer(pair.simulation, port: 2000 + UInt16(index)).open() }
    #expect(pair.drops(.connectionTableFull) >= 1 && pair.server.accepted.count == 2)
  }
}
