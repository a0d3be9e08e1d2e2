import Foundation
import Laboratory

/// What the demonstration has seen.
struct Summary {
  private struct Rates {
    var short: [Double] = []
    var keepAlive: [Double] = []
  }

  private struct Evidence {
    var host: String
    var engines: [String]
    var accelerated = 0
    var kernelSegments = 0
  }

  private var requests = 0
  private var bytes = 0
  private var faults = 0
  private var kernel = Rates()
  private var engines = Rates()
  private var evidence: [Evidence] = []

  /// Adds pages fetched and compared.
  mutating func addPages(bytes: Int, wrong: Int, accelerated: Bool) {
    faults += wrong
    if accelerated { self.bytes += bytes }
  }

  /// Adds a load.
  mutating func addLoad(_ result: LoadResult, short: Bool, accelerated: Bool) {
    faults += result.wrongResponses + result.failures + (result.requests == 0 ? 1 : 0)
    if accelerated {
      requests += result.requests
      bytes += result.requests * NginxOptions().text.utf8.count
    }
    switch (accelerated, short) {
    case (true, true): engines.short.append(result.rate)
    case (true, false): engines.keepAlive.append(result.rate)
    case (false, true): kernel.short.append(result.rate)
    case (false, false): kernel.keepAlive.append(result.rate)
    }
  }

  /// Adds what `fsd stats` of a host says, and what its kernel has counted meanwhile.
  mutating func addEvidence(of host: NetworkHost, kernel: KernelCounters) throws {
    guard let daemon = host.daemon else {
      evidence.append(Evidence(host: host.label, engines: ["no daemon"]))
      return
    }
    let statistics = try daemon.statistics()
    let lines = statistics.engines.enumerated().map { index, numbers in
      let accepted = Int(numbers["passive_opens"] ?? 0)
      let opened = Int(numbers["active_opens"] ?? 0)
      let connections = "\(grouped(accepted)) accepted, \(grouped(opened)) opened"
      print("      fsd stats on \(host.label), engine \(index): \(connections) connections")
      return "engine \(index): \(connections)"
    }
    evidence.append(
      Evidence(
        host: host.label, engines: lines,
        accelerated: try statistics.sum("passive_opens") + statistics.sum("active_opens"),
        kernelSegments: kernel["InSegs"]))
  }

  /// Whether everything that the demonstration is to show has been seen.
  var isTrue: Bool {
    faults == 0 && requests > 0 && bytes > 0 && !evidence.isEmpty
      && evidence.allSatisfy { $0.accelerated > 0 && $0.kernelSegments == 0 }
  }

  /// The summary for a person.
  var text: String {
    let hosts = evidence.map { entry in
      "  \(entry.host): " + entry.engines.joined(separator: "; ")
        + "; TCP segments the kernel received: \(grouped(entry.kernelSegments))"
    }
    return """

      Requests served through HAProxy -> nginx by the engines: \(grouped(requests))
      Bytes of pages compared: \(grouped(bytes)), wrong or failed: \(grouped(faults))
      Accelerated connections:
      \(hosts.joined(separator: "\n"))
      Rate through HAProxy -> nginx on this machine, mean of two rounds each:
        short connections  kernel \(rate(kernel.short))/s   fsd \(rate(engines.short))/s   \
      \(ratio(engines.short, kernel.short))
        keep-alive         kernel \(rate(kernel.keepAlive))/s   fsd \(rate(engines.keepAlive))/s   \
      \(ratio(engines.keepAlive, kernel.keepAlive))
      (Client, proxy and server share \(ProcessInfo.processInfo.activeProcessorCount) cores, over \
      virtual links: `make bench` measures with more care.)
      \(isTrue ? "Everything was as it should be." : "NOT everything was as it should be.")
      """
  }

  private func mean(_ values: [Double]) -> Double {
    values.isEmpty ? 0 : values.reduce(0, +) / Double(values.count)
  }

  private func rate(_ values: [Double]) -> String {
    grouped(Int(mean(values)))
  }

  private func ratio(_ values: [Double], _ reference: [Double]) -> String {
    guard mean(reference) > 0 else { return "" }
    return String(format: "x %.2f", mean(values) / mean(reference))
  }
}
