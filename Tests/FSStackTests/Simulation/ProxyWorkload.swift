import FSRing

@testable import FSStack

/// The main job in the model: a client on B, a proxy on A with a worker on each engine, a backend on C.
/// A's frames come through a simulated 82599.
///
/// Each connection: connect, request, the worker connects to the backend and passes the bytes on, the
/// backend answers and closes, the worker closes both.
final class ProxyWorkload {
  /// A client's connection and the worker's to the backend for it.
  private struct Relay {
    var front: TestSocket
    var back: TestSocket
  }

  struct Options {
    var connections = 0
    /// At a time.
    var concurrency = 64
    var requestSize = 300
    var responseSize = 4000
    var ringSize = 512
    var isIPv4 = true
    /// Whether Flow Director's rules are programmed.
    var hasRules = true
    /// What names the engine of the workers' connections to the backend.
    var activeSteering = ActiveSteering.Method.port
    var conditions = LinkConditions.perfect
    var seed: UInt64 = 1
  }

  let options: Options
  let engineCount: Int
  let simulation: Simulation
  let card: SimulatedCard
  /// The same card with the rules for active flows, unless the hash says whose they are, to which nothing
  /// happens: it says where packets belong.
  private let reference: SimulatedCard
  private let client: TestApplication
  private let backend: TestApplication
  private(set) var workers: [TestApplication] = []
  private var clients: [TestSocket] = []
  private var relays: [Relay] = []
  private var served: [TestSocket] = []
  private var opened = 0
  private(set) var done = 0
  private(set) var problems: [String] = []
  /// The clients wait with their requests.
  var isHeld = false
  /// Called when half, and when three quarters, of the connections are over.
  var atHalf: (() -> Void)?
  var atThreeQuarters: (() -> Void)?

  /// Packets that have reached an engine of A.
  struct Arrivals: Equatable {
    var active = 0
    var passive = 0
    /// Of both, those that reached another engine than the owner.
    var misplaced = 0
    /// Of the misplaced ones, those of active flows.
    var misplacedActive = 0
  }
  private(set) var arrivals = Arrivals()

  static let frontPort: UInt16 = 80
  static let backPort: UInt16 = 8080
  private static let geometry = ChannelGeometry(
    commandCapacity: 1024, eventCapacity: 1024, receiveChunkCount: 1024, sendChunkCount: 512,
    slotCount: 1024)

  init(engines: Int, _ options: Options) throws {
    self.options = options
    engineCount = engines
    card = SimulatedCard(queueCount: engines, ringSize: options.ringSize, seed: options.seed)
    reference = SimulatedCard(queueCount: engines, seed: options.seed)
    var hosts = SimulatedHost.Options()
    hosts.maximumConnections = 2048
    hosts.maximumTimeWait = 4096
    hosts.maximumOrphans = 2048
    hosts.receiveSideScaling = card.receiveSideScaling
    hosts.activeSteering = ActiveSteering(
      ipv4: options.activeSteering, ipv6: options.activeSteering)
    simulation = Simulation(
      options.conditions, seed: options.seed, isIPv4: options.isIPv4, engines: (engines, 1),
      clients: 2, options: hosts)
    simulation.trace.limit = 400
    func application(_ engine: SimulatedEngine) -> TestApplication {
      engine.make { TestApplication(on: engine, geometry: Self.geometry) }
    }
    client = application(simulation.b.engines[0])
    backend = application(simulation.hosts[2].engines[0])
    for engine in simulation.a.engines { workers.append(application(engine)) }
    for rule in try FlowDirectorScheme(engineCount: engines).rules() {
      if options.activeSteering == .port { try reference.insert(rule) }
      if options.hasRules { try card.insert(rule) }
    }
    connectCard()
    start()
  }

  private func connectCard() {
    card.attach(to: simulation.a)
    let queue = simulation.a.queue
    simulation.a.queue = { [unowned self] bytes in
      guard let arrived = queue(bytes) else { return nil }
      let isActive = TCPFrame(bytes).map { $0.destinationPort >= 0x8000 } ?? false
      if isActive { arrivals.active += 1 } else { arrivals.passive += 1 }
      if arrived != reference.queue(of: bytes) {
        arrivals.misplaced += 1
        if isActive { arrivals.misplacedActive += 1 }
      }
      return arrived
    }
  }

  private func start() {
    let (now, isIPv4) = (simulation.now, options.isIPv4)
    for worker in workers {
      worker.listen(port: Self.frontPort, backlog: 512, isIPv4: isIPv4, now: now)
      worker.onWake = { [unowned self, unowned worker] in serve(worker) }
    }
    backend.listen(port: Self.backPort, backlog: 512, isIPv4: isIPv4, now: now)
    backend.onWake = { [unowned self] in answer() }
    client.onWake = { [unowned self] in ask() }
  }

  // MARK: Programs

  /// The client: connections one after the other, as many at a time as wanted.
  private func ask() {
    clients.removeAll { socket in
      if let error = socket.error { return fail("client: error \(error)") }
      if socket.isConnected, socket.bytesSent == 0, !isHeld { socket.send(options.requestSize) }
      socket.read()
      guard socket.peerFinished else { return false }
      if socket.bytesReceived != options.responseSize || socket.firstWrongByte != nil {
        return fail(
          "client: \(socket.bytesReceived) bytes, wrong at \(socket.firstWrongByte ?? -1)")
      }
      socket.close()
      finish()
      return true
    }
    while opened < options.connections, clients.count < options.concurrency, client.hasFreeSlot {
      opened += 1
      clients.append(client.connect(to: simulation.a.address, port: Self.frontPort))
    }
  }

  private func finish() {
    done += 1
    if done == options.connections / 2 { atHalf?() }
    if done == options.connections * 3 / 4 { atThreeQuarters?() }
  }

  /// Notes what is wrong with a connection, which is over then.
  private func fail(_ problem: String) -> Bool {
    problems.append(problem)
    done += 1
    return true
  }

  /// A worker: passes on what has come.
  private func serve(_ worker: TestApplication) {
    while let front = worker.accept() {
      let back = worker.connect(to: simulation.hosts[2].address, port: Self.backPort)
      relays.append(Relay(front: front, back: back))
    }
    relays.removeAll { relay in
      guard relay.front.application === worker else { return false }
      for socket in [relay.front, relay.back] {
        if let error = socket.error {
          problems.append("worker: error \(error)")
          relay.front.close(reset: true)
          relay.back.close(reset: true)
          return true
        }
      }
      Self.pass(from: relay.front, to: relay.back)
      Self.pass(from: relay.back, to: relay.front)
      guard relay.back.peerFinished, relay.front.bytesSent == relay.back.bytesReceived else {
        return false
      }
      relay.front.close()
      relay.back.close()
      return true
    }
  }

  private static func pass(from source: TestSocket, to target: TestSocket) {
    source.read()
    guard target.isConnected, source.bytesReceived > target.bytesSent else { return }
    target.send(source.bytesReceived - target.bytesSent)
  }

  /// The backend: answers whole requests, and closes.
  private func answer() {
    while let socket = backend.accept() { served.append(socket) }
    served.removeAll { socket in
      socket.read()
      guard socket.error == nil else { return true }
      guard socket.bytesReceived >= options.requestSize else { return false }
      socket.send(options.responseSize - socket.bytesSent)
      guard socket.bytesSent == options.responseSize else { return false }
      if socket.firstWrongByte != nil { problems.append("backend: wrong bytes") }
      socket.close()
      return true
    }
  }

  // MARK: Time

  /// Lets all connections come and go; what is wrong then is in `problems`.
  func run(within limit: Interval = .seconds(60)) {
    client.run()
    let isOver = simulation.run(within: limit) { done == options.connections }
    if !isOver { problems.append("\(done) of \(options.connections) connections after \(limit)") }
  }

  /// Lets TIME-WAIT pass, and looks for what was not given back.
  func end() {
    simulation.run(for: .seconds(70))
    problems += simulation.leftovers() + simulation.problems
    simulation.end()
  }

  /// Opens all connections, up to the backend, and leaves them there.
  func hold() {
    isHeld = true
    client.run()
    let isOpen = simulation.run(within: .seconds(10)) {
      relays.count == options.connections && relays.allSatisfy { $0.back.isConnected }
    }
    if !isOpen { problems.append("\(relays.count) of \(options.connections) connections open") }
  }

  /// Lets held connections go on.
  func release() {
    isHeld = false
    run()
  }

  // MARK: Figures

  /// The counters of A's engines.
  var counters: [EngineCounters] { simulation.a.engines.map { $0.engine.statistics().counters } }

  /// The sum of a counter over A's engines.
  func total(_ counter: KeyPath<EngineCounters, UInt64>) -> Int {
    counters.reduce(0) { $0 + Int($1[keyPath: counter]) }
  }

  /// RST segments that any host has sent.
  var resets: Int {
    simulation.hosts.flatMap(\.engines).reduce(0) {
      $0 + Int($1.engine.statistics().counters.resetsSent)
    }
  }

  /// Bytes that connections occupy in the tables of A's engines: what was ever in use of them.
  var tableBytes: Int {
    simulation.a.engines.reduce(0) { sum, simulated in
      func bytes<Index, Element>(_ slab: Slab<Index, Element>) -> Int {
        Int(slab.watermark) * (MemoryLayout<Element>.stride + 4)
      }
      let records = simulated.engine.statistics().transmitRecords
      return sum + bytes(simulated.engine.connections) + bytes(simulated.engine.receiveRates)
        + bytes(simulated.engine.pathSearches) + bytes(simulated.engine.recoveries)
        + bytes(simulated.engine.uncommonStates)
        + records * MemoryLayout<TransmitRecord>.stride
    }
  }
}
