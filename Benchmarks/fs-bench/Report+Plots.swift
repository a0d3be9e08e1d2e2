import Foundation
import Laboratory

extension Report {
  private static let kernelColour = "#999999"
  private static let fsdColour = "#d9541e"

  /// The pictures by the names of their files.
  var pictures: [(file: String, svg: String)] {
    var list = options.tiers.map { ("ratios-\($0.rawValue).svg", ratios($0)) }
    for tier in options.tiers {
      for scenario in scenarios(tier) where hasLatencyPlot(scenario, tier) {
        list.append((Self.latencyPlotName(scenario, tier), latencies(scenario, tier)))
      }
    }
    return list
  }

  static func latencyPlotName(_ scenario: Scenario, _ tier: Tier) -> String {
    "latency-\(scenario.name)-\(tier.rawValue).svg"
  }

  func hasLatencyPlot(_ scenario: Scenario, _ tier: Tier) -> Bool {
    Carrier.allCases.allSatisfy {
      !valid(scenario, tier, $0, atFixedRate: true).isEmpty
    }
  }

  // MARK: Ratios

  /// fsd's rate over the kernel's, and the kernel's CPU over fsd's, as bars: longer is better.
  private func ratios(_ tier: Tier) -> String {
    let left = 330.0
    let rowHeight = 55.0
    let bars: [(title: String, colour: String, ratio: (Scenario) -> Double?)] = [
      ("rate, fsd / kernel", Self.fsdColour, { rateRatio($0, tier) }),
      ("CPU, kernel / fsd", "#555555", { costRatio($0, tier) }),
      ("the same at equal load", Self.kernelColour, { costRatio($0, tier, atFixedRate: true) }),
    ]
    let values = scenarios(tier).map { scenario in
      // Bulk transfers and pipelined requests are measured at full load only.
      (scenario.title, bars.prefix(scenario.hasFixedRate ? 3 : 2).map { $0.ratio(scenario) })
    }
    let greatest = values.flatMap(\.1).compactMap { $0 }.max() ?? 1
    let scale = 400 / max(greatest, 1.5)
    let height = 50 + rowHeight * Double(values.count)
    var picture = Picture(width: 800, height: height + 20)
    for (position, bar) in bars.enumerated() {
      let x = left + Double(position) * 150
      picture.bar(x, 10, 10, 10, bar.colour)
      picture.text(x + 15, 19, bar.title)
    }
    picture.line(left + scale, 30, left + scale, height, "black")
    picture.text(left + scale, height + 14, "1", anchor: "middle")
    for (row, (title, ratios)) in values.enumerated() {
      let y = 40 + Double(row) * rowHeight
      picture.text(left - 10, y + 7.5 * Double(ratios.count) + 3, title, anchor: "end")
      for (position, ratio) in ratios.enumerated() {
        bar(&picture, left, y + 15 * Double(position), ratio, scale, bars[position].colour)
      }
    }
    return picture.svg
  }

  private func bar(
    _ picture: inout Picture, _ x: Double, _ y: Double, _ value: Double?, _ scale: Double,
    _ colour: String
  ) {
    guard let value else { return picture.text(x + 5, y + 11, "void") }
    picture.bar(x, y, value * scale, 13, colour)
    picture.text(x + value * scale + 5, y + 11, String(format: "%.2f", value))
  }

  private func rateRatio(_ scenario: Scenario, _ tier: Tier) -> Double? {
    ratio(valid(scenario, tier, .fsd).map(\.rate), valid(scenario, tier, .kernel).map(\.rate))
  }

  private func costRatio(
    _ scenario: Scenario, _ tier: Tier, atFixedRate: Bool = false
  ) -> Double? {
    ratio(
      valid(scenario, tier, .kernel, atFixedRate: atFixedRate).map(\.machineCost),
      valid(scenario, tier, .fsd, atFixedRate: atFixedRate).map(\.machineCost))
  }

  private func ratio(_ above: [Double], _ below: [Double]) -> Double? {
    guard !above.isEmpty, median(below) > 0 else { return nil }
    return median(above) / median(below)
  }

  // MARK: Latencies

  /// Share of the requests that took longer, over the time that they took; both axes logarithmic. One
  /// line for each round.
  private func latencies(_ scenario: Scenario, _ tier: Tier) -> String {
    let (left, top, width, height) = (70.0, 30.0, 680.0, 300.0)
    let rounds = Carrier.allCases.flatMap { carrier in
      valid(scenario, tier, carrier, atFixedRate: true).map { (carrier, $0.latency.steps) }
    }
    let all = rounds.flatMap(\.1).map(\.value).filter { $0 > 0 }
    let least = floor(log10(all.min() ?? 1))
    let greatest = max(ceil(log10(all.max() ?? 10)), least + 1)
    // Down to one of a hundred thousand.
    let decades = 5.0
    func x(_ value: Double) -> Double {
      left + (log10(max(value, 1e-3)) - least) / (greatest - least) * width
    }
    func y(_ share: Double) -> Double {
      top + min(-log10(max(share, 1e-9)) / decades, 1) * height
    }
    var picture = Picture(width: 800, height: 390)
    for decade in stride(from: least, through: greatest, by: 1) {
      picture.line(x(pow(10, decade)), top, x(pow(10, decade)), top + height, "#dddddd")
      picture.text(
        x(pow(10, decade)), top + height + 18, String(format: "%g us", pow(10, decade)),
        anchor: "middle")
    }
    for decade in stride(from: 0, through: decades, by: 1) {
      picture.line(left, y(pow(10, -decade)), left + width, y(pow(10, -decade)), "#dddddd")
      picture.text(
        left - 8, y(pow(10, -decade)) + 4, String(format: "%g %%", 100 * pow(10, -decade)),
        anchor: "end")
    }
    for (carrier, steps) in rounds {
      let points = steps.filter { $0.value > 0 }.map { (x: x($0.value), y: y(1 - $0.share)) }
      picture.path(points, carrier == .kernel ? Self.kernelColour : Self.fsdColour)
    }
    picture.text(left, 18, "\(scenario.title), \(tier.title): requests that took longer than")
    picture.bar(left + 520, 9, 10, 10, Self.kernelColour)
    picture.text(left + 535, 18, "kernel")
    picture.bar(left + 600, 9, 10, 10, Self.fsdColour)
    picture.text(left + 615, 18, "fsd")
    return picture.svg
  }
}
