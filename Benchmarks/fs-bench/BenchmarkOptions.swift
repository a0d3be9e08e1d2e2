import Laboratory

/// How the benchmark is run; each has an option of its name on the command line.
struct BenchmarkOptions: Codable {
  /// Rounds of each kind.
  var pairs = 5
  /// Seconds that each workload of a round is measured.
  var seconds = 3.0
  /// Connections at any time.
  var connections = 64
  /// Where packets for the engine are received: on the sender's core, as the virtual link does by
  /// itself, or on the server's core, as a network card does.
  var receiveOnServerCore = true

  /// Reads `--pairs 5 --seconds 3 --connections 64 --receive sender|server`.
  init(arguments: [String]) throws {
    var rest = arguments[...]
    while let name = rest.popFirst() {
      guard let value = rest.popFirst() else { throw LaboratoryError("\(name) needs a value") }
      switch (name, value) {
      case ("--pairs", _): pairs = try Self.number(value)
      case ("--seconds", _): seconds = Double(try Self.number(value))
      case ("--connections", _): connections = try Self.number(value)
      case ("--receive", "sender"): receiveOnServerCore = false
      case ("--receive", "server"): receiveOnServerCore = true
      default: throw LaboratoryError("not understood: \(name) \(value)")
      }
    }
  }

  private static func number(_ text: String) throws -> Int {
    guard let number = Int(text), number > 0 else {
      throw LaboratoryError("not a positive number: \(text)")
    }
    return number
  }
}
