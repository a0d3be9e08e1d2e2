import Testing

@testable import FSStack

/// Which perfect filters the 82599 gets.
@Suite struct FlowDirectorSchemeTests {
  private func matches(_ rule: FlowDirectorRule, _ destination: UInt16, _ source: UInt16) -> Bool {
    destination & rule.mask.destinationPort == rule.destinationPort
      && source & rule.mask.sourcePort == rule.sourcePort
  }

  /// Eight engines: one rule for each, that compares the highest bit and the lowest three.
  @Test func powerOfTwo() throws {
    let rules = try FlowDirectorScheme(engineCount: 8).rules()
    let mask = FlowDirectorMask(destinationPort: 0x8007, sourcePort: 0)
    #expect(
      rules
        == (0..<8).map {
          FlowDirectorRule(
            location: $0, destinationPort: 0x8000 | UInt16($0), sourcePort: 0, mask: mask, queue: $0
          )
        })
    #expect(try FlowDirectorScheme(engineCount: 1).rules() == [])
  }

  /// Twelve engines: the four residues that would be nobody's are the first engines'.
  @Test func otherCounts() throws {
    let rules = try FlowDirectorScheme(engineCount: 12).rules()
    #expect(rules.map(\.queue) == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 0, 1, 2, 3])
    #expect(rules.allSatisfy { $0.mask.destinationPort == 0x800f && $0.mask.sourcePort == 0 })
  }

  /// For any number of engines: exactly one rule for a packet of an active flow, and it names the
  /// owner; one mask; the capacity is respected. Passive packets match only where the scheme says so.
  @Test(arguments: [2, 3, 4, 5, 8, 12, 16, 17, 24, 31, 32, 33, 48, 64])
  func everyPacketsOwner(_ count: Int) throws {
    let scheme = FlowDirectorScheme(engineCount: count)
    let rules = try scheme.rules()
    #expect(rules.count <= FlowDirectorScheme.defaultCapacity)
    #expect(rules.map(\.location) == Array(rules.indices))
    #expect(rules.allSatisfy { $0.mask == rules[0].mask && $0.queue < count })
    for rule in rules {
      #expect(rule.destinationPort & ~rule.mask.destinationPort == 0)
      #expect(rule.sourcePort & ~rule.mask.sourcePort == 0)
    }
    let steersPassive = count > 16 && count <= 32
    var random = SplitMix64(seed: UInt64(count))
    for _ in 0..<200 {
      let active = UInt16.random(in: 36864...57343, using: &random)
      let listening = UInt16.random(in: 1..<32768, using: &random)
      let other = UInt16.random(in: 1...UInt16.max, using: &random)
      let owners = rules.filter { matches($0, active, other) }.map(\.queue)
      #expect(owners == [Engine.engine(ofActivePort: active, engineCount: count)])
      let passive = rules.filter { matches($0, listening, other) }.map(\.queue)
      let owner = scheme.engine(ofPassiveSourcePort: other)
      #expect(passive == (steersPassive ? [owner].compactMap { $0 } : []))
      #expect(owner.map { (16..<count).contains($0) } ?? true)
    }
  }

  /// Engines beyond the hash's reach get their share of the flows of clients whose ports have the same
  /// lowest bit, as Linux's have: no engine has more than a fourth more than its share.
  @Test func sharesOfPassiveFlows() {
    let scheme = FlowDirectorScheme(engineCount: 24)
    var flows = [Int](repeating: 0, count: 24)
    var hashed = 0
    for port in stride(from: UInt16(32768), to: 60000, by: 2) {
      if let engine = scheme.engine(ofPassiveSourcePort: port) {
        flows[engine] += 1
      } else {
        hashed += 1
      }
    }
    let total = flows.reduce(hashed, +)
    let most = max(flows.max() ?? 0, hashed / 16)
    #expect(
      flows[16...].allSatisfy { $0 > total / 24 * 7 / 10 } && flows[..<16].allSatisfy { $0 == 0 })
    #expect(most * 24 < total * 5 / 4)
  }

  // MARK: Rules of others

  /// Rules of others with our mask keep their places; ours go around them.
  @Test func besideOthers() throws {
    let scheme = FlowDirectorScheme(engineCount: 4)
    let mask = FlowDirectorMask(destinationPort: 0x8003, sourcePort: 0)
    let other = FlowDirectorRule(
      location: 1, destinationPort: 0x0002, sourcePort: 0, mask: mask, queue: 3)
    #expect(try scheme.rules(beside: [other]).map(\.location) == [0, 2, 3, 4])
    #expect(throws: FlowDirectorObstacle.tableFull(needed: 4, free: 3)) {
      try scheme.rules(capacity: 4, beside: [other])
    }
  }

  /// Another mask, or the same packets: nothing is overwritten, and the reason is said.
  @Test func inTheWayOfOthers() {
    let scheme = FlowDirectorScheme(engineCount: 4)
    var mask = FlowDirectorMask(destinationPort: 0x8003, sourcePort: 0)
    var other = FlowDirectorRule(
      location: 9, destinationPort: 0x8002, sourcePort: 0, mask: mask, queue: 0)
    #expect(throws: FlowDirectorObstacle.overlap(location: 9)) {
      try scheme.rules(beside: [other])
    }
    mask.comparesMore = true
    other.mask = mask
    #expect(throws: FlowDirectorObstacle.otherMask(location: 9)) {
      try scheme.rules(beside: [other])
    }
  }
}
