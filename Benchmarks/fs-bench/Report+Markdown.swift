import Foundation

extension Report {
  /// The summary, for a person.
  var markdown: String {
    var lines = [
      "\(machine), \(date.formatted(.iso8601.year().month().day())). Medians of \(options.pairs) "
        + "rounds of \(String(format: "%g", options.seconds)) s each, kernel and fsd in turn; in "
        + "brackets the least and the greatest. Server on core 0, client (fs-load) on core 1.",
      "",
    ]
    for tier in options.tiers {
      lines += ["## \(tier.title)", ""]
      for name in options.scenarios {
        guard let scenario = Scenario.named(name) else { continue }
        lines += table(scenario, tier) + [""]
      }
    }
    let void = measurements.filter { !$0.faults.isEmpty }
    lines.append("\(void.count) of \(measurements.count) measurements are void and not counted.")
    for measurement in void {
      lines.append(
        "- \(measurement.scenario), \(measurement.tier.title), \(measurement.carrier.rawValue): "
          + measurement.faults.joined(separator: "; "))
    }
    let stolen = median(measurements.map(\.stolen)) * 100
    lines += [
      "", "Time stolen by the hypervisor: \(String(format: "%.1f", stolen)) % (median).", "",
    ]
    return lines.joined(separator: "\n")
  }

  private func table(_ scenario: Scenario, _ tier: Tier) -> [String] {
    var lines = [
      "| \(scenario.title) | kernel | fsd | fsd / kernel |", "|---|---|---|---|",
    ]
    func row(
      _ title: String, _ format: String, atFixedRate: Bool, _ value: (Measurement) -> Double
    ) {
      let kernel = valid(scenario.name, tier, .kernel, atFixedRate: atFixedRate).map(value)
      let fsd = valid(scenario.name, tier, .fsd, atFixedRate: atFixedRate).map(value)
      let ratio = median(kernel) > 0 ? median(fsd) / median(kernel) : 0
      lines.append(
        "| \(title) | \(Self.spread(kernel, format)) | \(Self.spread(fsd, format)) | "
          + "\(kernel.isEmpty || fsd.isEmpty ? "" : String(format: "%.2f", ratio)) |")
    }
    let one = scenario.operation
    row("**\(scenario.unit)**", "%.0f", atFixedRate: false) { $0.rate }
    row("CPU per \(one), us, machine", "%.2f", atFixedRate: false) { $0.machineCost }
    row("of which server's core", "%.2f", atFixedRate: false) { $0.serverCost }
    row("packets per \(one), to the server", "%.2f", atFixedRate: false) { $0.packetsToServer }
    row("packets per \(one), from it", "%.2f", atFixedRate: false) { $0.packetsFromServer }
    row("load of the client's core", "%.2f", atFixedRate: false) { $0.clientLoad }
    if scenario.hasFixedRate {
      row("at equal offered load: \(scenario.unit)", "%.0f", atFixedRate: true) { $0.rate }
      row("CPU per \(one), us, machine", "%.2f", atFixedRate: true) { $0.machineCost }
      row("p50, us", "%.0f", atFixedRate: true) { $0.latency.p50 }
      row("p99, us", "%.0f", atFixedRate: true) { $0.latency.p99 }
      row("p99.9, us", "%.0f", atFixedRate: true) { $0.latency.p999 }
    }
    return lines
  }

  private static func spread(_ values: [Double], _ format: String) -> String {
    guard let least = values.min(), let greatest = values.max() else { return "void" }
    func text(_ value: Double) -> String { String(format: format, value) }
    return "\(text(median(values))) (\(text(least)) to \(text(greatest)))"
  }
}
