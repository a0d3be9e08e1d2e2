import Laboratory
import Testing

/// What the tests read of `fsd stats --json`.
@Suite struct StatisticsTests {
  @Test func sumsOverEnginesAndKnowsItsNames() throws {
    let statistics = try DaemonStatistics(
      json: """
        {"engines": [{"kicks": 1, "drops": {"no_route": 2}, "sockets": [{"kicks": 4}, {"kicks": 8}]},
          {"kicks": 16, "drops": {"no_route": 32}, "sockets": []}], "total": {"kicks": 17}}
        """)
    #expect(try statistics.sum("kicks") == 29)
    #expect(try statistics.sum("no_route") == 34)
    #expect(try statistics.sum { $0.hasPrefix("sockets.") } == 12)
    #expect(throws: LaboratoryError.self) { try statistics.sum("kick") }
    #expect(throws: LaboratoryError.self) { try statistics.sum { $0.isEmpty } }
  }
}
