import FSRing
import Testing

@testable import FSStack

/// Source ports of active opens (RFC 6056), and opens from both sides at once.
@Suite struct SourcePortTests {
  /// The ports of the connections that an engine opens, in order.
  private func ports(_ simulation: Simulation) -> [UInt16] {
    simulation.trace.entries.filter { $0.sender == "B" && $0.segment.flags == .syn }
      .map(\.segment.sourcePort)
  }

  /// Each of several engines uses ports that lead replies back to it, and no two connections to one
  /// destination share one.
  @Test func leadBackToTheEngine() {
    let simulation = Simulation(engines: (1, 3))
    for (index, engine) in simulation.b.engines.enumerated() {
      let application = TestApplication(on: engine)
      for _ in 0..<5 { application.connect(to: simulation.a.address, port: 80) }
      simulation.run(for: .microseconds(50))
      let ports = ports(simulation)
      simulation.trace.clear()
      #expect(Set(ports).count == 5)
      for port in ports {
        #expect(Engine.engine(ofActivePort: port, engineCount: 3) == index)
        #expect((36864...57343).contains(port))
      }
    }
  }

  /// "Port exhaustion": the application is told EADDRNOTAVAIL, and what is open stays so.
  @Test func exhaustion() {
    var options = SimulatedHost.Options()
    options.maximumTimeWait = 20_480
    let pair = Pair(options: options)
    let engine = pair.simulation.b.engines[0]
    let local = pair.simulation.b.address
    let remote = pair.simulation.a.address
    let first = pair.client.connect(to: remote, port: 80)
    pair.simulation.run(for: .milliseconds(5))
    // All other ports are in TIME-WAIT without timestamps.
    let now = pair.simulation.now
    engine.control { engine in
      for port: UInt16 in 36864...57343 where port != first.endpoint.localPort {
        engine.timeWait.insert(
          TimeWaitRecord(
            flow: Flow(local: local, localPort: port, remote: remote, remotePort: 80),
            sendNext: SequenceNumber(0), receiveNext: SequenceNumber(0), recentTimestamp: 0,
            windowField: 1, hasTimestamps: false), now: now)
      }
    }
    let second = pair.client.connect(to: remote, port: 80)
    pair.simulation.run(for: .milliseconds(5))
    #expect(second.error == 99 && first.error == nil && first.isConnected)
    // The same ports are free towards another destination.
    let third = pair.client.connect(to: remote, port: 81)
    pair.simulation.run(for: .milliseconds(5))
    #expect(third.error == 111)
  }

  /// Where the kernel has a connection, it would get the answers: one that was handed over, and those that
  /// the daemon has found.
  @Test func portsOfTheKernel() throws {
    let pair = Pair()
    let (_, client) = pair.connect()
    let (a, b) = (pair.simulation.a.address, pair.simulation.b.address)
    let port = client.endpoint.localPort
    let engine = pair.simulation.b.engines[0]
    let flow = Flow(local: b, localPort: port, remote: a, remotePort: 80)
    let id = try #require(engine.engine.flows.find(flow, hash: engine.engine.secret.hash(flow)))
    engine.control { engine in
      if case .connection(let id) = id { engine.moveAway(id) }
      #expect(engine.kernelPorts.contains(port))
      engine.setKernelPorts([40_000])
      #expect(!engine.kernelPorts.contains(port))
    }
    let refused = pair.client.connect(to: a, port: 81, localPort: 40_000)
    let open = pair.client.connect(to: a, port: 80, localPort: 40_001)
    pair.simulation.run(for: .milliseconds(5))
    #expect(refused.error == 99 && open.isConnected)
  }

  // MARK: Both sides at once

  /// "Simultaneous open (with and without SYN cookies listener on the port)": the connection in SYN-SENT
  /// is found before the listener (MUST-10, MUST-42).
  @Test(arguments: [false, true])
  func simultaneousOpenOnAListenersPort(_ isFlooded: Bool) {
    let pair = ScriptedPair()
    pair.server.listen(2, port: 40_000, backlog: 1, now: pair.simulation.now)
    if isFlooded {
      for port: UInt16 in 3000..<3003 {
        ScriptedPeer(pair.simulation, port: port, to: 40_000).send(.syn, 0)
      }
    }
    let socket = pair.server.connect(
      to: pair.simulation.b.address, port: 1024, localPort: 40_000)
    pair.simulation.run(for: .milliseconds(1))
    let peer = ScriptedPeer(pair.simulation, to: 40_000)
    _ = peer.take()
    peer.send(.syn, 0)
    #expect(peer.take() == ["A> SYN ACK 0 ack 1"])
    peer.send(.syn, 0, ack: 1)
    #expect(socket.isConnected && pair.server.accepted.isEmpty)
  }

  /// A blind RST in SYN-RECEIVED of an active open is challenged, too (RFC 5961 section 3); the exact one
  /// refuses (MUST-11).
  @Test func resetOfASimultaneousOpen() {
    let pair = ScriptedPair()
    let socket = pair.server.connect(
      to: pair.simulation.b.address, port: 1024, localPort: 40_000)
    pair.simulation.run(for: .milliseconds(1))
    let peer = ScriptedPeer(pair.simulation, to: 40_000)
    peer.send(.syn, 0)
    _ = peer.take()
    peer.send(.rst, 100)
    #expect(socket.error == nil && peer.take() == ["A> ACK 1 ack 1"])
    peer.send(.rst, 1)
    #expect(socket.error == 111)
  }
}
