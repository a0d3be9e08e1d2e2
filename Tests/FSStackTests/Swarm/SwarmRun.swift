import FSRing

@testable import FSStack

/// One seed's run: a network, applications, a time of trouble, and what must be true at its end.
final class SwarmRun {
  let seed: UInt64
  let features: SwarmFeatures
  let simulation: Simulation
  let mtu: Int
  var random: SplitMix64
  var isHealed = false
  /// How long the trouble lasts.
  let trouble: Interval
  /// On the engines of A.
  private(set) var servers: [TestApplication] = []
  /// On the engines of the other hosts.
  private(set) var clients: [TestApplication] = []
  /// In the order of the server's ports. In a crowd several have the same port.
  private(set) var services: [SwarmService] = []
  private var listenerCount = 0
  private(set) var traffic: [SwarmTraffic] = []
  /// From the first progress after healing until everything was complete.
  var completion = Interval(nanoseconds: 0)
  /// Of each connection with a problem its trace is shown, not only of the first.
  var tellsAll = false
  /// Accepted connections given back.
  private(set) var handBacks = 0
  /// Applications that died.
  private var deaths = 0
  /// What listeners that have paused accept only now is given up like everything else.
  private var isEnding = false

  init(seed: UInt64) {
    self.seed = seed
    random = SplitMix64(seed: seed)
    features = SwarmFeatures(&random)
    let options = Self.hostOptions(features, &random)
    mtu = options.mtu
    let count = features.contains(.manyEngines) ? Int.random(in: 2...3, using: &random) : 1
    simulation = Simulation(
      seed: seed, isIPv4: !features.contains(.ipv6), engines: (count, count),
      clients: features.contains(.manyClients) ? Int.random(in: 2...4, using: &random) : 1,
      options: options)
    simulation.reportsProblems = false
    simulation.trace.limit = 2000
    trouble =
      features.contains(.longOutage)
      ? .seconds(UInt64.random(in: 10...400, using: &random))
      : .milliseconds(UInt64.random(in: 500...20_000, using: &random))
    if features.contains(.wrongEngine) {
      for host in simulation.hosts { host.queue = { Int($0[$0.count - 1]) } }
    }
    makeApplications()
  }

  // MARK: Applications

  private func makeApplications() {
    func make(_ engine: SimulatedEngine) -> TestApplication {
      let application = TestApplication(on: engine, geometry: geometry())
      if features.contains(.slowApplications) {
        application.latency = .microseconds(UInt64.random(in: 1...3000, using: &random))
      }
      application.onWake = { [unowned self, unowned application] in wake(application) }
      return application
    }
    let acceptors = features.contains(.handBack) || features.contains(.applicationDies) ? 2 : 1
    for engine in simulation.a.engines {
      for _ in 0..<acceptors { servers.append(make(engine)) }
    }
    for host in simulation.hosts.dropFirst() { clients += host.engines.map(make) }
    // The listeners come first: their ports are refused otherwise.
    let isCrowd = features.contains(.crowd)
    listenerCount = Int.random(in: 1...(isCrowd ? 2 : 4), using: &random)
    for index in 0..<listenerCount {
      let port = 80 + UInt16(index)
      let plan = SwarmPlan(features, &random)
      for _ in 0..<(isCrowd ? Int.random(in: 2...6, using: &random) : 1) {
        services.append(
          SwarmService(
            port: port, plan: plan, client: clients.randomElement(using: &random) ?? clients[0],
            count: features.contains(.reconnect) ? Int.random(in: 2...4, using: &random) : 1))
      }
      for server in servers {
        server.listen(
          UInt32(index), port: port, backlog: features.isCrowded ? 1 : 8,
          isIPv4: !features.contains(.ipv6), now: simulation.now)
      }
    }
    if features.contains(.samePort), simulation.hosts.allSatisfy({ $0.engines.count == 1 }) {
      for (index, service) in services.enumerated() { service.localPort = 40_000 + UInt16(index) }
    }
  }

  private func geometry() -> ChannelGeometry {
    ChannelGeometry(
      commandCapacity: 64, eventCapacity: 64,
      receiveChunkCount: features.contains(.fewReceiveChunks)
        ? UInt32.random(in: 4...30, using: &random) : 512,
      sendChunkCount: features.contains(.fewSendChunks)
        ? UInt32.random(in: 1...4, using: &random) : 64, slotCount: 16)
  }

  private func wake(_ application: TestApplication) {
    while let socket = application.accept() {
      if isEnding {
        socket.close(reset: true)
        continue
      }
      if features.contains(.handBack), random.chance(0.3), socket.unread == 0 || random.chance(0.5)
      {
        handBacks += 1
        socket.handBack()
        continue
      }
      start(socket)
    }
    for traffic in inTurn(of: application) { traffic.step() }
    for service in services where service.client === application { connect(service) }
  }

  /// Who has waited longest for room comes first: few chunks would always be the same connection's.
  private func inTurn(of application: TestApplication) -> [SwarmTraffic] {
    let all = traffic.filter { $0.socket.application === application }
    let waiting = all.filter { $0.waitsSince != nil }
      .sorted { ($0.waitsSince ?? .never) < ($1.waitsSince ?? .never) }
    return waiting + all.filter { $0.waitsSince == nil }
  }

  private func start(_ socket: TestSocket) {
    let plan = services.first { $0.port == socket.port }?.plan
    guard let plan else { preconditionFailure("no service on port \(socket.port)") }
    let new = SwarmTraffic(socket, plan, simulation, seed: random.next())
    new.isHurried = isHealed
    new.onOver = { [unowned self] in
      for service in services where service.current === socket { connect(service) }
    }
    traffic.append(new)
    new.step()
  }

  /// The next connection to a service, when the last one is over.
  private func connect(_ service: SwarmService) {
    guard service.current?.isClosed ?? true, service.opened < service.count else { return }
    guard service.client.hasFreeSlot else {
      // Nobody is woken when slots come back. Running the client asks for this service again.
      guard !service.isWaiting else { return }
      service.isWaiting = true
      simulation.after(.milliseconds(10)) { [unowned self] in
        service.isWaiting = false
        service.client.run()
        connect(service)
      }
      return
    }
    service.opened += 1
    let socket =
      service.isSimultaneous
      ? connectBoth(service)
      : service.client.connect(
        to: simulation.a.address, port: service.port, localPort: service.localPort)
    service.current = socket
    start(socket)
  }

  /// Both sides connect at once. The ports must name the engines that connect.
  private func connectBoth(_ service: SwarmService) -> TestSocket {
    let (server, client) = (servers.first { !$0.isDead } ?? servers[0], service.client)
    let socket = server.connect(
      to: host(of: client).address, port: service.activePort, localPort: service.port,
      serverPort: service.port)
    start(socket)
    return client.connect(
      to: simulation.a.address, port: service.port, localPort: service.activePort)
  }

  func host(of application: TestApplication) -> SimulatedHost {
    simulation.hosts.first { $0.engines.contains { $0 === application.engine } } ?? simulation.b
  }

  // MARK: Time

  /// Lets everything happen; returns what is wrong.
  func run() -> [String] {
    if features.contains(.simultaneousOpen), simulation.hosts.allSatisfy({ $0.engines.count == 1 })
    {
      addSimultaneous()
    }
    makeTrouble()
    schedule()
    for service in services { connect(service) }
    simulation.run(within: trouble, until: isOver)
    var problems = checkAfterTrouble()
    if problems.isEmpty {
      end()
      problems += checkEnd()
    }
    problems = simulation.problems + problems
    simulation.end()
    for application in servers + clients { application.onWake = nil }
    return problems
  }

  private func addSimultaneous() {
    for index in 0..<2 {
      let service = SwarmService(
        port: 50_000 + UInt16(index), plan: SwarmPlan(features, &random), client: clients[0],
        count: 1)
      service.activePort = 50_010 + UInt16(index)
      services.append(service)
    }
  }

  /// Things that happen to applications as a whole.
  private func schedule() {
    if features.contains(.pausedAccept) {
      for server in servers {
        let start = UInt64.random(in: 0...300, using: &random)
        let end = start + UInt64.random(in: 1...3000, using: &random)
        let numbers = (0..<listenerCount).map(UInt32.init)
        simulation.after(.milliseconds(start)) { for n in numbers { server.pause(n, true) } }
        simulation.after(.milliseconds(end)) { for n in numbers { server.pause(n, false) } }
      }
    }
    if features.contains(.applicationDies), let victim = servers.randomElement(using: &random) {
      let ends: [Engine.ApplicationEnd] = [.exit, .killed, .expelled]
      let end = ends.randomElement(using: &random) ?? .killed
      simulation.after(.milliseconds(UInt64.random(in: 1...1000, using: &random))) {
        [unowned self] in
        deaths += 1
        traffic.removeAll { $0.socket.application === victim }
        victim.die(end, now: simulation.now)
      }
    }
  }

  func isOver() -> Bool {
    traffic.allSatisfy(\.isOver)
      && services.allSatisfy { ($0.current?.isClosed ?? false) && $0.opened == $0.count }
  }

  /// Everything that still lives is given up, and what the engines remember of it runs out.
  private func end() {
    isEnding = true
    for service in services { service.opened = service.count }
    for server in servers where !server.isDead {
      while let socket = server.accept() { socket.close(reset: true) }
    }
    for traffic in traffic {
      traffic.onOver = nil
      traffic.socket.close(reset: true)
    }
    simulation.run(for: .seconds(400))
  }
}

/// A client of a server's port: its connections come one after the other, each with the port's plan.
final class SwarmService {
  let port: UInt16
  let plan: SwarmPlan
  let client: TestApplication
  let count: Int
  var opened = 0
  var current: TestSocket?
  /// Its client has no free slot for the next connection.
  var isWaiting = false
  /// The client's port for all of them, so that they meet what is left of those before; 0 for any.
  var localPort: UInt16 = 0
  /// For a simultaneous open, the other port; both are of active opens.
  var activePort: UInt16 = 0

  var isSimultaneous: Bool { activePort != 0 }

  init(port: UInt16, plan: SwarmPlan, client: TestApplication, count: Int) {
    self.port = port
    self.plan = plan
    self.client = client
    self.count = count
  }
}
