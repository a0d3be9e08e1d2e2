import Testing

@testable import FSStack

/// A proxy with one engine per queue of an 82599, in virtual time.
@Suite struct ProxySteeringTests {
  static let counts = [1, 2, 3, 8, 12, 16, 24]

  private func options(_ engines: Int) -> ProxyWorkload.Options {
    var options = ProxyWorkload.Options()
    options.connections = max(32, engines * 8)
    options.concurrency = max(16, engines * 3)
    options.seed = 200 + UInt64(engines)
    return options
  }

  /// What is true whatever the card does: all bytes, no RST, every packet for another engine handed over
  /// and taken once.
  private func expectCorrect(_ proxy: ProxyWorkload, hasStrays: Bool = false) {
    #expect(proxy.problems == [])
    // What links double and delay comes also after a connection's end.
    #expect(hasStrays || proxy.resets == 0)
    #expect(proxy.total(\.handedOver) == proxy.total(\.takenOver))
    #expect(proxy.total(\.passiveOpens) == proxy.options.connections)
    #expect(proxy.total(\.activeOpens) == proxy.options.connections)
  }

  // MARK: Flow Director

  /// With Flow Director every packet of both kinds of flows arrives at its owner, for any number of
  /// engines, also more than the 16 that the hash reaches.
  @Test(arguments: counts)
  func everyPacketArrivesAtItsOwner(_ engines: Int) throws {
    let proxy = try ProxyWorkload(engines: engines, options(engines))
    proxy.run()
    proxy.end()
    expectCorrect(proxy)
    #expect(proxy.total(\.handedOver) == 0)
    #expect(proxy.arrivals.misplaced == 0)
    #expect(proxy.arrivals.active > 0 && proxy.arrivals.passive > 0)
    #expect(engines == 1 || proxy.card.counters.filterMatches >= proxy.arrivals.active)
    // No engine is left out.
    for counters in proxy.counters {
      #expect(counters.passiveOpens > 0 && counters.activeOpens == counters.passiveOpens)
    }
  }

  /// The same with losses, reordering and duplicates on the way.
  @Test func everyPacketArrivesAtItsOwnerThroughTrouble() throws {
    var options = options(24)
    options.conditions.loss = 0.02
    options.conditions.duplication = 0.02
    options.conditions.reordering = 0.05
    let proxy = try ProxyWorkload(engines: 24, options)
    proxy.run(within: .seconds(200))
    proxy.end()
    expectCorrect(proxy, hasStrays: true)
    #expect(proxy.total(\.handedOver) == 0 && proxy.total(\.retransmissions) > 0)
  }

  // MARK: Without it

  /// Without rules the replies of backends arrive where the hash puts them, and are handed over.
  @Test(arguments: counts)
  func hashAlone(_ engines: Int) throws {
    var options = options(engines)
    options.hasRules = false
    let proxy = try ProxyWorkload(engines: engines, options)
    proxy.run()
    proxy.end()
    expectCorrect(proxy)
    #expect(proxy.total(\.handedOver) == proxy.arrivals.misplaced)
    #expect((proxy.arrivals.misplaced > 0) == (engines > 1))
  }

  /// The card has no filters for IPv6.
  @Test func overIPv6() throws {
    var options = options(8)
    options.isIPv4 = false
    let proxy = try ProxyWorkload(engines: 8, options)
    proxy.run()
    proxy.end()
    expectCorrect(proxy)
    // Only active flows: the hash brings the passive ones to their owners.
    #expect((1...proxy.arrivals.active).contains(proxy.total(\.handedOver)))
    #expect(proxy.card.counters.filterMatches == 0)
  }

  /// Without rules, source ports are chosen that the hash leads to their engine: no packet of either kind
  /// of flow is handed over, as far as the hash reaches all engines.
  @Test(arguments: [true, false], [2, 3, 8, 12, 16])
  func portsByTheHash(_ isIPv4: Bool, _ engines: Int) throws {
    var options = options(engines)
    options.hasRules = false
    options.isIPv4 = isIPv4
    options.activeSteering = .hash
    let proxy = try ProxyWorkload(engines: engines, options)
    proxy.run()
    proxy.end()
    expectCorrect(proxy)
    #expect(proxy.total(\.handedOver) == 0 && proxy.arrivals.misplaced == 0)
    for counters in proxy.counters {
      #expect(counters.activeOpens > 0 && counters.activeOpens == counters.passiveOpens)
    }
  }

  /// 24 engines, of which the hash reaches 16: the ports name the engines after all.
  @Test func portsByTheHashBeyondItsReach() throws {
    var options = options(24)
    options.activeSteering = .hash
    options.hasRules = false
    let proxy = try ProxyWorkload(engines: 24, options)
    proxy.run()
    proxy.end()
    expectCorrect(proxy)
    #expect(proxy.total(\.handedOver) > 0)
    for counters in proxy.counters { #expect(counters.activeOpens > 0) }
  }

  /// Half of the table is another than at the start. Once the engines know, they choose ports that lead to
  /// them by both tables: of new connections to backends nothing is handed over.
  @Test(arguments: [2, 12])
  func tableChangedAndNoticed(_ engines: Int) throws {
    var options = options(engines)
    options.hasRules = false
    options.activeSteering = .hash
    let proxy = try ProxyWorkload(engines: engines, options)
    let old = proxy.card.table
    let table = Array(old[1...64] + old[64...])
    try proxy.card.setTable(table)
    for engine in proxy.simulation.a.engines {
      engine.control { $0.setArrivals(proxy.card.receiveSideScaling) }
    }
    proxy.run()
    proxy.end()
    expectCorrect(proxy)
    #expect(proxy.arrivals.misplacedActive == 0 && proxy.arrivals.active > 0)
    #expect(proxy.total(\.handedOver) == proxy.arrivals.misplaced)
    #expect(proxy.arrivals.misplaced > 0, "the clients' packets")
  }

  /// The device is reset under load and loses its rules; once they are programmed again, nothing is
  /// handed over any more.
  @Test(arguments: [2, 12, 24])
  func rulesLostInReset(_ engines: Int) throws {
    var options = options(engines)
    options.connections *= 3
    let proxy = try ProxyWorkload(engines: engines, options)
    var before = -1
    var afterwards = (handedOver: -1, active: 0)
    proxy.atHalf = { [unowned proxy] in
      before = proxy.total(\.handedOver)
      proxy.card.reset()
      proxy.simulation.after(.milliseconds(5)) { proxy.card.isDown = false }
    }
    proxy.atThreeQuarters = { [unowned proxy] in
      // When the engines have taken what has arrived.
      proxy.simulation.after(.milliseconds(0)) {
        for rule in (try? FlowDirectorScheme(engineCount: engines).rules()) ?? [] {
          #expect(throws: Never.self) { try proxy.card.insert(rule) }
        }
        afterwards = (proxy.total(\.handedOver), proxy.arrivals.active)
      }
    }
    proxy.run()
    proxy.end()
    expectCorrect(proxy)
    #expect(before == 0 && proxy.card.counters.lostInReset > 0)
    #expect(afterwards.handedOver > 0 && proxy.arrivals.active > afterwards.active)
    #expect(proxy.total(\.handedOver) == afterwards.handedOver)
    #expect(proxy.total(\.handedOver) == proxy.arrivals.misplaced)
  }

  /// Someone changes the indirection table under load (`ethtool -X`): flows stay with the engines that
  /// have them, and what the card now brings elsewhere is handed over.
  @Test(arguments: [2, 12, 24])
  func tableChangedUnderLoad(_ engines: Int) throws {
    let proxy = try ProxyWorkload(engines: engines, options(engines))
    var before = -1
    proxy.atHalf = { [unowned proxy] in
      before = proxy.total(\.handedOver)
      let table = Array(proxy.card.table[1...] + [proxy.card.table[0]])
      #expect(throws: Never.self) { try proxy.card.setTable(table) }
    }
    proxy.run()
    proxy.end()
    expectCorrect(proxy)
    #expect(before == 0 && proxy.total(\.handedOver) > 0)
    #expect(proxy.total(\.handedOver) == proxy.arrivals.misplaced)
  }

  /// A ring that overflows loses packets, and nothing else.
  @Test func fullRings() throws {
    var options = options(3)
    options.ringSize = 8
    options.responseSize = 40_000
    let proxy = try ProxyWorkload(engines: 3, options)
    proxy.run(within: .seconds(200))
    proxy.end()
    expectCorrect(proxy)
    #expect(proxy.card.counters.missed > 0 && proxy.total(\.handedOver) == 0)
  }

  // MARK: What a connection costs

  /// Memory per connection does not depend on the number of engines.
  @Test func memoryIsFlat() throws {
    var perConnection: [Double] = []
    for engines in Self.counts {
      var options = options(engines)
      options.connections = 120
      options.concurrency = 120
      let proxy = try ProxyWorkload(engines: engines, options)
      proxy.hold()
      #expect(proxy.problems == [])
      let inUse = proxy.simulation.a.engines.reduce(0) { $0 + Int($1.engine.connections.count) }
      #expect(inUse == 2 * options.connections)
      perConnection.append(Double(proxy.tableBytes) / Double(inUse))
      let chunks = proxy.simulation.a.engines.map { $0.engine.statistics() }
      #expect(chunks.allSatisfy { $0.receiveChunksInUse == 0 && $0.sendChunksInUse == 0 })
      proxy.release()
      proxy.end()
      expectCorrect(proxy)
    }
    print("bytes of a connection for \(Self.counts) engines: \(perConnection.map { Int($0) })")
    #expect(perConnection.allSatisfy { abs($0 / perConnection[0] - 1) < 0.02 })
  }

  /// Neither do the frames, commands and events of a connection.
  @Test func workIsFlat() throws {
    var work: [Double] = []
    for engines in [1, 3, 16, 24] {
      let proxy = try ProxyWorkload(engines: engines, options(engines))
      proxy.run()
      proxy.end()
      let sum =
        proxy.total(\.framesReceived) + proxy.total(\.framesSent) + proxy.total(\.commands)
        + proxy.total(\.events)
      work.append(Double(sum) / Double(proxy.options.connections))
    }
    print("frames, commands and events of a connection for 1, 3, 16, 24 engines: \(work)")
    #expect(work.allSatisfy { abs($0 / work[0] - 1) < 0.02 })
  }
}
