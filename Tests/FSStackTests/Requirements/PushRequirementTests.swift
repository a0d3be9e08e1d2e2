import Testing

@testable import FSStack

/// RFC 9293 Appendix B, "PUSH flag".
@Suite struct PushRequirementTests {
  /// Writes of one turn leave together, and PSH stands on the last of them alone (MAY-16, SHLD-27,
  /// MUST-61); all segments but that are full (SHLD-28).
  @Test func writesAreAggregated() {
    let pair = ScriptedPair()
    let socket = pair.open()
    for _ in 0..<30 { socket.send(146) }
    pair.simulation.run(for: .milliseconds(1))
    #expect(
      pair.peer.take() == [
        "A> ACK 1:1461 ack 1", "A> ACK 1461:2921 ack 1", "A> PSH ACK 2921:4381 ack 1",
      ])
  }

  /// What is held goes out without a further write: when the acknowledgement comes, or after 200 ms
  /// where the application has asked to hold it (MUST-60). MSG_MORE is the sockets' way not to push
  /// (MAY-15).
  @Test(arguments: ["Nagle", "MSG_MORE", "TCP_CORK"])
  func nothingIsHeldForEver(by means: String) {
    let pair = ScriptedPair()
    let socket = pair.open()
    if means == "Nagle" { socket.send(10) }
    if means == "TCP_CORK" { socket.setOption(level: 6, name: 3, 1) }
    pair.simulation.run(for: .milliseconds(1))
    _ = pair.peer.take()
    let (edge, begin) = (pair.sentEdge, pair.simulation.milliseconds)
    socket.send(1, more: means == "MSG_MORE")
    pair.simulation.run(for: .milliseconds(100))
    #expect(pair.sentEdge <= max(edge, 1))
    if means == "Nagle" { pair.peer.send([], 1, ack: 11) }
    pair.simulation.run(within: .seconds(1)) {
      pair.simulation.trace.entries.contains { $0.segment.payloadLength > 0 }
    }
    #expect(pair.simulation.milliseconds - begin < 202)
    #expect(pair.simulation.trace.entries.last?.segment.flags.contains(.psh) == true)
  }
}
