import Foundation
import Laboratory

/// All measurements of a run, and their summary.
struct Report: Codable {
  let options: BenchmarkOptions
  let measurements: [Measurement]

  /// The rounds that count.
  private func valid(_ carrier: Carrier, _ workload: Workload) -> [Measurement] {
    measurements.filter {
      $0.carrier == carrier && $0.workload == workload && $0.faults.isEmpty
    }
  }

  /// Whether there is a figure for everything.
  var isUsable: Bool {
    Carrier.allCases.allSatisfy { carrier in
      Workload.allCases.allSatisfy { !valid(carrier, $0).isEmpty }
    }
  }

  /// One measurement on one line.
  static func line(_ measurement: Measurement) -> String {
    let name = "\(measurement.carrier.rawValue)".padding(toLength: 6, withPad: " ", startingAt: 0)
    let faults =
      measurement.faults.isEmpty ? "" : "  VOID: " + measurement.faults.joined(separator: ", ")
    return String(
      format: "%@ %8.0f/s  p50 %6.0f us  p99 %6.0f us  CPU %5.1f us  client core %3.0f %%  "
        + "stolen %2.0f %%  %@%@",
      name, measurement.rate, measurement.median, measurement.percentile99,
      measurement.machineMicroseconds, measurement.clientLoad * 100, measurement.stolen * 100,
      measurement.workload.title, faults)
  }

  /// Everything, for a program.
  func json() throws -> Data {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
    return try encoder.encode(self)
  }

  /// The summary, for a person.
  var markdown: String {
    var lines = [
      "",
      "nginx with one worker on core 0, client on core 1, 64-byte responses, "
        + "\(options.connections) connections, medians of \(options.pairs) rounds of "
        + "\(Int(options.seconds)) s each, kernel and fsd in turn.",
      "",
      "| | kernel | fsd | fsd / kernel |",
      "|---|---|---|---|",
    ]
    for workload in Workload.allCases {
      let kernel = valid(.kernel, workload)
      let fsd = valid(.fsd, workload)
      func row(_ title: String, _ format: String, _ value: (Measurement) -> Double) {
        let (a, b) = (median(kernel.map(value)), median(fsd.map(value)))
        let ratio = a > 0 ? b / a : 0
        lines.append(
          "| \(title) | \(String(format: format, a)) | \(String(format: format, b)) | "
            + "\(String(format: "%.2f", ratio)) |")
      }
      row("**\(workload.title) per second**", "%.0f") { $0.rate }
      row("CPU per request, whole machine, us", "%.1f") { $0.machineMicroseconds }
      row("of which server's core, us", "%.1f") { $0.serverMicroseconds }
      row("of which client's core, us", "%.1f") { $0.clientMicroseconds }
      row("p50, us", "%.0f") { $0.median }
      row("p99, us", "%.0f") { $0.percentile99 }
      row("load of the client's core", "%.2f") { $0.clientLoad }
    }
    let void = measurements.count { !$0.faults.isEmpty }
    lines += [
      "",
      "Void measurements (retransmissions, overflows, wrong or failed requests), not counted: "
        + "\(void). Time stolen by the hypervisor: "
        + String(format: "%.0f %%.", median(measurements.map(\.stolen)) * 100),
      "",
    ]
    return lines.joined(separator: "\n")
  }
}
