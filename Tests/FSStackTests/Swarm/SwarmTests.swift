import Foundation
import Testing

@testable import FSStack

/// A swarm of simulations, each with features of its own: whatever links and applications do, each
/// side reads what the other has sent, goes on when the link is good again, and leaves nothing.
///
/// `FS_SEEDS=1-100000` runs these seeds and prints what they met; `FS_SEEDS=17` shows one. `make simulate`
/// and `make test` run 3000 of them in a release build.
@Suite struct SwarmTests {
  /// When none are asked for: a debug build takes a tenth of a second for each.
  private static let ordinary: ClosedRange<UInt64> = 1...20
  /// So many runs must have reached everything that `SwarmCoverage` asks for.
  private static let enough = 1000

  private struct Failure: Sendable {
    var seed: UInt64
    var text: String
  }

  /// What one worker has found.
  private struct Outcome: Sendable {
    var coverage = SwarmCoverage()
    var failures: [Failure] = []
  }

  @Test func everythingArrives() async {
    let wanted = Self.wantedSeeds
    let seeds = wanted ?? Self.ordinary
    let start = Date()
    let outcome = await Self.run(seeds)
    let seconds = Date().timeIntervalSince(start)
    for failure in outcome.failures.sorted(by: { $0.seed < $1.seed }).prefix(3) {
      Issue.record("\(failure.text)")
    }
    if wanted != nil {
      let rate = Int(Double(outcome.coverage.runs) / max(seconds, 0.001))
      let completion = outcome.coverage.longestCompletion.nanoseconds / 1_000_000
      print(
        """
        \(outcome.coverage.runs) runs in \(Int(seconds)) s, \(rate) a second, \
        \(outcome.failures.count) failed: \(outcome.failures.map(\.seed).sorted().prefix(50))
        longest completion after healing: \(completion) ms
        \(outcome.coverage.report)
        """)
    }
    if outcome.coverage.runs >= Self.enough {
      #expect(outcome.coverage.missing == [])
    }
  }

  private static var wantedSeeds: ClosedRange<UInt64>? {
    let bounds = ProcessInfo.processInfo.environment["FS_SEEDS"]?.split(separator: "-")
      .compactMap { UInt64($0) }
    guard let bounds, let first = bounds.first, let last = bounds.last, first <= last else {
      return nil
    }
    return first...last
  }

  /// Runs the seeds, as many at once as there are cores.
  private static func run(_ seeds: ClosedRange<UInt64>) async -> Outcome {
    let workers = UInt64(ProcessInfo.processInfo.activeProcessorCount)
    return await withTaskGroup(of: Outcome.self) { group in
      for worker in 0..<workers {
        group.addTask {
          var outcome = Outcome()
          for seed in stride(
            from: seeds.lowerBound + worker, through: seeds.upperBound, by: Int(workers))
          {
            run(seed, &outcome)
            await Task.yield()
          }
          return outcome
        }
      }
      var all = Outcome()
      for await part in group {
        all.coverage.add(part.coverage)
        all.failures += part.failures
      }
      return all
    }
  }

  private static func run(_ seed: UInt64, _ outcome: inout Outcome) {
    let isAlone = wantedSeeds?.count == 1
    let run = SwarmRun(seed: seed)
    let trace = run.simulation.trace
    if isAlone {
      trace.limit = 1_000_000
      trace.shown = 4000
      run.tellsAll = true
    }
    let problems = run.run()
    outcome.coverage.add(run)
    guard !problems.isEmpty else {
      if isAlone { print("seed \(seed) with \(run.features)\(trace)") }
      return
    }
    let text = """
      seed \(seed) with \(run.features), \(run.isHealed ? "healed" : "in trouble") at the end
      \(problems.prefix(8).joined(separator: "\n"))\(run.simulation.firstProblem ?? trace.description)
      """
    outcome.failures.append(Failure(seed: seed, text: text))
  }
}
