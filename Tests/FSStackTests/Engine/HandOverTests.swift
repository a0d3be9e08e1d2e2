import Testing

@testable import FSStack

/// Hosts with several engines, and frames that arrive at the wrong one.
@Suite struct HandOverTests {
  /// Connections that others open live where their flow belongs, wherever their frames arrive.
  @Test func passive() {
    let simulation = Simulation(engines: (3, 1))
    var arrivals = 0
    // The queue says nothing about the flow, as with veth.
    simulation.a.queue = { _ in
      arrivals += 1
      return arrivals
    }
    let servers = simulation.a.engines.map { TestApplication(on: $0) }
    for server in servers { server.listen(port: 80, backlog: 64, now: simulation.now) }
    let client = TestApplication(on: simulation.b.engines[0])
    let sockets = (0..<8).map { _ in client.connect(to: simulation.a.address, port: 80) }
    simulation.run(for: .milliseconds(50))
    let unconnected = sockets.filter { !$0.isConnected }
    #expect(unconnected.isEmpty, "\(simulation.trace)")
    let accepted = servers.reduce(0) { $0 + $1.accepted.count }
    #expect(accepted == 8)
    for server in servers {
      for socket in server.accepted { socket.send(5000) }
    }
    for socket in sockets { socket.send(3000) }
    simulation.run(for: .seconds(2))
    for socket in sockets + servers.flatMap(\.accepted) {
      socket.read()
      #expect(socket.bytesReceived == (socket.isServer ? 3000 : 5000))
      #expect(socket.firstWrongByte == nil)
    }
    let counters = simulation.a.engines.map { $0.engine.statistics().counters }
    let handedOver = counters.reduce(0) { $0 + $1.handedOver }
    let takenOver = counters.reduce(0) { $0 + $1.takenOver }
    #expect(handedOver > 0 && handedOver == takenOver)
    for socket in sockets + servers.flatMap(\.accepted) { socket.close() }
    simulation.run(for: .seconds(70))
    #expect(simulation.leftovers() == [])
    let resets = simulation.trace.entries.filter { $0.segment.flags.contains(.rst) }
    #expect(resets.isEmpty)
  }

  /// The source port of an active open names its engine, for any number of engines.
  @Test func active() {
    for count in 1...4 {
      let simulation = Simulation(engines: (1, count))
      let server = TestApplication(on: simulation.a.engines[0])
      server.listen(port: 80, backlog: 64, now: simulation.now)
      // Always the first queue: the others' frames are handed over.
      simulation.b.queue = { _ in 0 }
      let clients = simulation.b.engines.map { TestApplication(on: $0) }
      let sockets = clients.map { $0.connect(to: simulation.a.address, port: 80) }
      simulation.run(for: .milliseconds(50))
      for (index, socket) in sockets.enumerated() {
        #expect(socket.isConnected)
        let port = socket.endpoint.localPort
        #expect(Engine.engine(ofActivePort: port, engineCount: count) == index)
        #expect((36_864...57_343).contains(port))
      }
    }
  }

  /// A RST or late segment of a flow that its owner has forgotten is answered once, by the owner.
  @Test func strays() {
    let simulation = Simulation(engines: (2, 0))
    for index in 0..<2 {
      simulation.a.queue = { _ in index }
      let peer = ScriptedPeer(simulation, to: 80)
      peer.send([], 5, ack: 7)
      #expect(peer.take() == ["A> RST 7"])
    }
  }
}
