import Testing

@testable import FSStack

/// RFC 9293 Appendix B, "Retransmissions" and "Connection Failures".
@Suite struct RetransmissionRequirementTests {
  /// The moments, in milliseconds from now on, at which the first byte is sent again until `limit`
  /// times are over.
  private func retransmissions(_ pair: ScriptedPair, times: Int) -> [Double] {
    let begin = pair.simulation.milliseconds
    var found: [Double] = []
    pair.simulation.trace.clear()
    pair.simulation.run(within: .seconds(1000)) {
      for entry in pair.simulation.trace.entries
      where entry.sender == "A" && entry.relative.sequence == 1 && entry.segment.payloadLength > 0 {
        found.append(pair.simulation.milliseconds - begin)
      }
      pair.simulation.trace.clear()
      return found.count >= times
    }
    return found
  }

  /// The pauses between retransmissions double up to two minutes (MUST-19).
  @Test func backsOff() {
    let pair = ScriptedPair()
    let socket = pair.open()
    socket.send(100)
    pair.simulation.run(for: .milliseconds(1))
    let times = retransmissions(pair, times: 14)
    let pauses = zip(times, times.dropFirst()).map { $1 - $0 }
    #expect(times.count == 14 && times[0] >= 199)
    // A probe of the tail may come before the first of them.
    for (first, second) in zip(pauses.dropFirst(2), pauses.dropFirst(3)) {
      #expect(abs(second - min(2 * first, 120_000)) <= 5, "\(pauses)")
    }
  }

  /// Slow start opens the window by what is acknowledged, a loss closes it to one segment, and beyond
  /// half of what was in flight it grows by one segment for each round trip (MUST-19).
  @Test func slowStartAndCongestionAvoidance() {
    let pair = ScriptedPair()
    let socket = pair.open()
    socket.sendBuffer = 1 << 20
    var acknowledged = 1
    /// A round trip: acknowledges segment by segment all that has come; returns how many segments.
    func round() -> Int {
      socket.send(200_000)
      pair.simulation.run(for: .milliseconds(5))
      let edge = pair.sentEdge
      let count = (edge - acknowledged) / 1460
      while acknowledged < edge {
        acknowledged = min(acknowledged + 1460, edge)
        pair.simulation.send(pair.peer.header([], 1, ack: acknowledged).frame(), from: 1)
      }
      return count
    }
    let initial = round()
    let second = round()
    #expect(initial == 10 && second == 20)
    // Everything that is now in flight is lost.
    pair.simulation.run(for: .milliseconds(5))
    let lost = (pair.sentEdge - acknowledged) / 1460
    pair.simulation.trace.clear()
    pair.simulation.run(within: .seconds(5)) {
      pair.simulation.trace.entries.contains { $0.relative.sequence == acknowledged }
    }
    pair.simulation.run(for: .seconds(1))
    let flight = pair.simulation.trace.entries.filter { $0.sender == "A" }
    #expect(flight.allSatisfy { $0.relative.sequence >= acknowledged } && !flight.isEmpty)
    let window = pair.simulation.a.engines[0].engine.connections[ConnectionID(raw: 0)].congestion
      .window
    #expect(window <= 2 * 1460, "\(lost) segments were lost, and the window is \(window)")
  }

  /// A round trip is never measured on what was sent twice (MUST-18): a late acknowledgement after a
  /// retransmission changes nothing, and the backed-off timeout stands for what follows.
  @Test func retransmittedSegmentIsNotMeasured() {
    let pair = ScriptedPair()
    let socket = pair.open()
    socket.send(100)
    pair.simulation.run(for: .milliseconds(1))
    let before = pair.simulation.a.engines[0].engine.connections[ConnectionID(raw: 0)].roundTrip
    _ = retransmissions(pair, times: 3)
    pair.peer.send([], 1, ack: 101)
    let after = pair.simulation.a.engines[0].engine.connections[ConnectionID(raw: 0)].roundTrip
    #expect(before.smoothed == after.smoothed && before.variation == after.variation)
  }

  /// A retransmission has the same IP identification as the original (MAY-4): 0, as RFC 6864 has it
  /// for packets that may not be fragmented.
  @Test func identification() {
    let pair = ScriptedPair()
    let socket = pair.open()
    socket.send(100)
    pair.simulation.run(for: .milliseconds(1))
    #expect(retransmissions(pair, times: 2).count == 2)
    for segment in pair.frames {
      #expect(Array(segment.bytes[18..<22]) == [0, 0, 0x40, 0])
    }
  }

  // MARK: R1 and R2

  /// After three retransmissions the route is asked for again (MUST-20 R1, SHLD-10); after fifteen, many
  /// minutes later (SHLD-11), the connection is given up (MUST-20 R2).
  @Test func givesUp() {
    let pair = ScriptedPair()
    let socket = pair.open()
    pair.simulation.a.engines[0].control { $0.removePath(pair.simulation.b.address) }
    socket.send(100)
    pair.simulation.run(for: .milliseconds(1))
    let times = retransmissions(pair, times: 2)
    #expect(times.count == 2 && pair.simulation.a.pathRequests.isEmpty)
    _ = retransmissions(pair, times: 3)
    #expect(Set(pair.simulation.a.pathRequests.map(\.description)) == ["10.0.0.2"])
    #expect(socket.error == nil)
    let begin = pair.simulation.milliseconds
    pair.simulation.run(within: .seconds(2000)) { socket.error != nil }
    #expect(socket.error == 110)
    #expect((600_000...1_000_000).contains(pair.simulation.milliseconds - begin))
  }

  /// The application can say how long it takes (MUST-21): TCP_USER_TIMEOUT.
  @Test(arguments: [2000, 30_000])
  func applicationSetsR2(milliseconds: Int32) {
    let pair = ScriptedPair()
    let socket = pair.open()
    socket.setOption(level: 6, name: 18, milliseconds)
    socket.send(100)
    pair.simulation.run(for: .milliseconds(1))
    let begin = pair.simulation.milliseconds
    pair.simulation.run(within: .seconds(2000)) { socket.error != nil }
    let time = pair.simulation.milliseconds - begin
    #expect(socket.error == 110 && time >= Double(milliseconds) - 2)
    #expect(time < 2.2 * Double(milliseconds))
  }

  /// A SYN is sent again in the same way (MUST-22), and given up after 127 s, as Linux does: this
  /// deviates from MUST-23.
  @Test func givesUpSYN() {
    let simulation = Simulation(engines: (1, 0))
    let application = TestApplication(on: simulation.a.engines[0])
    let socket = application.connect(to: simulation.b.address, port: 1024, localPort: 40_000)
    simulation.run(within: .seconds(400)) { socket.error != nil }
    let times = simulation.trace.entries.map {
      Int((Double(($0.time - simulation.start).nanoseconds) / 1e9).rounded())
    }
    #expect(times.count >= 7 && times.first == 0 && times.last ?? 0 >= 63)
    #expect(simulation.trace.lines.allSatisfy { $0 == "A> SYN 0" })
    #expect(socket.error == 110 && simulation.milliseconds >= 126_000)
  }
}
