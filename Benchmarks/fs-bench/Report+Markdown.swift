import Foundation
import Laboratory

extension Report {
  /// The whole report, for a person. The pictures are in `plots`.
  func markdown(plots: String) -> String {
    var lines = ["# Benchmark: Linux's TCP and fsd", "", machine + ", " + day + "."]
    lines += ["", Self.protocolText(options), ""]
    for tier in options.tiers {
      lines += ["## Summary, \(tier.title)", ""] + summary(tier) + [""]
      lines += ["![Ratios, \(tier.title)](\(plots)ratios-\(tier.rawValue).svg)", ""]
    }
    lines += crossCheckTable() + eventTable()
    for tier in options.tiers {
      lines += ["## Each scenario, \(tier.title)", ""]
      for scenario in scenarios(tier) {
        lines += table(scenario, tier) + [""]
        if hasLatencyPlot(scenario, tier) {
          let file = Self.latencyPlotName(scenario, tier)
          lines += ["![Latency of \(scenario.title)](\(plots)\(file))", ""]
        }
      }
    }
    return (lines + faultList()).joined(separator: "\n") + "\n"
  }

  private var day: String { date.formatted(.iso8601.year().month().day()) }

  private static func protocolText(_ options: BenchmarkOptions) -> String {
    let seconds = String(format: "%g", options.seconds)
    let share = String(format: "%.0f", options.offered * 100)
    let steal = String(format: "%.0f", options.maximumSteal * 100)
    let connections =
      options.connections.map { "\($0) connections" }
      ?? "\(Scenario.waitingConnections) connections that stay and wait for each answer, or "
      + "\(Scenario.busyConnections) others,"
    let gathering =
      options.coalesce > 0
      ? "\n- On the server's interface packets gather for \(options.coalesce) us, whoever serves "
        + "(`fsd start --coalesce-microseconds`)."
      : ""
    return """
      Written by `make bench`. Two network namespaces, a veth pair of one queue, MTU 1500. Core 0 has the \
      server, one worker, and with fsd the engine; core 1 has the client, `Benchmarks/fs-load`, an engine of \
      this project on an AF_XDP socket. The kernel's TCP has CUBIC, as fsd's, GRO, a \
      backlog of 65,535, and remembers as many connections in TIME-WAIT as fsd, 131,072.

      - *wire-like*: each packet as on a wire, with no segmentation offload, and with checksums made and \
      checked by both sides; and each side receives on its own core, the kernel's server just as fsd's: a \
      thread of the kernel for NAPI is pinned there. (Moving packets by RPS instead costs the kernel's \
      server another third of its rate on a virtual machine, where each interrupt between processors is \
      expensive.)
      - *received on the sender's core*: the same without those threads. A virtual link then receives on the \
      core that sends: the client's core does part of the server's work, all of TCP's receive path with the \
      kernel, the copy into the engine's memory with fsd. Rates are higher and say less; CPU of the whole \
      machine tells the truth.
      - *veth-native*: as between containers, where nobody makes checksums, and also received on the \
      sender's core; bulk transfers then are packets of 64 KB.
      - \(connections) at any time, which keep the server's core busy.
      - Bulk transfers have a client on the kernel's TCP: over a virtual link that is faster than `fs-load`, and \
      so less often the limit.
      - Medians of \(options.pairs) rounds of \(seconds) s each, kernel and fsd in turn, in the order ABBA; \
      in brackets the least and the greatest.
      - CPU is that of the whole machine (/proc/stat), divided by the operations, without what the \
      generator spends on looking for work.
      - Latency is measured at equal offered load, \(share) % of what the kernel can do (the median of three \
      rounds). Requests are due at \
      random moments (a Poisson process, the same in each round), whatever becomes of those before, and \
      their latency counts from there: what waits because the server stalls is not left out.
      - Every answer is compared byte by byte, but for the date.
      - A round is void with more than \(steal) % stolen time, with more than one segment sent again or one \
      connection reset in a thousand operations (a proxy may reset those to its servers), with overflows, failures or \
      unanswered requests, at a fixed rate of \
      which less than 95 % is served, and (wire-like) at full load with the \
      client's core busy for more than 95 % of the time. It is then repeated, so many times as there are rounds at \
      most; what has fewer than half of its rounds has no figure. Bulk transfers overflow the link's queues and \
      saturate whichever side is slower: only stolen time voids them. What counts of them has arrived.\(gathering)
      """
  }

  private func faultList() -> [String] {
    let all = findings.measurements
    let void = all.filter { !$0.faults.isEmpty }
    var lines = ["## Void rounds", ""]
    lines.append("\(void.count) of \(all.count) measurements are void and count nowhere above.")
    if !void.isEmpty { lines.append("") }
    for measurement in void {
      let load = measurement.offered > 0 ? "fixed rate" : "full load"
      lines.append(
        "- \(measurement.scenario), \(measurement.tier.title), \(measurement.carrier.rawValue), "
          + "\(load): \(measurement.faults.joined(separator: "; "))")
    }
    for failure in findings.failures { lines += ["", "Not measured to the end: \(failure)"] }
    let stolen = median(all.map(\.stolen)) * 100
    lines += [
      "",
      String(
        format: "Time stolen by the hypervisor: %.1f %% (median). Load of others at the start: "
          + "%.0f %% of the machine.", stolen, findings.foreignLoad * 100),
    ]
    return lines
  }
}
