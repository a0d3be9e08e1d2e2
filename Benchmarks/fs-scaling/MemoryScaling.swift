import Foundation
import Laboratory

/// One engine with its peer in memory on each processor of this machine: what two together do, to what they do
/// one after the other.
enum MemoryScaling {
  private static let rounds = 7
  private static let seconds = 1.5

  static func measure() throws -> String {
    guard ProcessInfo.processInfo.processorCount >= 2 else {
      throw LaboratoryError("this needs two processors")
    }
    var alone: [Double] = []
    var together: [Double] = []
    var ratios: [Double] = []
    for round in 1...rounds {
      print("memory: round \(round) of \(rounds)")
      let first = InMemoryPair.rates(on: [0], besides: [1], seconds: seconds)[0]
      let both = InMemoryPair.rates(on: [0, 1], seconds: seconds).reduce(0, +)
      let second = InMemoryPair.rates(on: [1], besides: [0], seconds: seconds)[0]
      let mean = (first + second) / 2
      alone.append(mean)
      together.append(both)
      ratios.append(both / mean)
    }
    let table = ScalingReport.table([
      ["", "Short connections per second", "to one"],
      ["1 engine", grouped(median(alone)), "1"],
      [
        "2 engines", grouped(median(together)),
        ScalingReport.fixed(median(ratios)),
      ],
    ])
    return """
      \(table)

      Medians of \(rounds) rounds of \(ScalingReport.fixed(seconds, 1)) s each: processor 0 while the other only counts, both,
      processor 1 while the other counts. Each thread has an engine and a peer, which is an engine, too, and both do all the work of a connection
      with 100 bytes of request and 600 of response. Ratios of the rounds:
      \(ratios.map { ScalingReport.fixed($0) }.joined(separator: ", ")).
      """
  }
}
