import CLaboratory
import Foundation
import Laboratory

/// Real programs over virtual links, with one engine and with two. The queue on which a packet arrives follows
/// nothing there, so with two engines half of the packets are handed over; client, engines and workers share
/// this machine's processors. What is shown is that everything is right, and what it costs.
enum LinkScaling {
  private static let seconds = 3.0
  private static let rounds = 3
  private static let connections = 64

  private enum Program: String, CaseIterable {
    case nginx
    case haproxy = "HAProxy"
  }

  /// One measurement.
  private struct Outcome {
    var rate = 0.0
    var handedOver = 0
    var received = 0
  }

  static func measure() throws -> String {
    var rows = [
      [
        "", "Engines", "Kernel, per second", "fsd, per second", "fsd / kernel",
        "Packets handed over",
      ]
    ]
    for program in Program.allCases {
      for isShort in [true, false] {
        for engines in [1, 2] {
          let name = "\(program.rawValue), \(isShort ? "short connections" : "keep-alive")"
          print("veth: \(name), \(engines) engines")
          var (kernel, fsd): ([Outcome], [Outcome]) = ([], [])
          for _ in 0..<rounds {
            kernel.append(try run(program, isShort, engines, usesKernel: true))
            fsd.append(try run(program, isShort, engines, usesKernel: false))
          }
          let (before, after) = (
            median(kernel.map(\.rate)), median(fsd.map(\.rate))
          )
          let handedOver = fsd.reduce(0) { $0 + $1.handedOver }
          let received = fsd.reduce(0) { $0 + $1.received }
          rows.append([
            name, "\(engines)", grouped(before), grouped(after),
            ScalingReport.fixed(after / before),
            grouped(Double(handedOver)) + " of "
              + grouped(Double(received)),
          ])
        }
      }
    }
    return """
      \(ScalingReport.table(rows))

      As many workers (threads of HAProxy) as engines, \(connections) connections, 64-byte responses, each compared;
      medians of \(rounds) rounds of \(ScalingReport.fixed(seconds, 0)) s each, kernel and fsd in turn. Every request
      was answered as it should be; for nginx no engine sent a RST (HAProxy itself resets connections to its servers).
      """
  }

  private static func run(
    _ program: Program, _ isShort: Bool, _ engines: Int, usesKernel: Bool
  ) throws -> Outcome {
    let laboratory = try Laboratory(usesKernel: usesKernel)
    defer { laboratory.tearDown() }
    let client = try laboratory.host("client")
    let server = try laboratory.host("server")
    let backend = try laboratory.host("backend")
    let options = LinkOptions(queues: engines, segmentationOffload: false)
    let (clientEnd, front) = try laboratory.link(
      client, "eth0", server, "front", subnet: 1, options: options)
    let (back, backendEnd) = try laboratory.link(
      server, "back", backend, "eth0", subnet: 2, options: options)
    try server.startDaemon(interfaces: [front.interface, back.interface])
    var pages = NginxOptions(workers: engines)
    let served: Server
    switch program {
    case .nginx:
      served = try server.startNginx(pages, preloaded: true)
    case .haproxy:
      pages.workers = 1
      let behind = try backend.startNginx(pages, preloaded: false)
      served = try server.startHAProxy(
        HAProxyOptions(
          threads: engines, backend: "\(backendEnd.address4):\(behind.port)",
          reusesConnections: !isShort), preloaded: true)
    }
    try served.waitForAcceleration()
    let sources = try clientEnd.addSourceAddresses(8)
    let plan = LoadPlan(
      address: front.address4, port: served.port, shortConnections: isShort,
      concurrency: connections, seconds: seconds, sources: sources,
      expectedBody: Array(pages.text.utf8))
    let result = try client.perform {
      var load = try LoadClient(plan)
      return load.run()
    }
    return try outcome(program, result, server.daemon?.statistics())
  }

  private static func outcome(
    _ program: Program, _ result: LoadResult, _ statistics: DaemonStatistics?
  ) throws -> Outcome {
    guard result.isClean else {
      throw LaboratoryError(
        "\(result.wrongResponses) wrong, \(result.failures) failed: \(result.firstFailure ?? "")")
    }
    var outcome = Outcome(rate: result.rate)
    guard let statistics else { return outcome }
    outcome.handedOver = try statistics.sum("handed_over")
    outcome.received = try statistics.sum("frames_received")
    // HAProxy itself resets connections to its servers, also on the kernel.
    guard try statistics.sum("taken_over") == statistics.sum("steered_remote"),
      try program == .haproxy || statistics.sum("resets_sent") == 0
    else { throw LaboratoryError("\(statistics)") }
    return outcome
  }
}
