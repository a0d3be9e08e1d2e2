import Testing

@testable import FSStack

@Suite struct TimeWaitTableTests {
  private let secret = Secret(words: (1, 2, 3, 4))

  private func find(_ port: UInt16, in flows: FlowTable) -> TimeWaitID? {
    let flow = record(port).flow
    guard case .timeWait(let id) = flows.find(flow, hash: secret.hash(flow)) else { return nil }
    return id
  }

  private func record(_ port: UInt16, timestamps: Bool = true) -> TimeWaitRecord {
    TimeWaitRecord(
      flow: Flow(
        local: IPAddress(v4: 10, 0, 0, 1), localPort: port, remote: IPAddress(v4: 10, 0, 0, 2),
        remotePort: 80),
      sendNext: SequenceNumber(7), receiveNext: SequenceNumber(9), recentTimestamp: 0,
      windowField: 1, hasTimestamps: timestamps)
  }

  @Test func recordIsSmall() {
    #expect(MemoryLayout<TimeWaitRecord>.stride == 56)
  }

  /// Each wait ends after 60 s, rounded up to a tick, wherever in the round of 1024 s it began.
  @Test func expires() {
    let flows = FlowTable(connections: 1, halfOpen: 1, timeWait: 64)
    var table = TimeWaitTable(flows, secret: secret)
    defer {
      table.deallocate()
      flows.deallocate()
    }
    for begin in stride(from: UInt64(1), to: 3000, by: 37) {
      let now = Instant(nanoseconds: begin * 1_000_000_007)
      table.insert(record(1), now: now)
      table.insert(record(2), now: now + .seconds(20))
      let deadline = table.nextDeadline
      #expect(deadline.map { $0 - now >= .seconds(60) && $0 - now < .milliseconds(60_016) } == true)
      table.expire(now: now + .milliseconds(59_999))
      #expect(table.records.count == 2)
      table.expire(now: now + .milliseconds(60_016))
      #expect(table.records.count == 1)
      table.expire(now: now + .milliseconds(80_016))
      #expect(table.records.count == 0 && table.nextDeadline == nil)
    }
  }

  /// MUST-13: a restarted wait lasts as long as a new one; a full table gives up its oldest.
  @Test func restartAndOverflow() throws {
    let flows = FlowTable(connections: 1, halfOpen: 1, timeWait: 2)
    var table = TimeWaitTable(flows, secret: secret)
    defer {
      table.deallocate()
      flows.deallocate()
    }
    let now = Instant(nanoseconds: 5_000_000_000)
    table.insert(record(1), now: now)
    table.insert(record(2), now: now)
    let first = try #require(find(1, in: flows))
    table.restart(first, now: now + .seconds(30))
    table.insert(record(3), now: now + .seconds(31))
    #expect(find(2, in: flows) == nil)
    table.expire(now: now + .seconds(89))
    #expect(table.records.count == 2)
    table.expire(now: now + .milliseconds(90_016))
    #expect(table.records.count == 1)
  }

  /// Answers at least 500 ms apart; an active open may reuse a record with timestamps after 1 s.
  @Test func limits() throws {
    let flows = FlowTable(connections: 1, halfOpen: 1, timeWait: 4)
    var table = TimeWaitTable(flows, secret: secret)
    defer {
      table.deallocate()
      flows.deallocate()
    }
    let now = Instant(nanoseconds: 1_024_000_000_000 - 100_000_000)
    table.insert(record(1), now: now)
    table.insert(record(2, timestamps: false), now: now)
    let id = try #require(find(1, in: flows))
    let bare = try #require(find(2, in: flows))
    let answers = (0..<40).filter { table.mayAnswer(id, now: now + .milliseconds($0 * 50)) }
    #expect(answers == [0, 10, 20, 30])
    #expect(!table.isReusable(id, now: now + .milliseconds(900)))
    #expect(table.isReusable(id, now: now + .milliseconds(1050)))
    #expect(!table.isReusable(bare, now: now + .seconds(50)))
  }
}
