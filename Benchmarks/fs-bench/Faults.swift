import Laboratory

/// What must not have happened in a measurement that counts.
enum Faults {
  /// As the kernel of a host has counted it.
  static func of(_ counters: KernelCounters, on host: String) -> [String] {
    let names = [
      "RetransSegs", "InCsumErrors", "ListenOverflows", "ListenDrops", "AttemptFails",
    ]
    return names.filter { counters[$0] > 0 }.map { "\(host): \($0) \(counters[$0])" }
  }

  /// As the daemon has.
  static func of(_ before: DaemonStatistics, _ after: DaemonStatistics) -> [String] {
    let names = [
      "retransmissions", "listen_queue_full", "transmit_queue_full", "no_receive_chunk",
      "receive_dropped", "receive_ring_full", "fill_ring_empty", "kick_dropped", "kick_failed",
    ]
    return names.compactMap { name in
      let count = after.sum(name) - before.sum(name)
      return count > 0 ? "fsd: \(name) \(count)" : nil
    }
  }

  /// As the generator has.
  static func of(_ report: LoadReport) -> [String] {
    let names = [
      "retransmissions", "resetsReceived", "receiveDropped", "receiveRingFull", "kickDropped",
      "kickFailed",
    ]
    var faults = names.compactMap { name in
      report.totalCounters[name].flatMap { $0 > 0 ? "load: \(name) \($0)" : nil }
    }
    if report.wrong > 0 { faults.append("\(report.wrong) wrong answers") }
    if report.failures > 0 {
      faults.append("\(report.failures) failures: \(report.firstFailure ?? "")")
    }
    if report.unanswered > 0 { faults.append("\(report.unanswered) not answered in time") }
    return faults
  }
}
