import Testing

@testable import FSStack

/// The limits of the simulated 82599 are the real one's.
@Suite struct SimulatedCardTests {
  private func rule(
    _ location: Int, port: UInt16 = 0x8000, mask: UInt16 = 0x8007, queue: Int = 0
  ) -> FlowDirectorRule {
    FlowDirectorRule(
      location: location, destinationPort: port, sourcePort: 0,
      mask: FlowDirectorMask(destinationPort: mask, sourcePort: 0), queue: queue)
  }

  /// One mask for all rules: another one only when the list is empty.
  @Test func oneMask() throws {
    let card = SimulatedCard(queueCount: 8)
    try card.insert(rule(0))
    #expect(throws: SimulatedCard.Refusal.invalidArgument) {
      try card.insert(rule(1, mask: 0xffff))
    }
    try card.delete(0)
    try card.insert(rule(1, mask: 0xffff))
    #expect(throws: SimulatedCard.Refusal.invalidArgument) { try card.delete(0) }
  }

  /// 2046 places; queues beyond those that are open do not exist; entries of the table have four bits.
  @Test func limits() throws {
    let card = SimulatedCard(queueCount: 24)
    try card.insert(rule(2045, queue: 23))
    #expect(throws: SimulatedCard.Refusal.invalidArgument) { try card.insert(rule(2046)) }
    #expect(throws: SimulatedCard.Refusal.invalidArgument) { try card.insert(rule(0, queue: 24)) }
    var table = card.table
    #expect(Set(table) == Set(0..<16))
    table[5] = 16
    #expect(throws: SimulatedCard.Refusal.invalidArgument) { try card.setTable(table) }
    #expect(throws: SimulatedCard.Refusal.invalidArgument) { try card.setTable([0]) }
  }
}
