import Foundation
import Laboratory

extension Report {
  /// Medians of everything, a line for each scenario.
  func summary(_ tier: Tier) -> [String] {
    var lines = [
      "| | | kernel | fsd | fsd / kernel | CPU, us | | | at equal load | | | of which server | | | p99, us | | |",
      "|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for scenario in scenarios(tier) {
      let rate = comparison(scenario, tier, "%.0f") { $0.rate }
      let cost = comparison(scenario, tier, "%.2f") { $0.machineCost }
      var atEqualLoad = [" | | ", " | | ", " | | "]
      if scenario.hasFixedRate {
        atEqualLoad = [
          comparison(scenario, tier, "%.2f", atFixedRate: true) { $0.machineCost },
          comparison(scenario, tier, "%.2f", atFixedRate: true) { $0.serverCost },
          comparison(scenario, tier, "%.0f", atFixedRate: true) { $0.latency.p99 },
        ]
      }
      let cells = [scenario.title, scenario.unit, rate, cost] + atEqualLoad
      lines.append("| \(cells.joined(separator: " | ")) |")
    }
    lines += [
      "",
      "Of CPU and p99: kernel, fsd, and fsd / kernel. CPU is per operation (bulk: per MB) of the whole "
        + "machine, with each at its full load, and with the same load offered to both, as for p99; of that, what "
        + "the server's core took.",
    ]
    return lines
  }

  /// Kernel's median, fsd's, and their ratio.
  private func comparison(
    _ scenario: Scenario, _ tier: Tier, _ format: String, atFixedRate: Bool = false,
    _ value: (Measurement) -> Double
  ) -> String {
    let kernel = valid(scenario, tier, .kernel, atFixedRate: atFixedRate).map(value)
    let fsd = valid(scenario, tier, .fsd, atFixedRate: atFixedRate).map(value)
    func text(_ values: [Double]) -> String {
      values.isEmpty ? "void" : String(format: format, median(values))
    }
    return "\(text(kernel)) | \(text(fsd)) | \(ratioText(kernel, fsd))"
  }

  private func ratioText(_ kernel: [Double], _ fsd: [Double]) -> String {
    guard !kernel.isEmpty, !fsd.isEmpty, median(kernel) > 0 else { return "" }
    return "**\(String(format: "%.2f", median(fsd) / median(kernel)))**"
  }

  /// Everything of one scenario, with its spread.
  func table(_ scenario: Scenario, _ tier: Tier) -> [String] {
    var lines = ["| \(scenario.title) | kernel | fsd | fsd / kernel |", "|---|---|---|---|"]
    func row(
      _ title: String, _ format: String, atFixedRate: Bool = false,
      _ value: (Measurement) -> Double?
    ) {
      let kernel = valid(scenario, tier, .kernel, atFixedRate: atFixedRate).compactMap(value)
      let fsd = valid(scenario, tier, .fsd, atFixedRate: atFixedRate).compactMap(value)
      lines.append(
        "| \(title) | \(spread(kernel, format)) | \(spread(fsd, format)) | "
          + "\(ratioText(kernel, fsd)) |")
    }
    let one = scenario.operation
    let kernelRate = max(median(valid(scenario, tier, .kernel).map(\.rate)), 1)
    row(scenario.unit, "%.0f") { $0.rate }
    row("CPU per \(one), us", "%.2f") { $0.machineCost }
    row("of which server's core", "%.2f") { $0.serverCost }
    row("load of the server's core", "%.2f") { $0.serverLoad }
    row("load of the client's core", "%.2f") { $0.clientLoad }
    if !scenario.isBulk {
      row("of which the generator itself", "%.2f") { $0.generatorLoad }
      row("packets per \(one), to the server", "%.2f") { $0.packetsToServer }
      row("packets per \(one), from it", "%.2f") { $0.packetsFromServer }
      row("segments sent again, of 1000", "%.2f") { $0.sentAgain }
    }
    if scenario.idle > 0 { row("bytes of memory per connection", "%.0f") { $0.idleMemory } }
    if scenario.hasFixedRate {
      row("equal offered load: \(scenario.unit)", "%.0f", atFixedRate: true) { $0.rate }
      row("of the kernel's full load", "%.2f", atFixedRate: true) { $0.offered / kernelRate }
      row("CPU per \(one), us", "%.2f", atFixedRate: true) { $0.machineCost }
      row("of which server's core", "%.2f", atFixedRate: true) { $0.serverCost }
      row("p50, us", "%.0f", atFixedRate: true) { $0.latency.p50 }
      row("p99, us", "%.0f", atFixedRate: true) { $0.latency.p99 }
      row("p99.9, us", "%.0f", atFixedRate: true) { $0.latency.p999 }
    }
    return lines
  }

  private func spread(_ values: [Double], _ format: String) -> String {
    guard let least = values.min(), let greatest = values.max() else { return "void" }
    func text(_ value: Double) -> String { String(format: format, value) }
    let count = values.count < options.pairs ? "; \(values.count) rounds" : ""
    return "\(text(median(values))) (\(text(least)) to \(text(greatest))\(count))"
  }

  /// What clients on the kernel's TCP say.
  func crossCheckTable() -> [String] {
    guard !findings.crossChecks.isEmpty else { return [] }
    var lines = [
      "## The same with other clients, wire-like", "",
      "wrk and redis-benchmark, one thread on core 1, on the kernel's TCP, medians of three runs. Where the load of "
        + "their core is near 1 and the server's is not, they are the limit.", "",
      "| | client | kernel | fsd | fsd / kernel | load of server, client: kernel | fsd |",
      "|---|---|---|---|---|---|---|",
    ]
    for scenario in scenarios(.wire) {
      let found = findings.crossChecks.filter { $0.scenario == scenario.name }
      guard let kernel = found.first(where: { $0.carrier == .kernel }),
        let fsd = found.first(where: { $0.carrier == .fsd })
      else { continue }
      lines.append(
        String(
          format: "| %@ | %@ | %.0f | %.0f | %.2f | %.2f, %.2f | %.2f, %.2f |", scenario.title,
          kernel.tool, kernel.rate, fsd.rate, kernel.rate > 0 ? fsd.rate / kernel.rate : 0,
          kernel.serverLoad, kernel.clientLoad, fsd.serverLoad, fsd.clientLoad))
    }
    return lines + [""]
  }

  /// What the kernel does on the server's core.
  func eventTable() -> [String] {
    guard !findings.events.isEmpty else { return [] }
    let names = Set(findings.events.flatMap(\.counts.keys)).sorted()
    var lines = [
      "## What happens on the server's core per operation", "",
      "Counted in runs of their own, at full load, by the kernel's tracepoints; bulk: per MB.", "",
      "| | " + names.map { "\($0): kernel | fsd" }.joined(separator: " | ") + " |",
      "|---|" + String(repeating: "---|", count: names.count * 2),
    ]
    for tier in options.tiers {
      for scenario in scenarios(tier) {
        let found = findings.events.filter { $0.scenario == scenario.name && $0.tier == tier }
        guard !found.isEmpty else { continue }
        let cells = names.flatMap { name in
          Carrier.allCases.map { carrier in
            let count = found.first { $0.carrier == carrier }?.counts[name]
            return count.map { String(format: "%.2f", $0) } ?? ""
          }
        }
        lines.append("| \(scenario.title), \(tier.title) | \(cells.joined(separator: " | ")) |")
      }
    }
    return lines + [""]
  }
}
