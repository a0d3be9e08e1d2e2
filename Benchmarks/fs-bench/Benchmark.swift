import Foundation
import Laboratory

/// All scenarios on all links, kernel and fsd in turn.
struct Benchmark {
  private let options: BenchmarkOptions
  private var findings = Findings()

  /// Above this load by others, figures say little.
  private static let foreignLimit = 0.05
  /// Rounds that decide what is offered.
  private static let calibrations = 3
  /// What a server needs to close 20,000 connections.
  private static let closingSeconds: UInt32 = 3

  init(_ options: BenchmarkOptions) { self.options = options }

  /// Runs everything. A scenario that fails leaves the others alone.
  mutating func run() throws -> Findings {
    try look()
    for tier in options.tiers {
      var testbed = try Testbed(tier, coalesce: options.coalesce)
      defer { testbed.laboratory.tearDown() }
      for scenario in options.scenarios(tier) {
        print("\n\(scenario.title), \(tier.title)")
        do {
          try measure(scenario, testbed)
        } catch {
          print("Not measured to the end: \(error)")
          findings.failures.append("\(scenario.title), \(tier.title): \(error)")
          // Whatever still runs there goes with it.
          testbed.laboratory.tearDown()
          testbed = try Testbed(tier, coalesce: options.coalesce)
        }
      }
    }
    return findings
  }

  /// Looks whether the machine is ours.
  private mutating func look() throws {
    let before = try MachineTime.read()
    sleep(1)
    let spent = try MachineTime.read().since(before)
    findings.foreignLoad = spent.totalBusy / Double(max(spent.busy.count, 1))
    if findings.foreignLoad > Self.foreignLimit {
      print(
        String(format: "Others use %.0f %% of this machine.", findings.foreignLoad * 100),
        "The figures will say little.")
    }
  }

  /// Runs the rounds in the order kernel, fsd, fsd, kernel, and so on; a void round is repeated.
  private mutating func measure(_ scenario: Scenario, _ testbed: Testbed) throws {
    // First: a client of the kernel's that takes an address and port on which the generator had a connection a
    // moment ago has to wait for a second, on either side.
    for carrier in Carrier.allCases { try crossCheck(scenario, testbed, carrier) }
    for carrier in Carrier.allCases { try countEvents(scenario, testbed, carrier) }
    let offered =
      scenario.hasFixedRate ? try kernelMaximum(scenario, testbed) * options.offered : 0
    var repetitions = options.pairs
    var position = 0
    while position < options.pairs * 2 {
      let carrier: Carrier = position % 4 == 0 || position % 4 == 3 ? .kernel : .fsd
      let results = try round(scenario, testbed, carrier) { round in
        var results = [try round.measure()]
        // A server that has not closed the idle connections of the last run has no room for others.
        if scenario.idle > 0 { sleep(Self.closingSeconds) }
        if offered > 0 { results.append(try round.measure(rate: offered)) }
        return results
      }
      for result in results { print(Report.line(result)) }
      findings.measurements += results
      if results.contains(where: { !$0.faults.isEmpty }), repetitions > 0 {
        repetitions -= 1
      } else {
        position += 1
      }
    }
  }

  /// What the kernel can do, the median of a few rounds, decides what both are offered.
  private func kernelMaximum(_ scenario: Scenario, _ testbed: Testbed) throws -> Double {
    let rates = try (0..<Self.calibrations).map { _ in
      try round(scenario, testbed, .kernel) { try $0.measure() }.rate
    }
    return median(rates)
  }

  /// What other clients say.
  private mutating func crossCheck(
    _ scenario: Scenario, _ testbed: Testbed, _ carrier: Carrier
  ) throws {
    guard options.crossChecks, testbed.tier == .wire else { return }
    let check = try round(scenario, testbed, carrier) { try $0.crossCheck() }
    guard let check else { return }
    print(String(format: "%@ %@: %.0f/s", carrier.rawValue, check.tool, check.rate))
    findings.crossChecks.append(check)
  }

  /// What takes time to count.
  private mutating func countEvents(
    _ scenario: Scenario, _ testbed: Testbed, _ carrier: Carrier
  ) throws {
    guard options.events else { return }
    let counts = try round(scenario, testbed, carrier) { try $0.countEvents() }
    findings.events.append(
      EventCount(scenario: scenario.name, tier: testbed.tier, carrier: carrier, counts: counts))
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
