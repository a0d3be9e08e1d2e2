import Foundation
import Laboratory

/// All scenarios on all links, kernel and fsd in turn.
struct Benchmark {
  private let options: BenchmarkOptions
  private var measurements: [Measurement] = []
  /// Void rounds that are repeated, of each scenario and link.
  private var repetitions = 0

  init(_ options: BenchmarkOptions) { self.options = options }

  /// Runs everything. What has been measured when something fails is still reported.
  mutating func run() throws -> [Measurement] {
    for tier in options.tiers {
      let testbed = try Testbed(tier, options)
      defer { testbed.laboratory.tearDown() }
      for name in options.scenarios {
        guard let scenario = Scenario.named(name) else { continue }
        print("\n\(scenario.title), \(tier.title)")
        try measure(scenario, testbed)
      }
    }
    return measurements
  }

  /// Runs the rounds in the order kernel, fsd, fsd, kernel, and so on; a void round is repeated.
  private mutating func measure(_ scenario: Scenario, _ testbed: Testbed) throws {
    let offered =
      scenario.hasFixedRate ? try kernelMaximum(scenario, testbed) * options.offered : 0
    repetitions = options.pairs
    var position = 0
    while position < options.pairs * 2 {
      let carrier: Carrier = position % 4 == 0 || position % 4 == 3 ? .kernel : .fsd
      let results = try round(scenario, testbed, carrier) { round in
        var results = [try round.measure()]
        if offered > 0 { results.append(try round.measure(rate: offered)) }
        return results
      }
      for result in results { print(Report.line(result)) }
      measurements += results
      if results.contains(where: { !$0.faults.isEmpty }), repetitions > 0 {
        repetitions -= 1
      } else {
        position += 1
      }
    }
  }

  /// What the kernel can do decides what both are offered.
  private func kernelMaximum(_ scenario: Scenario, _ testbed: Testbed) throws -> Double {
    try round(scenario, testbed, .kernel) { try $0.measure() }.rate
  }

  private func round<Result>(
    _ scenario: Scenario, _ testbed: Testbed, _ carrier: Carrier,
    _ body: (Round) throws -> Result
  ) throws -> Result {
    try testbed.begin(carrier)
    let server = try scenario.start(on: testbed, carrier)
    let result = try body(
      Round(
        testbed: testbed, scenario: scenario, carrier: carrier, options: options, server: server))
    server.stop()
    try testbed.end(carrier)
    return result
  }
}
