import CLaboratory
import Foundation
import Laboratory

/// The hosts of the benchmark. The server's side runs on core 0, the client's on core 1.
struct Benchmark {
  private let options: BenchmarkOptions
  private let laboratory: Laboratory
  private let client: NetworkHost
  private let server: NetworkHost
  private let clientEnd: LinkEnd
  private let serverEnd: LinkEnd
  private let sources: [String]

  private static let serverCore = 0
  private static let clientCore = 1
  private static let warmUpSeconds = 0.7

  /// Makes the hosts and the link between them: each packet is what it would be on a wire.
  init(_ options: BenchmarkOptions) throws {
    guard ProcessInfo.processInfo.processorCount >= 2 else {
      throw LaboratoryError("the benchmark needs two cores")
    }
    self.options = options
    laboratory = try Laboratory()
    client = try laboratory.host("client")
    server = try laboratory.host("server")
    (clientEnd, serverEnd) = try laboratory.link(
      client, "eth0", server, "fsbench0", subnet: 1,
      options: LinkOptions(segmentationOffload: false))
    sources = try clientEnd.addSourceAddresses(15)
    // Otherwise the sender's core would do the client's receive work, and pay for it.
    try clientEnd.receive(onCore: Self.clientCore)
  }

  /// Runs the rounds in the order kernel, fsd, fsd, kernel, and so on; a void round is repeated.
  func run() throws -> Report {
    var measurements: [Measurement] = []
    var repetitions = options.pairs
    var position = 0
    while position < options.pairs * 2 {
      let isKernel = position % 4 == 0 || position % 4 == 3
      let carrier: Carrier = isKernel ? .kernel : .fsd
      let round = try runRound(carrier)
      for measurement in round { print(Report.line(measurement)) }
      measurements += round
      let isVoid = round.contains { !$0.faults.isEmpty }
      if isVoid && repetitions > 0 {
        repetitions -= 1
      } else {
        position += 1
      }
    }
    return Report(options: options, measurements: measurements)
  }

  private func runRound(_ carrier: Carrier) throws -> [Measurement] {
    if carrier == .fsd {
      try server.startDaemon(
        interfaces: [serverEnd.interface], cores: String(Self.serverCore))
      if options.receiveOnServerCore && server.daemon != nil {
        try serverEnd.receiveByThread(onCore: Self.serverCore)
      }
    } else {
      try serverEnd.receive(onCore: Self.serverCore)
    }
    // Ports of their own: what the kernel remembers of its connections (TIME-WAIT) stays its own.
    let nginx = try server.startNginx(
      NginxOptions(port: carrier == .fsd ? 80 : 8_080, core: Self.serverCore),
      preloaded: carrier == .fsd)
    try nginx.waitForAcceleration()
    let measurements = try Workload.allCases.map { try measure($0, carrier, nginx) }
    nginx.stop()
    try server.daemon?.stop()
    return measurements
  }

  private func measure(
    _ workload: Workload, _ carrier: Carrier, _ nginx: Server
  ) throws -> Measurement {
    _ = try load(workload, nginx, seconds: Self.warmUpSeconds)
    let countersBefore = try [client, server].map { try $0.kernelCounters() }
    let statisticsBefore = try server.daemon?.statistics()
    let timeBefore = try MachineTime.read()
    let result = try load(workload, nginx, seconds: options.seconds)
    let time = try MachineTime.read().since(timeBefore)
    var faults: [String] = []
    if !result.isClean {
      faults.append(
        "\(result.wrongResponses) wrong, \(result.failures) failed: \(result.firstFailure ?? "")")
    }
    for (host, before) in zip([client, server], countersBefore) {
      faults += try Self.faults(of: host.kernelCounters().since(before), on: host.label)
    }
    if let before = statisticsBefore, let after = try server.daemon?.statistics() {
      faults += Self.faults(before, after)
    }
    let microseconds = 1e6 / Double(max(1, result.requests))
    return Measurement(
      carrier: carrier, workload: workload, rate: result.rate,
      machineMicroseconds: time.totalBusy * microseconds,
      serverMicroseconds: time.busy[Self.serverCore] * microseconds,
      clientMicroseconds: time.busy[Self.clientCore] * microseconds,
      median: Double(result.latency.percentile(0.5)) / 1e3,
      percentile99: Double(result.latency.percentile(0.99)) / 1e3,
      stolen: time.totalStolen / (result.seconds * Double(time.busy.count)),
      clientLoad: time.busy[Self.clientCore] / result.seconds, faults: faults)
  }

  private func load(_ workload: Workload, _ nginx: Server, seconds: Double) throws -> LoadResult {
    let plan = LoadPlan(
      address: serverEnd.address4, port: nginx.port,
      shortConnections: workload == .shortConnections, concurrency: options.connections,
      seconds: seconds, sources: sources, expectedBody: Array(NginxOptions().text.utf8))
    return try client.perform {
      lab_pin_to_core(Int32(Self.clientCore))
      var load = try LoadClient(plan)
      return load.run()
    }
  }

  /// What must not have happened in a round that counts.
  private static func faults(of counters: KernelCounters, on host: String) -> [String] {
    let names = [
      "RetransSegs", "InCsumErrors", "ListenOverflows", "ListenDrops", "TCPTimeWaitOverflow",
      "AttemptFails",
    ]
    return names.filter { counters[$0] > 0 }.map { "\(host): \($0) \(counters[$0])" }
  }

  private static func faults(
    _ before: DaemonStatistics, _ after: DaemonStatistics
  ) -> [String] {
    let names = [
      "retransmissions", "listen_queue_full", "transmit_queue_full", "no_receive_chunk",
      "receive_dropped", "receive_ring_full", "fill_ring_empty", "kick_dropped", "kick_failed",
    ]
    return names.compactMap { name in
      let count = after.sum(name) - before.sum(name)
      return count > 0 ? "fsd: \(name) \(count)" : nil
    }
  }
}
