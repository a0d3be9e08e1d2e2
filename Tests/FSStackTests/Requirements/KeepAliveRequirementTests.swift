import Testing

@testable import FSStack

/// RFC 9293 Appendix B, "Send Keep-alive Packets".
@Suite struct KeepAliveRequirementTests {
  private static let keepAlive = (level: 1, name: 9)

  /// Off unless asked for (MUST-25), and the application turns it on and off (MUST-24) for its
  /// connection alone (MAY-5).
  @Test func onAndOff() {
    let pair = ScriptedPair()
    let socket = pair.open()
    let other = ScriptedPeer(pair.simulation, port: 2000)
    other.open()
    pair.simulation.run(for: .seconds(20_000))
    #expect(pair.peer.take() == [])
    socket.setOption(level: 1, name: 9, 1)
    pair.simulation.run(for: .seconds(7201))
    #expect(pair.peer.take() == ["A> ACK 0 ack 1"])
    pair.peer.send([], 1, ack: 1)
    socket.setOption(level: 1, name: 9, 0)
    pair.simulation.run(for: .seconds(20_000))
    #expect(pair.peer.take() == [] && socket.error == nil)
  }

  /// Two hours unless told otherwise (MUST-28); the interval is the application's to set (MUST-27); the
  /// probe is an old number without data (SHLD-12).
  @Test(arguments: [nil, 1, 600] as [Int32?])
  func interval(seconds: Int32?) {
    let pair = ScriptedPair()
    let socket = pair.open()
    if let seconds { socket.setOption(level: 6, name: 4, seconds) }
    socket.setOption(level: 1, name: 9, 1)
    pair.simulation.run(for: .milliseconds(1))
    let begin = pair.simulation.milliseconds
    pair.simulation.run(within: .seconds(8000)) { !pair.simulation.trace.entries.isEmpty }
    let time = pair.simulation.milliseconds - begin
    #expect(abs(time - Double(seconds ?? 7200) * 1000) < 5)
    pair.simulation.run(for: .milliseconds(1))
    #expect(pair.peer.take() == ["A> ACK 0 ack 1"])
  }

  /// Only when nothing is outstanding and nothing has come (MUST-26): neither while data is in flight
  /// nor soon after the peer was heard.
  @Test func onlyWhenIdle() {
    let pair = ScriptedPair()
    let socket = pair.open()
    socket.setOption(level: 6, name: 4, 10)
    socket.setOption(level: 1, name: 9, 1)
    for round in 0..<10 {
      pair.simulation.run(for: .seconds(8))
      // Data, or an acknowledgement alone.
      pair.peer.send([], 1 + round / 2 * 10, count: round % 2 * 10, ack: 1)
    }
    pair.simulation.run(for: .seconds(1))
    #expect(!pair.peer.take().contains { $0.hasPrefix("A> ACK 0 ") })
    socket.send(10)
    pair.simulation.run(for: .seconds(60))
    #expect(!pair.peer.take().contains { $0.hasPrefix("A> ACK 0 ") })
    #expect(socket.error == nil)
  }

  /// A probe or its answer may be lost (MUST-29): only as many in a row as the application allows end
  /// the connection.
  @Test func lostProbes() {
    let pair = ScriptedPair()
    let socket = pair.open()
    for (name, value) in [(4, 10), (5, 2), (6, 4)] as [(Int, Int32)] {
      socket.setOption(level: 6, name: name, value)
    }
    socket.setOption(level: 1, name: 9, 1)
    for _ in 0..<20 {
      pair.simulation.trace.clear()
      pair.simulation.run(within: .seconds(30)) {
        pair.simulation.trace.entries.count { $0.sender == "A" } == 3
      }
      // The third is answered.
      pair.peer.send([], 1, ack: 1)
    }
    #expect(socket.error == nil)
    pair.simulation.run(for: .seconds(30))
    #expect(socket.error == 110)
  }
}
