import Foundation
import Testing

@testable import FSStack

/// What connections cost both of their engines, without a simulation in between: frames go from one
/// to the other in memory. Only with `FS_COST=1`, and only a release build means anything.
@Suite(.enabled(if: ProcessInfo.processInfo.environment["FS_COST"] != nil))
struct CostTests {
  /// Nanoseconds of the fastest of some rounds.
  private func fastest(of rounds: Int, _ body: () -> Void) -> Double {
    let clock = ContinuousClock()
    return (0..<rounds).map { _ in
      let time = clock.measure(body)
      return Double(time.components.attoseconds) / 1e9 + Double(time.components.seconds) * 1e9
    }.min() ?? 0
  }

  @Test func shortConnections() {
    let wire = InMemoryPair(maximumTimeWait: 1 << 20)
    for _ in 0..<1000 { wire.shortConnection() }
    let cost = fastest(of: 300) { for _ in 0..<100 { wire.shortConnection() } } / 100
    print("short connection: \(Int(cost)) ns, of a connection: \(MemoryLayout<Connection>.size) B")
    #expect(cost < 1_000_000)
  }

  @Test func bulk() {
    let wire = InMemoryPair(maximumTimeWait: 1 << 20)
    let total = 2_000_000
    let cost = fastest(of: 40) { wire.transfer(total) }
    print("bulk: \(Int(cost / Double(total / 1460))) ns a segment, with the test's application")
    #expect(cost < 10_000_000_000)
  }
}
