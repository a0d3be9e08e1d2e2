@testable import FSStack

/// In how many runs each situation occurred. A swarm that never reaches one does not test it.
struct SwarmCoverage: Sendable {
  private(set) var runs = 0
  private var counts: [String: Int] = [:]
  /// The longest time from the first progress after healing until everything was complete.
  private(set) var longestCompletion = Interval(nanoseconds: 0)

  /// Takes up a run that is over.
  mutating func add(_ run: SwarmRun) {
    runs += 1
    longestCompletion = max(longestCompletion, run.completion)
    var occurred: Set<String> = []
    func note(_ name: String, _ condition: Bool) { if condition { occurred.insert(name) } }
    let engines = run.simulation.hosts.flatMap(\.engines)
    for engine in engines {
      let statistics = engine.engine.statistics()
      for (name, counter) in Self.counters { note(name, statistics.counters[keyPath: counter] > 0) }
      for (reason, count) in statistics.drops { note("drop: \(reason)", count > 0) }
      for state in engine.invariants.states { note("state: \(state)", true) }
      note("zero window", engine.invariants.hasPersisted)
      note("path MTU reduced", engine.invariants.hasReducedPath)
    }
    for traffic in run.traffic {
      if let error = traffic.socket.error { note("error: \(error)", true) }
      note("abandoned by the application", traffic.hasAbandoned)
    }
    note("hand-back", run.handBacks > 0)
    note("complete before healing", !run.isHealed)
    for name in occurred { counts[name, default: 0] += 1 }
  }

  /// Joins what another worker has counted.
  mutating func add(_ other: SwarmCoverage) {
    runs += other.runs
    longestCompletion = max(longestCompletion, other.longestCompletion)
    counts.merge(other.counts, uniquingKeysWith: +)
  }

  private static var counters: [(String, KeyPath<EngineCounters, UInt64>)] {
    [
      ("retransmission timeout", \.timeouts), ("fast retransmit", \.fastRetransmits),
      ("retransmission", \.retransmissions), ("probe", \.probes),
      ("out of order", \.outOfOrder), ("RST sent", \.resetsSent),
      ("RST received", \.resetsReceived), ("challenge ACK", \.challengeAcknowledgements),
      ("TIME-WAIT reused", \.timeWaitReused), ("handed over", \.handedOver),
      ("waited for an acceptor", \.acceptsGlobal), ("SYN cookie sent", \.cookiesSent),
      ("SYN cookie accepted", \.cookiesReceived),
    ]
  }

  /// What a swarm of a thousand runs must have reached.
  private static let required =
    counters.map(\.0)
    + TCPState.allCases.filter { $0 != .listen && $0 != .timeWait }.map { "state: \($0)" }
    + [
      "zero window", "path MTU reduced", "hand-back", "abandoned by the application",
      "complete before healing", "error: 104", "error: 110", "error: 111", "drop: tcpChecksum",
      "drop: outOfWindow", "drop: noReceiveChunk", "drop: listenQueueFull",
      "drop: connectionTableFull", "drop: transmitQueueFull", "drop: pawsRejected",
    ]

  /// Situations that no run has reached.
  var missing: [String] { Self.required.filter { counts[$0] == nil } }

  /// One line for each situation.
  var report: String {
    counts.sorted { $0.key < $1.key }.map { "  \($0.value)\t\($0.key)" }.joined(separator: "\n")
  }
}
