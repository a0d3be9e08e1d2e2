import FSRing
import Testing

@testable import FSStack

/// A connection is exported at a random moment of random traffic over a bad link, and goes on in
/// another stack: neither side notices, no byte is lost, doubled or out of place.
@Suite struct ExportSweepTests {
  private final class Run {
    let simulation: Simulation
    /// One for each engine of A: connections are exported from one and go on in the other.
    let servers: [TestApplication]
    let client: TestApplication
    var random: SplitMix64
    var traffic: [RandomTraffic] = []
    let sizes: [Int]
    var exported: ExportedConnection?
    /// Bytes that had been read by then.
    var position = 0
    var problems: [String] = []

    init(seed: UInt64) {
      random = SplitMix64(seed: seed)
      var conditions = LinkConditions()
      conditions.latency = .microseconds(UInt64.random(in: 5...10_000, using: &random))
      if random.chance(0.5) {
        conditions.jitter = .microseconds(UInt64.random(in: 1...5000, using: &random))
      }
      if random.chance(0.8) { conditions.loss = Double.random(in: 0...0.1, using: &random) }
      if random.chance(0.5) { conditions.duplication = Double.random(in: 0...0.1, using: &random) }
      if random.chance(0.5) { conditions.reordering = Double.random(in: 0...0.2, using: &random) }
      var options = SimulatedHost.Options()
      options.receiveBuffer = UInt32.random(in: 4096...100_000, using: &random)
      simulation = Simulation(conditions, seed: seed, engines: (2, 1), options: options)
      // Two stacks on one host do not look like one.
      simulation.reportsProblems = false
      let geometry = ChannelGeometry(
        commandCapacity: 256, eventCapacity: 64, receiveChunkCount: 200, sendChunkCount: 128,
        slotCount: 16)
      servers = simulation.a.engines.map { TestApplication(on: $0, geometry: geometry) }
      client = TestApplication(on: simulation.b.engines[0])
      for application in servers where random.chance(0.5) {
        application.latency = .microseconds(UInt64.random(in: 1...2000, using: &random))
      }
      var sizes: [Int] = []
      for _ in 0..<2 {
        sizes.append(
          Int.random(in: 0...(1 << Int.random(in: 12...18, using: &random)), using: &random))
      }
      self.sizes = sizes
    }

    func start(_ socket: TestSocket, _ size: Int) {
      let new = RandomTraffic(
        socket, bytesToSend: size, simulation: simulation, seed: random.next())
      traffic.append(new)
      new.step()
    }

    func begin() {
      for server in servers { server.listen(port: 80, now: simulation.now) }
      for application in servers + [client] {
        application.onWake = { [unowned self, unowned application] in
          while let socket = application.accept() {
            start(socket, sizes[0])
            exportSoon()
          }
          for each in traffic where each.socket.application === application {
            if each.socket.hasMoved { goOn(each.socket) } else { each.step() }
          }
        }
      }
      start(client.connect(to: simulation.a.address, port: 80), sizes[1])
    }

    private func exportSoon() {
      let exponent = UInt64.random(in: 8...17, using: &random)
      let delay = UInt64.random(in: 1...(1 << exponent), using: &random)
      simulation.after(.microseconds(delay)) { [unowned self] in export() }
    }

    /// Exports the server's side, unless it is over.
    private func export() {
      let found = traffic.first { $0.socket.isServer && !$0.socket.isClosed }
      guard let socket = found?.socket, socket.error == nil, !socket.application.isHeldUp else {
        return
      }
      socket.consume()
      position = socket.bytesReceived
      let claim = Engine.ExportClaim(channel: socket.application.channel)
      // Both sides may have finished already.
      guard socket.application.engine.engine.exportableConnections(claim) != [] else { return }
      let result = socket.application.engine.control {
        $0.exportConnection(socket.flowAddress, claims: [claim], now: simulation.now)
      }
      switch result {
      case .success(let description): exported = description
      case .failure(let refusal): problems.append("refused: \(refusal)")
      }
    }

    /// The application has heard of it.
    private func goOn(_ old: TestSocket) {
      guard let exported, let index = servers.firstIndex(where: { $0 === old.application }),
        !old.isClosed
      else { return }
      let queued = exported.unacknowledged + exported.unsent
      if !old.matches(exported.unread, from: position, isSent: false) {
        problems.append("the unread bytes are others")
      }
      if !old.matches(queued, from: old.bytesAcknowledged - queued.count, isSent: true) {
        problems.append("the queued bytes are others")
      }
      let isShut = old.isShut
      old.close()
      traffic.removeAll { $0.socket === old }
      let next = 1 - index
      // Frames go on arriving at the old place for a while.
      let delay = UInt64.random(in: 1...3000, using: &random)
      simulation.after(.microseconds(delay)) { [unowned self] in
        simulation.a.queue = { _ in next }
      }
      guard
        let new = servers[next].continue(
          old, exported, from: position, now: simulation.now)
      else {
        problems.append("it cannot go on")
        return
      }
      if isShut { new.shutdown() }
      start(new, sizes[0])
    }

    func finish() -> [String] {
      func isOver() -> Bool { traffic.count == 2 && traffic.allSatisfy(\.isOver) }
      simulation.run(within: .seconds(20), until: isOver)
      for index in 0..<2 { simulation.links[index].conditions = .perfect }
      for each in traffic { each.isHurried = true }
      if !simulation.run(within: .seconds(400), until: isOver) { problems.append("not complete") }
      simulation.run(for: .seconds(200))
      for each in traffic {
        let expected = each.socket.isServer ? sizes[1] : sizes[0]
        if each.socket.bytesReceived != expected || each.socket.error != nil {
          problems.append(
            "\(each.socket.isServer): \(each.socket.bytesReceived) of \(expected) read, "
              + "error \(each.socket.error ?? 0)")
        }
        if let place = each.socket.firstWrongByte { problems.append("wrong byte at \(place)") }
      }
      problems += simulation.leftovers()
      simulation.end()
      return problems
    }
  }

  @Test func nobodyNotices() {
    var failures = 0
    var moved = 0
    var inFlight = 0
    var unread = 0
    for seed in UInt64(1)...100 {
      let run = Run(seed: seed)
      run.begin()
      let problems = run.finish()
      if let exported = run.exported {
        moved += 1
        inFlight += exported.unacknowledged.isEmpty ? 0 : 1
        unread += exported.unread.isEmpty ? 0 : 1
      }
      guard !problems.isEmpty else { continue }
      Issue.record("seed \(seed): \(problems)\(run.simulation.trace)")
      failures += 1
      // The first ones tell enough.
      if failures == 3 { return }
    }
    // Or it has shown nothing.
    #expect(moved > 50 && inFlight > 20 && unread > 20, "\(moved), \(inFlight), \(unread)")
  }
}
