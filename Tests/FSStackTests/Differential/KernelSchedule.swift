import Glibc

@testable import FSStack

/// Runs scripts against Linux, many at a time: what takes time in them is waiting.
///
/// A step must begin when it is due, or answers of timers are noted with the wrong step. A script to
/// which that happens, because the machine was busy, is run again.
final class KernelSchedule {
  /// Milliseconds that a step may be late.
  private static let tolerance = 3.0
  /// Scripts under way at a time; fewer when some have to be repeated.
  private static let concurrency = 48
  private static let rounds = 24

  private struct Entry {
    var index: Int
    var run: KernelRun
    /// When the answers of its present step have all come.
    var due: Double
    var isLate = false
  }

  private let network: KernelNetwork
  /// Scripts under way by the address of their peer.
  private var runs: [IPAddress: KernelRun] = [:]
  private var number = 0

  init(on network: KernelNetwork) { self.network = network }

  /// The transcript of each script; nil if the machine was too busy for it in every round.
  func transcripts(of scripts: [Script]) -> [Transcript?] {
    var results = [Transcript?](repeating: nil, count: scripts.count)
    var concurrency = Self.concurrency
    for _ in 0..<Self.rounds {
      let missing = results.indices.filter { results[$0] == nil }
      if missing.isEmpty { break }
      for (index, transcript) in round(scripts, missing, concurrency: concurrency) {
        results[index] = transcript
      }
      concurrency = max(concurrency / 2, 8)
    }
    return results
  }

  private func round(
    _ scripts: [Script], _ wanted: [Int], concurrency: Int
  ) -> [(index: Int, transcript: Transcript)] {
    var waiting = wanted[...]
    var underWay: [Entry] = []
    var results: [(index: Int, transcript: Transcript)] = []
    var mayStartAt = 0.0
    while !waiting.isEmpty || !underWay.isEmpty {
      if underWay.count < concurrency, Self.now >= mayStartAt, let index = waiting.popFirst() {
        number += 1
        let run = KernelRun(scripts[index], number: number, on: network)
        runs[run.conversation.peer] = run
        underWay.append(Entry(index: index, run: run, due: Self.now))
        // They do not all want to do something at the same moment.
        mayStartAt = Self.now + 1
      }
      for position in underWay.indices where underWay[position].due <= Self.now {
        advance(&underWay[position])
      }
      underWay.removeAll { entry in
        guard entry.due == .infinity else { return false }
        runs[entry.run.conversation.peer] = nil
        if !entry.isLate { results.append((entry.index, entry.run.transcript)) }
        return true
      }
      rest(until: underWay.map(\.due).min() ?? 0)
    }
    return results
  }

  private func advance(_ entry: inout Entry) {
    collect()
    if Self.now - entry.due > Self.tolerance { entry.isLate = true }
    guard !entry.isLate, let duration = entry.run.step() else {
      entry.due = .infinity
      return
    }
    collect()
    entry.due = Self.now + Double(duration)
  }

  private func rest(until due: Double) {
    let milliseconds = due - Self.now
    if milliseconds > 0.1 { network.wait(milliseconds: min(max(Int(milliseconds), 1), 5)) }
    collect()
  }

  private func collect() {
    for frame in network.take() { runs[KernelNetwork.destination(of: frame)]?.take(frame) }
  }

  private static var now: Double {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return Double(time.tv_sec) * 1000 + Double(time.tv_nsec) / 1_000_000
  }
}
