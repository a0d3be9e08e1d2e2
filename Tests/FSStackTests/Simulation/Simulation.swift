import Testing

@testable import FSStack

/// Hosts A (by custom the server) and B (the client) joined by a link, in virtual time.
///
/// Everything is decided by the seed. Between two moments at which something happens no time is
/// spent: hours of keep-alive take milliseconds. Engines and applications sleep and wake each other
/// by the rules of `ChannelHeader`, so a wake-up that is forgotten hangs a test.
final class Simulation {
  private enum Happening {
    case frame([UInt8], host: Int)
    case action(() -> Void)
  }

  private(set) var now = Instant(nanoseconds: 1_000_000_000)
  let start = Instant(nanoseconds: 1_000_000_000)
  private(set) var hosts: [SimulatedHost] = []
  /// By the sending host.
  var links: [SimulatedLink]
  let trace: Trace
  /// Loses the frames for which it is true, whatever the link would do.
  var loses: ((_ sender: String, _ segment: Segment) -> Bool)?
  /// Steps without progress of time after which the engines are thought to run in a circle.
  private static let patience = 10_000
  private var happenings = EventQueue<Happening>()
  /// By host.
  var observers: [SegmentObserver] = []
  /// What invariants and observers have found; the first of it is an issue at once unless the test
  /// looks for itself.
  private(set) var problems: [String] = []
  var reportsProblems = true

  var a: SimulatedHost { hosts[0] }
  var b: SimulatedHost { hosts[1] }

  init(
    _ conditions: LinkConditions = .perfect, seed: UInt64 = 0, isIPv4: Bool = true,
    engines: (Int, Int) = (1, 1), options: SimulatedHost.Options = .init()
  ) {
    trace = Trace(start: start)
    links = [
      SimulatedLink(conditions, seed: seed &* 2 &+ 1),
      SimulatedLink(conditions, seed: seed &* 2 &+ 2),
    ]
    hosts = [("A", UInt8(1), engines.0), ("B", 2, engines.1)].map { name, number, count in
      SimulatedHost(
        name: name, number: number, isIPv4: isIPv4, engineCount: count, now: start,
        options: options)
    }
    observers = hosts.map { SegmentObserver(host: $0, mtu: options.mtu) }
    for (host, other) in [(a, b), (b, a)] {
      for engine in host.engines {
        engine.engine.setPath(
          PathConfiguration(
            destination: other.address, interface: 0, source: host.address,
            nextHop: other.macAddress, mtu: options.mtu))
      }
    }
  }

  /// Lets go of the closures, which hold what holds them.
  func end() {
    loses = nil
    happenings = EventQueue()
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
        Issue.record("no progress at \((now - start).nanoseconds) ns\(trace)")
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
      let engine = host.engines[host.queue(frame) % host.engines.count]
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
    while isBusy {
      isBusy = false
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
    engine.engine.endSleep()
    let isPlain = (engine.engine.nextDeadline() ?? .never) > now && engine.engine.output.isEmpty
    let received = receive(engine, of: host)
    let commands = engine.engine.serviceChannels(now: now)
    engine.engine.advance(to: now)
    engine.engine.finishBurst(now: now)
    let frames = engine.takeFrames()
    let isCalled = engine.isControlled
    engine.isControlled = false
    for frame in frames { send(frame, from: host) }
    note(
      observers[host].burst(
        received: received, sent: frames, hasOtherCause: !isPlain || commands > 0 || isCalled),
      host)
    note(engine.invariants.check(engine.engine, now: now), host)
    engine.engine.drainViolations { engine.violations.append(($0, $1)) }
    engine.engine.drainPathRequests { hosts[host].pathRequests.append($0) }
    var woken: [TestApplication] = []
    engine.engine.drainWakeups { if let app = engine.applications[$0] { woken.append(app) } }
    for application in woken { application.wake(in: self) }
    engine.engine.drainReleasedChannels { engine.applications[$0]?.isReleased = true }
    if !engine.engine.prepareSleep() { engine.isDue = true }
  }

  private func note(_ found: [String], _ host: Int) {
    guard !found.isEmpty else { return }
    if problems.isEmpty, reportsProblems {
      Issue.record("at \(milliseconds) ms, \(hosts[host].name): \(found)\(trace)")
    }
    problems += found.map { "at \(milliseconds) ms, \(hosts[host].name): \($0)" }
  }

  /// Gives an engine its frames; returns those that it has kept.
  private func receive(_ engine: SimulatedEngine, of host: Int) -> [[UInt8]] {
    let frames = engine.inbox
    engine.inbox.removeAll()
    var kept: [[UInt8]] = []
    for frame in frames {
      let verdict = frame.withUnsafeBytes {
        engine.engine.receive($0, interface: 0, now: now)
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
      frame.withUnsafeBytes { engine.engine.receiveHandedOver($0, interface: 0, now: now) }
    }
    return kept + handedOver
  }

  /// Puts a frame on the link.
  func send(_ frame: [UInt8], from sender: Int) {
    var segment = Segment()
    let result = frame.withUnsafeBytes { segment.parse($0, acceptPartialChecksum: false) }
    if let loses, result == .segment, loses(hosts[sender].name, segment) {
      trace.record(frame, from: hosts[sender].name, at: now, notes: ["lost on purpose"])
      return
    }
    let fate = links[sender].carry(frame, now: now)
    trace.record(frame, from: hosts[sender].name, at: now, notes: fate.notes)
    for (time, copy) in fate.arrivals {
      happenings.insert(.frame(copy, host: 1 - sender), at: time)
    }
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
      ("transmit frames", SimulatedEngine.frameCount - statistics.freeTransmitFrames[0]),
    ]
    found += fillings.filter { $0.1 != 0 }.map { "\(name): \($0.1) \($0.0) in use" }
    found += engine.violations.map { "\(name): \($0.1)" }
    return found + engine.applications.values.flatMap { $0.leftovers().map { "\(name): " + $0 } }
  }
}
