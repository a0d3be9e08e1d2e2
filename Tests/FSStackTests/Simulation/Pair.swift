import FSRing

@testable import FSStack

/// A server application on A that listens on port 80, and a client application on B.
struct Pair {
  let simulation: Simulation
  let server: TestApplication
  let client: TestApplication

  init(
    _ conditions: LinkConditions = .perfect, isIPv4: Bool = true,
    options: SimulatedHost.Options = .init(), backlog: Int = 8,
    geometry: ChannelGeometry = TestApplication.small
  ) {
    simulation = Simulation(conditions, isIPv4: isIPv4, options: options)
    server = TestApplication(on: simulation.a.engines[0], geometry: geometry)
    client = TestApplication(on: simulation.b.engines[0], geometry: geometry)
    server.listen(port: 80, backlog: backlog, isIPv4: isIPv4, now: simulation.now)
  }

  /// An established connection; the trace begins anew.
  func connect() -> (server: TestSocket, client: TestSocket) {
    let socket = client.connect(to: simulation.a.address, port: 80)
    simulation.run(for: .milliseconds(5))
    simulation.trace.clear()
    guard let accepted = server.accept() else { fatalError("not accepted") }
    return (accepted, socket)
  }

  /// Lets a few round trips pass and returns what was sent.
  func trace(for span: Interval = .milliseconds(5)) -> [String] {
    simulation.run(for: span)
    return simulation.trace.take()
  }
}

/// An engine with a listener on port 80, and a peer that the test plays.
struct ScriptedPair {
  let simulation: Simulation
  let server: TestApplication
  let peer: ScriptedPeer

  init(
    isIPv4: Bool = true, options: SimulatedHost.Options = .init(), backlog: Int = 8,
    geometry: ChannelGeometry = TestApplication.small
  ) {
    simulation = Simulation(isIPv4: isIPv4, engines: (1, 0), options: options)
    server = TestApplication(on: simulation.a.engines[0], geometry: geometry)
    server.listen(port: 80, backlog: backlog, isIPv4: isIPv4, now: simulation.now)
    peer = ScriptedPeer(simulation)
  }

  /// The peer opens a connection, with the options in its SYN that `change` sets.
  func open(change: (inout OutgoingHeader) -> Void = { _ in }) -> TestSocket {
    peer.open(change: change)
    simulation.trace.keepsNumbers = true
    guard let socket = server.accept() else { fatalError("not accepted") }
    return socket
  }

  func drops(_ reason: DropReason) -> UInt64 {
    simulation.a.engines[0].engine.statistics().drops[reason] ?? 0
  }
}
