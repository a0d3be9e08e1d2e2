#if canImport(Testing)
  import Testing
#endif

@testable import FSStack

/// Hosts A (by custom the server) and B (the client), and more clients if wanted, each joined to A by
/// a link, in virtual time.
///
/// Everything is decided by the seed. Between two moments at which something happens no time is
/// spent: hours of keep-alive take milliseconds. Engines and applications sleep and wake each other
/// by the rules of `ChannelHeader`, so a wake-up that is forgotten hangs a test.
final class Simulation {
  enum Happening {
    case frame([UInt8], host: Int)
    case action(() -> Void)
  }

  private(set) var now = Instant(nanoseconds: 1_000_000_000)
  let start = Instant(nanoseconds: 1_000_000_000)
  private(set) var hosts: [SimulatedHost] = []
  /// Two for each host after A: what A sends to it, and what it sends to A.
  var links: [SimulatedLink]
  /// What stands on the link of each host after A, in the order in which A's frames meet it.
  var middleboxes: [[any Middlebox]]
  let trace: Trace
  /// Loses the frames for which it is true, whatever the link would do.
  var loses: ((_ sender: String, _ segment: Segment) -> Bool)?
  /// Steps, or bursts, without progress of time after which the engines are thought to run in a circle.
  private static let patience = 10_000
  /// The engines never sleep: there is no use in going on.
  private var isRestless = false
  var happenings = EventQueue<Happening>()
  /// By host.
  var observers: [SegmentObserver] = []
  /// What invariants and observers have found; the first of it is an issue at once unless the test
  /// looks for itself.
  private(set) var problems: [String] = []
  var reportsProblems = true
  /// What the trace said when the first of the problems was found.
  var firstProblem: String?

  var a: SimulatedHost { hosts[0] }
  var b: SimulatedHost { hosts[1] }

  init(
    _ conditions: LinkConditions = .perfect, seed: UInt64 = 0, isIPv4: Bool = true,
    engines: (Int, Int) = (1, 1), clients: Int = 1, options: SimulatedHost.Options = .init()
  ) {
    trace = Trace(start: start)
    links = (0..<2 * clients).map { index in
      SimulatedLink(conditions, seed: seed &* 64 &+ UInt64(index))
    }
    middleboxes = Array(repeating: [], count: clients)
    for index in 0...clients {
      let letter = Character(UnicodeScalar(UInt8(65 + index)))
      hosts.append(
        SimulatedHost(
          name: String(letter), number: UInt8(1 + index), isIPv4: isIPv4,
          engineCount: index == 0 ? engines.0 : engines.1, now: start, options: options))
    }
    observers = hosts.map { SegmentObserver(host: $0, mtu: options.mtu) }
    for client in hosts.dropFirst() {
      connect(a, to: client, mtu: options.mtu)
      connect(client, to: a, mtu: options.mtu)
    }
  }

  private func connect(_ host: SimulatedHost, to other: SimulatedHost, mtu: Int) {
    for engine in host.engines {
      engine.engine.setPath(
        PathConfiguration(
          destination: other.address, interface: 0, source: host.address,
          nextHop: other.macAddress, mtu: mtu))
    }
  }

  /// Lets go of the closures, which hold what holds them.
  func end() {
    loses = nil
    happenings = EventQueue()
    middleboxes = middleboxes.map { _ in [] }
    for engine in hosts.flatMap(\.engines) {
      for application in engine.applications.values { application.onWake = nil }
    }
  }

  // MARK: Time

  /// Lets a span of time pass.
  func run(for span: Interval) { _ = run(within: span) { false } }

  /// Lets time pass until `condition`, which is looked at whenever something has happened; false if
  /// that takes longer than `limit`.
  @discardableResult
  func run(within limit: Interval, until condition: () -> Bool) -> Bool {
    let end = now + limit
    var steps = 0
    while true {
      settle()
      if condition() { return true }
      guard !isRestless else { return false }
      var next = happenings.nextTime ?? .never
      for host in hosts {
        for engine in host.engines {
          guard let deadline = engine.engine.nextDeadline() else { continue }
          next = min(next, max(deadline, now))
        }
      }
      guard next <= end else {
        now = end
        return false
      }
      steps = next == now ? steps + 1 : 0
      guard steps < Self.patience else {
        note(["the engines run in a circle"], 0)
        return false
      }
      now = next
      for engine in hosts.flatMap(\.engines) where (engine.engine.nextDeadline() ?? .never) <= now {
        engine.isDue = true
      }
      while let happening = happenings.popFirst(by: now) { perform(happening) }
    }
  }

  /// Calls `body` after a while.
  func after(_ delay: Interval, _ body: @escaping () -> Void) {
    happenings.insert(.action(body), at: now + delay)
  }

  private func perform(_ happening: Happening) {
    switch happening {
    case .action(let body):
      body()
    case .frame(let frame, let index):
      let host = hosts[index]
      guard !host.engines.isEmpty else {
        host.received.append(frame)
        return
      }
      guard let queue = host.queue(frame) else { return }
      let engine = host.engines[queue % host.engines.count]
      engine.inbox.append(frame)
      engine.isDue = true
    }
  }

  /// Milliseconds since the beginning.
  var milliseconds: Double { Double((now - start).nanoseconds) / 1_000_000 }

  // MARK: Engines

  /// Runs engines and woken applications until all sleep.
  private func settle() {
    var isBusy = true
    var rounds = 0
    while isBusy {
      isBusy = false
      rounds += 1
      guard rounds < Self.patience else {
        note(["the engines never sleep"], 0)
        isRestless = true
        return
      }
      for (index, host) in hosts.enumerated() {
        for engine in host.engines where engine.isDue {
          isBusy = true
          burst(engine, of: index)
        }
      }
    }
  }

  /// One round of the engine's loop, in the order of the daemon.
  private func burst(_ engine: SimulatedEngine, of host: Int) {
    engine.isDue = false
    engine.inside { $0.endSleep() }
    let isPlain = (engine.engine.nextDeadline() ?? .never) > now && engine.engine.output.isEmpty
    let received = receive(engine, of: host)
    let now = now
    engine.inside { _ = $0.receiveLoopback(now: now) }
    let commands = engine.inside { $0.serviceChannels(now: now) }
    engine.inside { $0.advance(to: now) }
    // Who waited for a slot gets one, and acknowledges what has come meanwhile.
    let hasNewRoom = engine.engine.hasNewRoom
    engine.inside { $0.finishBurst(now: now) }
    let frames = engine.takeFrames()
    let isCalled = engine.isControlled
    engine.isControlled = false
    send(frames, from: host)
    note(
      observers[host].burst(
        received: received, sent: frames,
        hasOtherCause: !isPlain || commands > 0 || isCalled || hasNewRoom),
      host)
    note(engine.invariants.check(engine.engine, now: now), host)
    engine.engine.drainViolations { engine.violations.append(($0, $1)) }
    engine.engine.drainPathRequests { hosts[host].pathRequests.append($0) }
    var woken: [TestApplication] = []
    engine.engine.drainWakeups { if let app = engine.applications[$0] { woken.append(app) } }
    for application in woken { application.wake(in: self) }
    var released: [ChannelID] = []
    engine.engine.drainReleasedChannels { released.append($0) }
    for channel in released {
      engine.applications[channel]?.isReleased = true
      engine.engine.freeChannel(channel)
    }
    // Frames come back from the kernel at once, and who waits for one gets it in the next burst.
    if !engine.inside({ $0.prepareSleep() }) || !engine.engine.output.isEmpty
      || engine.engine.loopbackPending > 0
    {
      engine.isDue = true
    }
  }

  private func note(_ found: [String], _ host: Int) {
    guard !found.isEmpty else { return }
    if problems.isEmpty, reportsProblems {
      #if canImport(Testing)
        Issue.record("at \(milliseconds) ms, \(hosts[host].name): \(found)\(trace)")
      #endif
    }
    if problems.isEmpty { firstProblem = trace.description }
    problems += found.map { "at \(milliseconds) ms, \(hosts[host].name): \($0)" }
  }

  /// Gives an engine its frames; returns those that it has kept.
  private func receive(_ engine: SimulatedEngine, of host: Int) -> [[UInt8]] {
    let frames = engine.inbox
    engine.inbox.removeAll()
    var kept: [[UInt8]] = []
    for frame in frames {
      frame.withUnsafeBytes { bytes in engine.inside { $0.announce(bytes) } }
    }
    for frame in frames {
      let now = now
      let verdict = frame.withUnsafeBytes { bytes in
        engine.inside { $0.receive(bytes, interface: 0, now: now) }
      }
      if case .handOver(let other) = verdict {
        hosts[host].engines[other].handedOver.append(frame)
        hosts[host].engines[other].isDue = true
      } else {
        kept.append(frame)
      }
    }
    let handedOver = engine.handedOver
    engine.handedOver.removeAll()
    for frame in handedOver {
      let now = now
      frame.withUnsafeBytes { bytes in
        engine.inside { $0.receiveHandedOver(bytes, interface: 0, now: now) }
      }
    }
    return kept + handedOver
  }

  /// What is wrong when everything should be over: things that were not given back, and what
  /// applications have complained about.
  func leftovers() -> [String] {
    hosts.flatMap { host in host.engines.flatMap { leftovers($0, host.name) } }
  }

  private func leftovers(_ engine: SimulatedEngine, _ name: String) -> [String] {
    // Nobody is woken for chunks and slots that come back.
    for application in engine.applications.values { application.run() }
    settle()
    let statistics = engine.engine.statistics()
    var found: [String] = []
    for (state, count) in statistics.connections
    where count > 0 && state != .timeWait && state != .listen {
      found.append("\(name): \(count) in \(state)")
    }
    let fillings = [
      ("receive chunks", statistics.receiveChunksInUse),
      ("send chunks", statistics.sendChunksInUse),
      ("reassembly segments", statistics.reassemblySegments),
      ("transmit records", statistics.transmitRecords),
      ("transmit frames", engine.frameCount - statistics.freeTransmitFrames[0]),
    ]
    found += fillings.filter { $0.1 != 0 }.map { "\(name): \($0.1) \($0.0) in use" }
    found += engine.violations.map { "\(name): \($0.1)" }
    return found + engine.applications.values.flatMap { $0.leftovers().map { "\(name): " + $0 } }
  }
}
