import FSRing
import Testing

@testable import FSStack

/// Pacing (SO_MAX_PACING_RATE), in virtual time.
@Suite struct PacingTests {
  /// Moments, in milliseconds, at which A has sent data.
  private func departures(_ simulation: Simulation) -> [Double] {
    simulation.trace.entries
      .filter { $0.sender == "A" && $0.segment.payloadLength > 0 }
      .map { Double(($0.time - simulation.start).nanoseconds) / 1_000_000 }
  }

  private func transfer(
    _ count: Int, rate: Int32?, latency: Interval = .milliseconds(5), loss: Double = 0
  ) -> (departures: [Double], seconds: Double) {
    var conditions = LinkConditions()
    conditions.latency = latency
    conditions.loss = loss
    let pair = Pair(conditions)
    defer { pair.simulation.end() }
    let client = pair.client.connect(to: pair.simulation.a.address, port: 80)
    pair.simulation.run(within: .seconds(20)) {
      client.isConnected && !pair.server.accepted.isEmpty
    }
    guard let server = pair.server.accept() else { return ([], 0) }
    if let rate { server.setOption(level: 1, name: 47, rate) }
    pair.client.onWake = { client.read() }
    pair.server.onWake = {
      if server.bytesSent < count { server.send(count - server.bytesSent) }
      pair.server.wantSpace()
    }
    let begin = pair.simulation.milliseconds
    pair.server.run()
    #expect(pair.simulation.run(within: .seconds(120)) { client.bytesReceived == count })
    #expect(client.firstWrongByte == nil)
    return (departures(pair.simulation), (pair.simulation.milliseconds - begin) / 1000)
  }

  /// 100 kB/s: behind the first ten segments one every 15 ms (1448 bytes and 66 of headers), as exactly as the timers' ticks allow.
  @Test func spacing() {
    let (moments, seconds) = transfer(200_000, rate: 100_000)
    // The last piece waits for an acknowledgement (Nagle).
    let paced = moments.dropFirst(10).dropLast()
    let gaps = zip(paced.dropFirst(), paced).map { $0 - $1 }
    #expect(gaps.allSatisfy { (12.0...18.0).contains($0) }, "\(gaps)")
    let average = gaps.reduce(0, +) / Double(gaps.count)
    #expect(abs(average - 15.0) < 0.2, "\(average)")
    #expect((1.85...2.1).contains(seconds), "\(seconds)")
  }

  /// 10 MB/s: in no span of time more than the rate, two ticks and a few segments.
  @Test func burstsAreBounded() {
    let rate = 10_000.0  // bytes in a millisecond
    let (moments, seconds) = transfer(2_000_000, rate: 10_000_000)
    var worst = 0.0
    let paced = Array(moments.dropFirst(10))
    for first in paced.indices {
      for last in first..<min(first + 60, paced.count) {
        let bytes = Double(last - first + 1) * 1500
        worst = max(worst, bytes - (paced[last] - paced[first]) * rate)
      }
    }
    #expect(worst <= 2 * rate + 2 * 1500, "\(worst)")
    #expect(seconds >= 0.2, "\(seconds)")
  }

  /// Without the option a window leaves at once.
  @Test(arguments: [nil, -1, 0] as [Int32?])
  func notPaced(rate: Int32?) {
    let (moments, _) = transfer(100_000, rate: rate)
    #expect(moments.dropFirst(10).filter { $0 == moments[10] }.count > 1)
  }

  /// What is sent again is paced, too, and nothing stands still.
  @Test func losses() {
    let (moments, seconds) = transfer(200_000, rate: 200_000, loss: 0.03)
    let paced = moments.dropFirst(10)
    #expect(zip(paced.dropFirst(), paced).filter { $0 - $1 < 4 }.isEmpty)
    #expect(seconds < 4, "\(seconds)")
  }

  /// A rate that is lifted lets go what has waited.
  @Test func lifted() {
    let pair = Pair()
    let (server, client) = pair.connect()
    server.setOption(level: 1, name: 47, 1000)
    server.setOption(level: 6, name: 1, 1)
    for _ in 0..<20 { server.send(1000) }
    pair.simulation.run(for: .milliseconds(500))
    client.read()
    #expect(client.bytesReceived < 17_000)
    server.setOption(level: 1, name: 47, -1)
    pair.simulation.run(for: .milliseconds(50))
    client.read()
    #expect(client.bytesReceived == 20_000)
  }
}
