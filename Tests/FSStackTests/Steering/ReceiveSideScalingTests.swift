import Testing

@testable import FSStack

@Suite struct ReceiveSideScalingTests {
  /// The daemon's flow rules and the engines' ownership follow from the same numbers, also for a table that
  /// leaves an engine out.
  @Test(arguments: [
    ([0, 1, 2, 0], 3, true), ([0, 2, 0, 2], 3, false), ([0, 0], 1, false), ([], 0, false),
  ])
  func whatATableReaches(_ table: [UInt8], _ hashedQueues: Int, _ reachesAllOfThree: Bool) {
    let scaling = ReceiveSideScaling(key: [UInt8](repeating: 1, count: 40), engines: table)
    #expect(scaling.hashedQueues == hashedQueues)
    #expect(scaling.reachesAll(engineCount: 3) == reachesAllOfThree)
  }
}
