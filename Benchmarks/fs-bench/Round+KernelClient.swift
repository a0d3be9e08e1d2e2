import Foundation
import Laboratory

// What a client of the kernel sees.
extension Round {
  /// A bulk transfer to or from a client on the kernel's TCP: over a virtual link that is faster than one on
  /// an AF_XDP socket, which would be the limit.
  func transferByKernel() throws -> Measurement {
    let ((megabytes, seconds), spent, elapsed) = try timed {
      try transfer(seconds: options.seconds)
    }
    var result = Measurement(scenario: scenario.name, tier: testbed.tier, carrier: carrier)
    result.rate = megabytes * 8 / seconds
    note(
      busy: spent.busy, stolen: spent.totalStolen, operations: megabytes, seconds: elapsed,
      in: &result)
    return result
  }

  /// The transfer itself: what was transferred in how long.
  func transfer(seconds: Double) throws -> (megabytes: Double, seconds: Double) {
    let command = [
      testbed.laboratory.artifacts.echo, scenario.program.takesBulk ? "push" : "pull",
      testbed.serverEnd.address4, "\(server.port)", "\(scenario.connections)", "\(seconds)",
    ]
    let text = try testbed.client.run(command, core: Testbed.clientCore)
    let numbers = text.split(whereSeparator: \.isWhitespace).compactMap { Double($0) }
    guard numbers.count == 2, numbers[0] > 0, numbers[1] > 0 else {
      throw LaboratoryError("fs-echo says \(text)")
    }
    return (numbers[0] / 1e6, numbers[1])
  }

  /// The same scenario with the client that everyone knows; nil if there is none.
  func crossCheck() throws -> CrossCheck? {
    let address = testbed.serverEnd.address4
    switch scenario.program {
    case .nginx, .lighttpd:
      guard scenario.idle == 0 else { return nil }
      var command = ["wrk", "-t", "1", "-c", "\(scenario.connections)"]
      command += ["-d", "\(Int(options.seconds.rounded(.up)))s"]
      if scenario.isShort { command += ["-H", "Connection: close"] }
      command.append("http://\(address):\(server.port)\(scenario.path)")
      return try check("wrk", command) { text in
        text.components(separatedBy: "Requests/sec:").dropFirst().first
          .flatMap { $0.split(whereSeparator: \.isWhitespace).first }.flatMap { Double($0) }
      }
    case .redis:
      let name = scenario.kind == .redisGet ? "GET" : "SET"
      let command = [
        "redis-benchmark", "-h", address, "-p", "\(server.port)", "-t", "set,get", "-c",
        "\(scenario.connections)", "-n", "\(100_000 * scenario.pipeline)", "-P",
        "\(scenario.pipeline)", "-d", "\(Scenario.size)", "--csv",
      ]
      return try check("redis-benchmark", command) { text in
        text.split(separator: "\n").first { $0.hasPrefix("\"\(name)\"") }?
          .split(separator: ",").dropFirst().first
          .flatMap { Double($0.filter { $0 != "\"" }) }
      }
    case .haproxy, .echo: return nil
    }
  }

  private func check(
    _ tool: String, _ command: [String], _ rate: (String) -> Double?
  ) throws -> CrossCheck {
    let runs = try (0..<Self.crossCheckRuns).map { _ in
      let (text, spent, elapsed) = try timed {
        try testbed.client.run(command, core: Testbed.clientCore)
      }
      guard let rate = rate(text) else { throw LaboratoryError("\(tool) says \(text)") }
      return CrossCheck(
        scenario: scenario.name, tier: testbed.tier, carrier: carrier, tool: tool, rate: rate,
        serverLoad: spent.busy[Testbed.serverCore] / elapsed,
        clientLoad: spent.busy[Testbed.clientCore] / elapsed)
    }
    return runs.sorted { $0.rate < $1.rate }[runs.count / 2]
  }

  /// What a client says, and what the processors have done meanwhile, in how many seconds.
  private func timed<Result>(
    _ client: () throws -> Result
  ) throws -> (Result, spent: MachineTime, seconds: Double) {
    let start = ContinuousClock.now
    let before = try MachineTime.read()
    let result = try client()
    let spent = try MachineTime.read().since(before)
    return (result, spent, (ContinuousClock.now - start) / .seconds(1))
  }

  /// Of which the one with the median rate counts.
  private static var crossCheckRuns: Int { 3 }
}
