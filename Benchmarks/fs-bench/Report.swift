import Foundation
import Laboratory

/// All measurements of a run, and what they come to.
struct Report: Codable {
  let options: BenchmarkOptions
  let machine: String
  let date: Date
  let measurements: [Measurement]

  init(_ options: BenchmarkOptions, _ measurements: [Measurement]) {
    self.options = options
    self.measurements = measurements
    machine = Self.describeMachine()
    date = Date()
  }

  /// The rounds that count, at full load or at the fixed rate.
  func valid(
    _ scenario: String, _ tier: Tier, _ carrier: Carrier, atFixedRate: Bool
  ) -> [Measurement] {
    measurements.filter {
      $0.scenario == scenario && $0.tier == tier && $0.carrier == carrier
        && ($0.offered > 0) == atFixedRate && $0.faults.isEmpty
    }
  }

  /// Whether there is a figure for everything.
  var isUsable: Bool {
    options.tiers.allSatisfy { tier in
      options.scenarios.allSatisfy { scenario in
        Carrier.allCases.allSatisfy {
          !valid(scenario, tier, $0, atFixedRate: false).isEmpty
        }
      }
    }
  }

  /// One measurement on one line.
  static func line(_ measurement: Measurement) -> String {
    let name = measurement.carrier.rawValue.padding(toLength: 6, withPad: " ", startingAt: 0)
    let load = measurement.offered > 0 ? "fixed" : "full "
    let faults =
      measurement.faults.isEmpty ? "" : "  VOID: " + measurement.faults.joined(separator: ", ")
    return String(
      format: "%@ %@ %9.0f/s  CPU %6.2f us (server %6.2f)  p50 %6.0f  p99 %6.0f  p99.9 %6.0f us  "
        + "packets %.2f + %.2f  client %3.0f %%  stolen %2.0f %%%@",
      name, load, measurement.rate, measurement.machineCost, measurement.serverCost,
      measurement.latency.p50, measurement.latency.p99, measurement.latency.p999,
      measurement.packetsToServer, measurement.packetsFromServer, measurement.clientLoad * 100,
      measurement.stolen * 100, faults)
  }

  /// Everything, for a program.
  func json() throws -> Data {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
    encoder.dateEncodingStrategy = .iso8601
    return try encoder.encode(self)
  }

  private static func describeMachine() -> String {
    let processors =
      (try? String(contentsOfFile: "/proc/cpuinfo", encoding: .utf8))?
      .split(separator: "\n").first { $0.hasPrefix("model name") }?
      .split(separator: ":").last?.trimmingCharacters(in: .whitespaces) ?? "unknown processor"
    let release =
      (try? String(contentsOfFile: "/proc/sys/kernel/osrelease", encoding: .utf8))?
      .trimmingCharacters(in: .whitespacesAndNewlines) ?? "?"
    return
      "\(ProcessInfo.processInfo.activeProcessorCount) cores of \(processors), Linux \(release)"
  }
}

extension Report {
  /// Writes everything into the directory of the results.
  func write() throws {
    let directory = options.results
    try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
    try markdown.write(toFile: "\(directory)/bench.md", atomically: true, encoding: .utf8)
    try json().write(to: URL(fileURLWithPath: "\(directory)/bench.json"))
  }
}
