import Laboratory

/// What must not have happened in a measurement that counts.
struct Faults {
  /// What has been found, in words.
  private(set) var list: [String] = []
  /// Segments sent again.
  private(set) var retransmissions = 0
  /// Connections that ended by a reset.
  private var resets = 0

  /// Segments sent again, and connections reset, may be one of so many operations: a probe that goes out because
  /// the hypervisor has stopped a core for some milliseconds changes nothing.
  static let operationsPerFault = 1_000.0

  /// Segments sent again, of a thousand operations.
  func sentAgain(of operations: Double) -> Double {
    Double(retransmissions) * 1_000 / max(operations, 1)
  }

  /// As the kernel of a host has counted it.
  mutating func add(_ counters: KernelCounters, on host: String) {
    retransmissions += counters["RetransSegs"]
    add(["InCsumErrors", "ListenOverflows", "ListenDrops", "AttemptFails"], host) { counters[$0] }
  }

  /// As the daemon has.
  mutating func add(_ before: DaemonStatistics, _ after: DaemonStatistics) throws {
    func count(_ name: String) throws -> Int { try after.sum(name) - before.sum(name) }
    retransmissions += try count("retransmissions")
    let names = [
      "listen_queue_full", "no_receive_chunk", "kick_failed", "transmit_queue_full",
      "receive_dropped", "receive_ring_full", "fill_ring_empty", "kick_dropped",
    ]
    try add(names, "fsd", count)
  }

  /// As the generator has. A proxy may reset connections to its servers, once it has their answers: HAProxy does so
  /// where it has seen no end of them.
  mutating func add(_ report: LoadReport, ofProxy isProxy: Bool) {
    func count(_ name: String) -> Int { Int(report.totalCounters[name] ?? 0) }
    retransmissions += count("retransmissions")
    if !isProxy { resets += count("resetsReceived") }
    let names = [
      "kickFailed", "receiveDropped", "receiveRingFull", "kickDropped",
    ]
    add(names, "load", count)
    if report.wrong > 0 { list.append("\(report.wrong) wrong answers") }
    if report.failures > 0 {
      list.append("\(report.failures) failures: \(report.firstFailure ?? "")")
    }
    if report.unanswered > 0 { list.append("\(report.unanswered) not answered in time") }
  }

  /// Looks at what may happen now and then, when everything is added.
  mutating func close(operations: Double) {
    let limit = operations / Self.operationsPerFault
    if Double(retransmissions) > limit { list.append("\(retransmissions) segments sent again") }
    if Double(resets) > limit { list.append("\(resets) connections reset") }
  }

  private mutating func add(_ names: [String], _ place: String, _ count: (String) throws -> Int)
    rethrows
  {
    list += try names.filter { try count($0) > 0 }.map { "\(place): \($0) \(try count($0))" }
  }
}
