import CIsolation
import Foundation
import Laboratory

@testable import FSStack

/// What this program does in a process of its own, so that it can run under callgrind, or end by a signal.
/// Each prints a line of `name=value` pairs.
enum Program: String {
  /// `model ENGINES CONNECTIONS`: the proxy in the model.
  case model
  /// `memory ENGINES CONNECTIONS`: the same, held open: what a connection occupies.
  case memory
  /// `isolation ENGINES CONNECTIONS ROUND`: the first, with the memory of all other cores closed.
  case isolation
  /// `provoke`: what must be caught.
  case provoke

  static func run(_ arguments: [String]) throws {
    guard let name = arguments.first, let program = Program(rawValue: name) else {
      throw LaboratoryError("no such program: \(arguments)")
    }
    let numbers = arguments.dropFirst().compactMap { Int($0) }
    switch program {
    case .provoke:
      try beginIsolation(cores: 2, round: 0)
      isolation_provoke(0, 1)
    case .model, .memory, .isolation:
      guard numbers.count == (program == .isolation ? 3 : 2) else {
        throw LaboratoryError("\(name) ENGINES CONNECTIONS [ROUND]")
      }
      if program == .isolation {
        // A's engines, the client's and the backend's.
        try beginIsolation(cores: numbers[0] + 2, round: numbers[2])
      }
      try program.runModel(engines: numbers[0], connections: numbers[1])
    }
  }

  private static func beginIsolation(cores: Int, round: Int) throws {
    let code = isolation_begin(Int32(cores), Int32(round))
    guard code == 0 else {
      throw LaboratoryError("memory protection keys: \(String(cString: strerror(code)))")
    }
  }

  private func runModel(engines: Int, connections: Int) throws {
    if self == .isolation {
      SimulatedEngine.border = IsolatingBorder()
    } else if self == .model {
      SimulatedEngine.border = CountingBorder(cores: engines)
    }
    var options = ProxyWorkload.Options()
    options.connections = connections
    options.concurrency =
      self == .memory ? connections : engines * ModelScaling.concurrencyPerEngine
    options.seed = 77
    let proxy = try ProxyWorkload(engines: engines, options)
    proxy.simulation.reportsProblems = false
    if self == .memory {
      proxy.hold()
      let inUse = proxy.simulation.a.engines.reduce(0) { $0 + Int($1.engine.connections.count) }
      guard inUse == 2 * connections else { throw LaboratoryError("\(inUse) connections") }
      return print("bytes=\(Double(proxy.tableBytes) / Double(inUse))")
    }
    // What happens once, in the language's runtime above all, has happened by then.
    proxy.atHalf = { isolation_watch(1) }
    proxy.run()
    isolation_watch(0)
    SimulatedEngine.border = nil
    guard proxy.problems.isEmpty else { throw LaboratoryError("\(proxy.problems)") }
    print(
      "active=\(proxy.arrivals.active) passive=\(proxy.arrivals.passive)"
        + " misplaced=\(proxy.arrivals.misplaced) handed_over=\(proxy.total(\.handedOver))"
        + " resets=\(proxy.resets) entries=\(isolation_entries())")
  }
}

/// Gives each engine memory of its own, and closes that of the others while its code runs.
final class IsolatingBorder: EngineBorder {
  private var count = 0

  func make<Result>(_ body: () -> Result) -> (Result, core: Int) {
    let core = count
    count += 1
    return (make(on: core, body), core)
  }

  func make<Result>(on core: Int, _ body: () -> Result) -> Result {
    let before = isolation_allocate_for(Int32(core))
    defer { _ = isolation_allocate_for(before) }
    return body()
  }

  func enter(_ core: Int) { isolation_enter(Int32(core)) }
  func leave(_ core: Int) { isolation_leave() }
}

/// Counts instructions of the first engines' code, under callgrind.
final class CountingBorder: EngineBorder {
  private let cores: Int
  private var count = 0

  init(cores: Int) {
    self.cores = cores
  }

  func make<Result>(_ body: () -> Result) -> (Result, core: Int) {
    count += 1
    return (body(), count - 1)
  }

  func make<Result>(on core: Int, _ body: () -> Result) -> Result { body() }

  func enter(_ core: Int) { if core < cores { isolation_toggle_counting() } }
  func leave(_ core: Int) { if core < cores { isolation_toggle_counting() } }
}
