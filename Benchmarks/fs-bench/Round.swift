import Foundation
import Laboratory

/// One program on one carrier, measured.
struct Round {
  private static let warmUpSeconds = 1.0
  /// Connections at most where requests are due at fixed moments.
  private static let fixedRateConnections = 1024
  /// A generator at a fixed rate looks for work all the time: what it measures is then not how long its
  /// core takes to wake.
  private static let fixedRateSpin = 1_000_000
  /// Above this load of its core, the client is what is measured.
  private static let clientLimit = 0.95
  /// Of an offered rate so much has to be served. Of a Poisson process a few per cent less may be due.
  private static let servedShare = 0.95

  let testbed: Testbed
  let scenario: Scenario
  let carrier: Carrier
  let options: BenchmarkOptions
  let server: Server

  /// Measures as many operations as the server can do, or `rate` per second.
  func measure(rate: Double = 0) throws -> Measurement {
    guard let kind = scenario.kind else { return try transferByKernel() }
    let hosts = [testbed.client, testbed.server]
    let countersBefore = try hosts.map { try $0.kernelCounters() }
    let statisticsBefore = try testbed.server.daemon?.statistics()
    var memory = scenario.idle > 0 ? try testbed.server.memoryUse() : 0
    let report = try testbed.clientEnd.generateLoad(
      order(kind, rate: rate, seconds: options.seconds), receivesOnCore: testbed.tier == .wire,
      whileMeasuring: scenario.idle > 0
        ? { memory = try testbed.server.memoryUse() - memory } : nil)
    var measurement = evaluate(report, offered: rate)
    if scenario.idle > 0 {
      measurement.idleMemory = Double(memory) / Double(scenario.idle + scenario.connections)
    }
    var faults = Faults()
    faults.add(report, ofProxy: scenario.program.isProxy)
    for (host, before) in zip(hosts, countersBefore) {
      faults.add(try host.kernelCounters().since(before), on: host.label)
    }
    if let before = statisticsBefore, let after = try testbed.server.daemon?.statistics() {
      try faults.add(before, after)
      measurement.daemon = try Self.perOperation(before, after, report)
    }
    let operations = Double(report.totalAnswers)
    faults.close(operations: operations)
    measurement.faults += faults.list
    measurement.sentAgain = faults.sentAgain(of: operations)
    return measurement
  }

  /// Counts what the kernel does on the server's core, per operation, in a run of its own.
  func countEvents() throws -> [String: Double] {
    let events = try KernelEvents(onCore: Testbed.serverCore, testbed.laboratory)
    let before = events.counts
    let operations: Double
    if let kind = scenario.kind {
      let report = try testbed.clientEnd.generateLoad(
        order(kind, rate: 0, seconds: 1), receivesOnCore: testbed.tier == .wire)
      operations = Double(report.totalAnswers)
    } else {
      operations = try transfer(seconds: 1).megabytes
    }
    let after = events.counts
    return after.reduce(into: [:]) { result, event in
      result[event.key] = Double(event.value - (before[event.key] ?? 0)) / max(operations, 1)
    }
  }

  private func order(_ kind: LoadKind, rate: Double, seconds: Double) -> LoadOrder {
    var order = LoadOrder(
      interface: testbed.clientEnd.interface,
      target: "\(testbed.serverEnd.address4):\(server.port)", kind: kind)
    order.connections =
      rate > 0 && scenario.isShort ? Self.fixedRateConnections : scenario.connections
    order.idle = scenario.idle
    order.pipeline = scenario.pipeline
    order.seconds = seconds
    order.warmUp = Self.warmUpSeconds
    order.rate = rate
    order.size = Scenario.size
    order.path = scenario.path
    if scenario.program.isProxy { order.backendPort = Scenario.backendPort }
    order.core = Testbed.clientCore
    if rate > 0 { order.spinMicroseconds = Self.fixedRateSpin }
    return order
  }

  private func evaluate(_ report: LoadReport, offered: Double) -> Measurement {
    var result = Measurement(scenario: scenario.name, tier: testbed.tier, carrier: carrier)
    let operations = max(Double(report.answers), 1)
    var busy = report.busy
    busy[Testbed.clientCore] = max(0, busy[Testbed.clientCore] - report.idleSeconds)
    result.offered = offered
    result.rate = report.rate
    note(
      busy: busy, stolen: report.stolen.reduce(0, +), operations: operations,
      seconds: report.seconds, in: &result)
    result.latency = report.latency
    result.packetsToServer = Double(report.counters["framesSent"] ?? 0) / operations
    result.packetsFromServer = Double(report.counters["framesReceived"] ?? 0) / operations
    result.generatorLoad = report.load
    if testbed.tier == .wire, offered == 0, result.clientLoad > Self.clientLimit {
      result.faults.append(String(format: "client %.0f %% busy", result.clientLoad * 100))
    }
    if result.rate < offered * Self.servedShare {
      result.faults.append(String(format: "%.0f of %.0f served", result.rate, offered))
    }
    return result
  }

  /// What the processors have done: their busy seconds, and those of all that the hypervisor gave to others,
  /// of `seconds` in which there were so many operations.
  func note(
    busy: [Double], stolen: Double, operations: Double, seconds: Double,
    in result: inout Measurement
  ) {
    let cost = 1e6 / operations
    result.machineCost = busy.reduce(0, +) * cost
    result.serverCost = busy[Testbed.serverCore] * cost
    result.clientCost = busy[Testbed.clientCore] * cost
    result.serverLoad = busy[Testbed.serverCore] / seconds
    result.clientLoad = busy[Testbed.clientCore] / seconds
    result.stolen = stolen / seconds / Double(busy.count)
    if result.stolen > options.maximumSteal {
      result.faults.append(String(format: "stolen %.1f %%", result.stolen * 100))
    }
  }

  /// What the daemon has done per operation, warm-up included on both sides.
  private static func perOperation(
    _ before: DaemonStatistics, _ after: DaemonStatistics, _ report: LoadReport
  ) throws -> [String: Double] {
    let names = [
      "kicks", "wake_ups", "sleeps", "rounds", "commands", "events", "pure_acknowledgements",
    ]
    guard report.totalAnswers > 0 else { return [:] }
    return try names.reduce(into: [:]) { result, name in
      result[name] = try Double(after.sum(name) - before.sum(name)) / Double(report.totalAnswers)
    }
  }
}
