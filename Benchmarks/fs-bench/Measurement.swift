import Laboratory

/// Who carries the connections.
enum Carrier: String, Codable, CaseIterable {
  case kernel, fsd
}

/// One load on one server.
struct Measurement: Codable {
  var scenario: String
  var tier: Tier
  var carrier: Carrier
  /// Requests offered per second; 0: as many as are answered.
  var offered = 0.0
  /// Operations per second; for bulk loads Mbit/s.
  var rate = 0.0
  /// Processor microseconds per operation (for bulk loads, per MB) of the whole machine, of the server's
  /// core and of the client's. What the generator spends on looking for work is taken off.
  var machineCost = 0.0
  var serverCost = 0.0
  var clientCost = 0.0
  /// Microseconds, with a fixed rate from the moment when a request was due.
  var latency = LatencySummary()
  /// Packets per operation to the server and from it.
  var packetsToServer = 0.0
  var packetsFromServer = 0.0
  /// Share of the time that the hypervisor took away.
  var stolen = 0.0
  /// Share of the time that the server's core was at work: far from 1, the server is not the limit.
  var serverLoad = 0.0
  /// Share of the time that the client's core was at work: near 1, the client is the limit.
  var clientLoad = 0.0
  /// Share of the time that the generator itself had work.
  var generatorLoad = 0.0
  /// What fsd has done per operation, by name.
  var daemon: [String: Double] = [:]
  /// Segments sent again, of a thousand packets or operations, by whichever side.
  var sentAgain = 0.0
  /// Bytes of memory per idle connection.
  var idleMemory: Double?
  /// Why it does not count; empty when it does.
  var faults: [String] = []
}

/// What another client has measured, on the kernel's TCP.
struct CrossCheck: Codable {
  var scenario: String
  var tier: Tier
  var carrier: Carrier
  var tool: String
  /// Operations per second.
  var rate: Double
  /// Shares of the time that the cores were at work: with the client's near 1 and the server's not, the client is
  /// what is measured.
  var serverLoad: Double
  var clientLoad: Double
}

/// What the kernel has done on the server's core, per operation.
struct EventCount: Codable {
  var scenario: String
  var tier: Tier
  var carrier: Carrier
  var counts: [String: Double]
}

/// Everything that a run has found.
struct Findings: Codable {
  var measurements: [Measurement] = []
  var crossChecks: [CrossCheck] = []
  var events: [EventCount] = []
  /// Scenarios that could not be measured to their end, and why.
  var failures: [String] = []
  /// Share of the machine that others used when the run began.
  var foreignLoad = 0.0
}
