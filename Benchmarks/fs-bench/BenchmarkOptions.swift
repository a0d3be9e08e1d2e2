import Laboratory

/// How the benchmark is run; each has an option of its name on the command line.
struct BenchmarkOptions: Codable {
  /// What is measured, in this order; empty: what belongs to each link.
  var chosen: [String] = []
  /// On which links.
  var tiers = Tier.allCases
  /// Rounds of each kind, kernel and fsd in turn.
  var pairs = 5
  /// Connections at any time, where no bulk is transferred; nil: as many as keep the server's core busy.
  var connections: Int?
  /// Seconds of each measurement.
  var seconds = 3.0
  /// For how many microseconds packets gather on the server's interface, whoever serves; 0: not at all.
  var coalesce = 0
  /// Share of the kernel's maximum that is offered where latencies are compared.
  var offered = 0.7
  /// A round with a larger share of stolen time does not count.
  var maximumSteal = 0.05
  /// Whether wrk and redis-benchmark are asked, too.
  var crossChecks = true
  /// Whether the kernel's work on the server's core is counted, too, in runs of their own.
  var events = true
  /// Directory of the results.
  var results = "results"
  /// Directory of the documents, if this run is to be written into them.
  var document: String?

  /// Reads words such as `--pairs 5`; words without an option before them are scenarios.
  init(arguments: [String]) throws {
    var rest = arguments[...]
    while let name = rest.popFirst() {
      guard name.hasPrefix("--") else {
        chosen += try Scenario.matching(name)
        continue
      }
      guard let value = rest.popFirst() else { throw LaboratoryError("\(name) needs a value") }
      try set(name, value)
    }
  }

  /// What is measured on a link.
  func scenarios(_ tier: Tier) -> [Scenario] {
    (chosen.isEmpty ? tier.scenarios : chosen).compactMap(Scenario.named).map { scenario in
      var scenario = scenario
      if !scenario.isBulk { scenario.ordered = connections }
      return scenario
    }
  }

  private mutating func set(_ name: String, _ value: String) throws {
    switch (name, value) {
    case ("--pairs", _): pairs = Int(try Self.number(value))
    case ("--connections", _): connections = Int(try Self.number(value))
    case ("--seconds", _): seconds = try Self.number(value)
    case ("--coalesce", _): coalesce = Int(try Self.number(value))
    case ("--offered", _): offered = try Self.number(value)
    case ("--maximum-steal", _): maximumSteal = try Self.number(value)
    case ("--tier", "all"): tiers = Tier.allCases
    case ("--tier", _):
      guard let tier = Tier(rawValue: value) else { fallthrough }
      tiers = [tier]
    case ("--cross-checks", "yes"): crossChecks = true
    case ("--cross-checks", "no"): crossChecks = false
    case ("--events", "yes"): events = true
    case ("--events", "no"): events = false
    case ("--results", _): results = value
    case ("--document", _): document = value
    default: throw LaboratoryError("not understood: \(name) \(value)")
    }
  }

  private static func number(_ text: String) throws -> Double {
    guard let number = Double(text), number > 0 else {
      throw LaboratoryError("not a positive number: \(text)")
    }
    return number
  }
}
