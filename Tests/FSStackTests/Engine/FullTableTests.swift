import FSRing
import Testing

@testable import FSStack

/// Connects for which there is no room.
@Suite struct FullTableTests {
  /// A connect that finds the table of connections full fails with ENOBUFS. Commands that the
  /// application has sent for the slot before it can know do no harm, and others live on.
  @Test func connectIsRefused() {
    var options = SimulatedHost.Options()
    options.maximumConnections = 1
    let pair = Pair(options: options)
    let (server, client) = pair.connect()
    let engine = pair.simulation.b.engines[0]
    let refused = (0..<3).map { _ in
      pair.client.connect(to: pair.simulation.a.address, port: 80)
    }
    refused[0].setOption(level: 6, name: 1, 1)
    refused[1].close()
    let report = refused[2].inquire()
    pair.simulation.run(for: .milliseconds(1))
    #expect(engine.violations.isEmpty)
    #expect(refused[0].error == 105 && refused[2].error == 105)
    #expect(report()?.state == TCPState.closed.linuxNumber)
    #expect(engine.engine.statistics().drops[.connectionTableFull] == 3)
    refused[0].close()
    refused[2].close()
    client.send(100)
    pair.simulation.run(for: .milliseconds(50))
    server.read()
    #expect(server.bytesReceived == 100)
    client.close()
    server.close()
    pair.simulation.run(for: .seconds(70))
    #expect(pair.simulation.leftovers() == [])
    // The slots are free again, and so is the table.
    #expect(pair.client.hasFreeSlot)
    let last = pair.client.connect(to: pair.simulation.a.address, port: 80)
    pair.simulation.run(for: .milliseconds(50))
    #expect(last.isConnected)
  }

  /// A handshake that completes when the table is full is not forgotten: its peer believes itself
  /// connected, and may wait for the server to speak. The SYN-ACK goes out again until there is room.
  @Test func handshakeWaitsForRoom() {
    var options = SimulatedHost.Options()
    options.maximumConnections = 1
    let pair = ScriptedPair(options: options)
    let peers = [2000, 2001].map { ScriptedPeer(pair.simulation, port: $0) }
    for peer in peers { peer.open() }
    #expect(pair.server.accepted.count == 1 && pair.drops(.connectionTableFull) == 1)
    pair.simulation.run(for: .milliseconds(1100))
    #expect(peers[1].take() == ["A> SYN ACK 0 ack 1"])
    peers[0].send(.rst, 1)
    pair.server.accepted[0].close()
    pair.simulation.run(for: .seconds(2))
    #expect(peers[1].take() == ["A> SYN ACK 0 ack 1"])
    peers[1].send([], 1, ack: 1)
    #expect(pair.server.accepted.count == 2)
  }

  /// A connect that fails at once takes no place of a connection, however many there are.
  @Test func impossibleDestinations() {
    let pair = Pair()
    let sockets = (0..<5).map { _ in
      pair.client.connect(to: IPAddress(v4: 224, 0, 0, 1), port: 80)
    }
    pair.simulation.run(for: .milliseconds(1))
    #expect(sockets.allSatisfy { $0.error == 101 })
    #expect(pair.simulation.b.engines[0].engine.connections.count == 0)
    for socket in sockets { socket.close() }
    pair.simulation.run(for: .milliseconds(1))
    #expect(pair.simulation.leftovers() == [])
  }
}
