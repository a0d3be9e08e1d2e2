import Foundation
import Laboratory

/// All that a run has found, and what it comes to.
///
/// As Markdown: `Report+Markdown` and `Report+Tables`. As pictures: `Report+Plots`.
struct Report: Codable {
  let options: BenchmarkOptions
  let machine: String
  let date: Date
  let findings: Findings

  init(_ options: BenchmarkOptions, _ findings: Findings) {
    self.options = options
    self.findings = findings
    machine = Self.describeMachine()
    date = Date()
  }

  /// The rounds that count, at full load or at the fixed rate; none where they are fewer than half of those
  /// ordered.
  func valid(
    _ scenario: Scenario, _ tier: Tier, _ carrier: Carrier, atFixedRate: Bool = false
  ) -> [Measurement] {
    let found = findings.measurements.filter {
      $0.scenario == scenario.name && $0.tier == tier && $0.carrier == carrier
        && ($0.offered > 0) == atFixedRate && $0.faults.isEmpty
    }
    return found.count * 2 >= options.pairs ? found : []
  }

  /// What was measured on a link, in order.
  func scenarios(_ tier: Tier) -> [Scenario] {
    options.scenarios(tier)
  }

  /// Whether there is a figure for everything.
  var isUsable: Bool {
    options.tiers.allSatisfy { tier in
      scenarios(tier).allSatisfy { scenario in
        Carrier.allCases.allSatisfy { carrier in
          !valid(scenario, tier, carrier).isEmpty
            && (!scenario.hasFixedRate
              || !valid(scenario, tier, carrier, atFixedRate: true).isEmpty)
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
      format: "%@ %@ %9.0f  CPU %6.2f us (server %6.2f)  p50 %6.0f  p99 %6.0f  p99.9 %6.0f us  "
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

  /// Writes everything into the directory of the results, and, if that is wanted, the document.
  func write() throws {
    try write(markdown: "bench.md", plots: "", in: options.results)
    try json().write(to: URL(fileURLWithPath: "\(options.results)/bench.json"))
    if let directory = options.document {
      try write(markdown: "benchmarks.md", plots: "benchmarks/", in: directory)
    }
  }

  private func write(markdown name: String, plots: String, in directory: String) throws {
    let manager = FileManager.default
    try manager.createDirectory(
      atPath: "\(directory)/\(plots)", withIntermediateDirectories: true)
    for (file, picture) in pictures {
      try picture.write(toFile: "\(directory)/\(plots)\(file)", atomically: true, encoding: .utf8)
    }
    let path = "\(directory)/\(name)"
    let text = markdown(plots: plots) + Self.writtenByHand(in: path)
    try text.write(toFile: path, atomically: true, encoding: .utf8)
  }

  /// What follows this line in the document is not written by the benchmark, and stays.
  private static let handMark = "<!-- Not written by make bench: -->"

  private static func writtenByHand(in path: String) -> String {
    guard let old = try? String(contentsOfFile: path, encoding: .utf8),
      let mark = old.range(of: handMark)
    else { return "" }
    return "\n" + old[mark.lowerBound...]
  }

  private static func describeMachine() -> String {
    let machine = Machine()
    return "\(machine.processorCount) cores of \(machine.processor), Linux \(machine.kernelRelease)"
  }
}
