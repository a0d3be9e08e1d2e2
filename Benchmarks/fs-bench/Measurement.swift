import Laboratory

/// Who carries the connections.
enum Carrier: String, Codable, CaseIterable {
  case kernel, fsd
}

/// What is asked of the server.
enum Workload: String, Codable, CaseIterable {
  case shortConnections, keepAlive

  /// For a person.
  var title: String {
    switch self {
    case .shortConnections: "Short connections"
    case .keepAlive: "Keep-alive requests"
    }
  }
}

/// One workload of one round.
struct Measurement: Codable {
  var carrier: Carrier
  var workload: Workload
  /// Requests per second, every body compared.
  var rate: Double
  /// Processor microseconds per request, of the whole machine.
  var machineMicroseconds: Double
  /// The same of the server's core and of the client's.
  var serverMicroseconds: Double
  var clientMicroseconds: Double
  /// Latency in microseconds.
  var median: Double
  var percentile99: Double
  /// Share of the time that the hypervisor took away.
  var stolen: Double
  /// Share of the time that the client's core was busy: near 1, the client is the limit.
  var clientLoad: Double
  /// Why the round does not count; empty when it does.
  var faults: [String]
}

/// The middle of some values.
func median(_ values: [Double]) -> Double {
  let sorted = values.sorted()
  guard !sorted.isEmpty else { return 0 }
  let middle = sorted.count / 2
  return sorted.count % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
}
