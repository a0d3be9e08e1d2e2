import FSDevice
import FSStack
import Foundation
import Laboratory

/// The engine, its socket and the application on it, in one thread.
struct LoadRun: ~Copyable {
  private enum Stage {
    /// Connections are opened.
    case opening
    case warmingUp
    case measuring
    /// Requests that were due in time are still answered.
    case draining
    /// What the server says last is still heard: the kernel would answer it with a reset.
    case lingering
  }

  private let order: LoadOrder
  private let device: ClientDevice
  private var engine: Engine
  private let queue: TransmitQueue
  private var application: Application
  private var stage = Stage.opening
  private var stageEnds: UInt64
  private var first: Snapshot
  private var start: Snapshot
  private var report = LoadReport()
  private var workNanoseconds: UInt64 = 0
  private var sleeps: UInt64 = 0
  private var mustTransmitSoon = false

  private static let burst = 64
  private static let openingSeconds = 30.0
  private static let drainSeconds = 1.0
  private static let lingerSeconds = 0.05
  private static let resettingNanoseconds: UInt64 = 2_000_000_000
  /// Microseconds between two bursts of resets.
  private static let resetInterval: UInt32 = 1_000
  private static let backlog = 4096

  /// Does what is ordered.
  static func perform(_ order: LoadOrder) throws -> LoadReport {
    let (destination, port) = try parse(order.target)
    let device = try ClientDevice(order.interface, destination: destination)
    defer { device.close() }
    if let port = order.backendPort { try device.take(port: UInt16(port)) }
    var run = LoadRun(order, device, destination, port)
    return try run.run()
  }

  private static func parse(_ target: String) throws -> (IPAddress, UInt16) {
    guard let colon = target.lastIndex(of: ":"),
      let port = UInt16(target[target.index(after: colon)...]),
      let address = IPAddress(
        target[..<colon].trimmingCharacters(in: CharacterSet(charactersIn: "[]")))
    else { throw LaboratoryError("not an address with a port: \(target)") }
    return (address, port)
  }

  private init(
    _ order: LoadOrder, _ device: ClientDevice, _ destination: IPAddress, _ port: UInt16
  ) {
    self.order = order
    self.device = device
    // The same in every run: a server that still has a connection of the last run in TIME-WAIT tells
    // the new one from it by its timestamps, which go on.
    var configuration = EngineConfiguration(
      engineIndex: 0, engineCount: 1, secret: (0x6673_6c6f_6164, 1, 2, 3))
    configuration.activePorts = ClientDevice.ports
    let now = MonotonicTime.nanoseconds
    engine = Engine(configuration: configuration, now: Instant(nanoseconds: now))
    let socket = device.socket
    unsafe queue = TransmitQueue(
      base: socket.base, frameSize: socket.frameSize, frames: socket.transmitFrames)
    let number = engine.addInterface(
      InterfaceConfiguration(
        macAddress: device.interface.macAddress, mtu: device.interface.mtu,
        isVirtual: device.interface.isVirtual, transmit: queue))
    engine.setLocalAddresses(device.addresses.map { (interface: number, address: $0) })
    engine.setPath(device.path)
    application = Application(
      order, destination: destination, port: port, sources: device.addresses)
    let channel = unsafe engine.attachChannel(
      memory: application.channel.memory, geometry: application.channel.geometry)
    if let port = order.backendPort, let channel {
      engine.addListener(
        1, address: .unspecified, port: UInt16(port), ipv6Only: false, backlog: Self.backlog)
      _ = engine.joinListener(1, channel: channel, remote: false, now: Instant(nanoseconds: now))
    }
    stageEnds = now + UInt64(Self.openingSeconds * 1e9)
    first = Snapshot()
    start = first
  }

  deinit { application.deallocate() }

  private mutating func run() throws -> LoadReport {
    first = try snapshot()
    let spin = UInt64(order.spinMicroseconds) * 1000
    var lastWork = MonotonicTime.nanoseconds
    while true {
      let now = MonotonicTime.nanoseconds
      if try advanceStage(now) { break }
      if try round(now) {
        let after = MonotonicTime.nanoseconds
        workNanoseconds += after - now
        lastWork = after
      } else if now - lastWork < spin {
        sched_yield()
      } else {
        sleep(now)
      }
    }
    try end()
    return report
  }

  /// One time round; whether there was anything to do.
  private mutating func round(_ nanoseconds: UInt64) throws -> Bool {
    let now = Instant(nanoseconds: nanoseconds)
    let queue = self.queue
    _ = device.socket.reapCompletions { queue.recycle($0) }
    let frames = receive(now)
    engine.advance(to: now)
    engine.finishBurst(now: now)
    // What has arrived is noticed now, not when the burst began.
    let hadWork = try application.run(frames > 0 ? MonotonicTime.nanoseconds : nanoseconds)
    if engine.serviceChannels(now: now) > 0 { engine.finishBurst(now: now) }
    let sent = transmit()
    try checkViolations()
    return frames > 0 || hadWork || sent > 0
  }

  private mutating func receive(_ now: Instant) -> Int {
    unsafe device.socket.receiveBurst(
      maximum: Self.burst, announce: { unsafe engine.announce($0) }
    ) { frame in
      _ = unsafe engine.receive(frame, interface: 0, now: now)
    }
  }

  private mutating func transmit() -> Int {
    let socket = device.socket
    let before = queue.pendingCount
    if before > 0, socket.hasRoom(for: before) {
      queue.takePending { socket.enqueue($0, length: $1) }
    }
    mustTransmitSoon = socket.needsKick && !socket.kick() || queue.pendingCount > 0
    return before - queue.pendingCount
  }

  private mutating func checkViolations() throws {
    var reason: String?
    engine.drainViolations { reason = "the engine refuses a command: \($1)" }
    if let reason { throw LaboratoryError(reason) }
  }

  private mutating func sleep(_ now: UInt64) {
    var until = min(stageEnds, engine.nextDeadline()?.nanoseconds ?? .max)
    if let due = application.nextDue { until = min(until, due) }
    if mustTransmitSoon { until = min(until, now + 50_000) }
    guard until > now else { return }
    sleeps += 1
    Processor.wait(device.socket.descriptor, nanoseconds: until - now)
  }
}

// The stages.
extension LoadRun {
  /// Goes on to the next stage when it is time. True: it is over.
  private mutating func advanceStage(_ now: UInt64) throws -> Bool {
    switch stage {
    case .opening:
      if application.isComplete {
        if order.rate > 0 { application.arrivals = Arrivals(rate: order.rate, from: now) }
        enter(.warmingUp, now, seconds: order.warmUp)
      } else if now >= stageEnds {
        throw LaboratoryError(
          "not all connections are there after \(Self.openingSeconds) s: "
            + "\(application.idleCount) idle, \(application.activeCount) others, "
            + "\(application.tally.failures) failures: \(application.tally.firstFailure ?? "")")
      }
    case .warmingUp where now >= stageEnds:
      FileHandle.standardError.write(Data("\(LinkEnd.measuringNotice)\n".utf8))
      start = try snapshot()
      application.tally.begin = start.time
      application.tally.end = start.time + UInt64(order.seconds * 1e9)
      enter(.measuring, start.time, seconds: order.seconds)
    case .measuring where now >= stageEnds:
      let end = try snapshot()
      end.fill(&report, since: start)
      application.isOver = true
      report.open = UInt64(application.activeCount + application.idleCount)
      // Without it the server would be left with half-open connections, and send again.
      enter(.draining, now, seconds: Self.drainSeconds)
    case .draining:
      if now >= stageEnds || application.isDrained {
        if order.rate > 0 { report.unanswered = UInt64(application.countUnanswered()) }
        enter(.lingering, now, seconds: Self.lingerSeconds)
      }
    case .lingering:
      return now >= stageEnds
    case .warmingUp, .measuring:
      break
    }
    return false
  }

  private mutating func enter(_ next: Stage, _ now: UInt64, seconds: Double) {
    stage = next
    stageEnds = now + UInt64(seconds * 1e9)
  }

  /// Resets what is left, so that the server has done with it, and completes the report.
  private mutating func end() throws {
    let last = try snapshot()
    report.totalCounters = last.counters(since: first)
    let tally = application.tally
    report.totalAnswers = tally.answers
    report.totalOpened = tally.opened
    report.wrong = tally.wrong
    report.failures = tally.failures
    report.firstFailure = tally.firstFailure
    report.latency = LatencySummary(tally.latency)
    resetConnections()
  }

  /// A burst at a time, with time between them in which any server has room for the next: a reset that is lost
  /// leaves it with a connection.
  private mutating func resetConnections() {
    let queue = self.queue
    let limit = MonotonicTime.nanoseconds + Self.resettingNanoseconds
    repeat {
      _ = device.socket.reapCompletions { queue.recycle($0) }
      if queue.pendingCount == 0, engine.abortConnections(limit: Self.burst) == 0 { return }
      _ = transmit()
      usleep(Self.resetInterval)
    } while MonotonicTime.nanoseconds < limit
  }

  private func snapshot() throws -> Snapshot {
    var snapshot = Snapshot()
    snapshot.machine = try MachineTime.read()
    snapshot.threadSeconds = Processor.threadSeconds
    snapshot.workNanoseconds = workNanoseconds
    snapshot.answers = application.tally.answers
    snapshot.take(engine.statistics())
    snapshot.take(device.socket)
    snapshot.counters["sleeps"] = sleeps
    snapshot.time = MonotonicTime.nanoseconds
    return snapshot
  }
}
