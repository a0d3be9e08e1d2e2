import Testing

@testable import FSStack

@Suite struct FlowTableTests {
  private static let count = 300

  /// What each flow of the test is in turn, and always found as; no other flow is in its way.
  @Test func findsWhatAFlowIs() throws {
    var configuration = EngineConfiguration(engineIndex: 0, engineCount: 1, secret: (1, 2, 3, 4))
    configuration.maximumConnections = 1
    let now = Instant(nanoseconds: 1)
    var engine = Engine(configuration: configuration, now: now)
    let secret = engine.secret
    let flows = FlowTable(
      connections: Self.count, halfOpen: Self.count, timeWait: Self.count)
    defer { flows.deallocate() }
    var random = SplitMix64(seed: 7)
    var model: [Int: FlowRecord] = [:]
    for step in 0..<30_000 {
      let number = Int.random(in: 0..<Self.count, using: &random)
      let flow = flow(number)
      let hash = secret.hash(flow)
      try #require(flows.find(flow, hash: hash) == model[number], "step \(step)")
      if let record = model[number] { flows.remove(record, hash: hash) }
      switch model[number] {
      case nil:
        model[number] = flows.halfOpen.allocate(halfOpen(flow)).map(FlowRecord.halfOpen)
      case .halfOpen(let id):
        flows.halfOpen.free(id)
        let connection = engine.makeConnection(
          flow, state: .established, interface: 0, nextHop: MACAddress(), vlan: 0, pathMTU: 1500,
          now: now)
        model[number] = flows.connections.allocate(connection).map(FlowRecord.connection)
      case .connection(let id):
        flows.connections.free(id)
        model[number] = flows.timeWait.allocate(timeWait(flow)).map(FlowRecord.timeWait)
      case .timeWait(let id):
        flows.timeWait.free(id)
        model[number] = nil
      }
      if let record = model[number] { flows.insert(record, hash: hash) }
      // Hashes that agree in half of their bits are improbable.
      #expect(flows.candidate(hash) == model[number])
    }
  }

  private func flow(_ number: Int) -> Flow {
    Flow(
      local: IPAddress(v4: 10, 0, 0, 1), localPort: 80, remote: IPAddress(v4: 10, 0, 0, 2),
      remotePort: UInt16(number))
  }

  private func halfOpen(_ flow: Flow) -> HalfOpen {
    HalfOpen(
      flow: flow, offer: SynchronizeOffer(Segment(), usesECN: false), initial: SequenceNumber(0),
      endpoint: EndpointID(raw: 0), nextHop: MACAddress(), vlan: 0, interface: 0)
  }

  private func timeWait(_ flow: Flow) -> TimeWaitRecord {
    TimeWaitRecord(
      flow: flow, sendNext: SequenceNumber(0), receiveNext: SequenceNumber(0), recentTimestamp: 0,
      windowField: 1, hasTimestamps: false)
  }
}
