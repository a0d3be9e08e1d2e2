import Testing

@testable import FSStack

@Suite struct KeepAliveTests {
  /// An idle peer is probed, and as long as it answers nothing else happens (RFC 9293 section
  /// 3.8.4).
  @Test func answered() {
    let pair = Pair()
    let (server, client) = pair.connect()
    server.setOption(level: 1, name: 9, 1)
    server.setOption(level: 6, name: 4, 10)
    server.setOption(level: 6, name: 5, 2)
    pair.simulation.run(for: .seconds(35))
    #expect(
      pair.simulation.trace.lines == [
        "A> ACK 0 ack 1", "B> ACK 1 ack 1", "A> ACK 0 ack 1", "B> ACK 1 ack 1", "A> ACK 0 ack 1",
        "B> ACK 1 ack 1",
      ])
    // What the peer sends puts it off.
    pair.simulation.trace.clear()
    pair.simulation.run(for: .seconds(4))
    client.send(10)
    pair.simulation.run(for: .seconds(7))
    #expect(!pair.simulation.trace.lines.contains("A> ACK 0 ack 11"))
    #expect(server.error == nil && client.error == nil)
  }

  /// Unanswered probes end the connection: idle + count * interval, ETIMEDOUT and RST.
  @Test func unanswered() {
    let pair = ScriptedPair()
    let socket = pair.open()
    socket.setOption(level: 6, name: 4, 10)
    socket.setOption(level: 6, name: 5, 2)
    socket.setOption(level: 6, name: 6, 3)
    socket.setOption(level: 1, name: 9, 1)
    let begin = pair.simulation.milliseconds
    #expect(pair.simulation.run(within: .seconds(100)) { socket.error != nil })
    #expect((15_900.0...16_100).contains(pair.simulation.milliseconds - begin))
    #expect(socket.error == 110)
    #expect(
      pair.peer.take() == [
        "A> ACK 0 ack 1", "A> ACK 0 ack 1", "A> ACK 0 ack 1", "A> RST ACK 1 ack 1",
      ])
  }

  /// Answered probes do not add up, also when they are farther apart than the idle time is long.
  @Test func answersAreRemembered() {
    let pair = Pair()
    let (server, client) = pair.connect()
    server.setOption(level: 6, name: 4, 1)
    server.setOption(level: 6, name: 5, 10)
    server.setOption(level: 6, name: 6, 2)
    server.setOption(level: 1, name: 9, 1)
    pair.simulation.run(for: .seconds(200))
    #expect(server.error == nil && client.error == nil)
  }

  /// With TCP_USER_TIMEOUT the time decides, not the number of probes, as in Linux.
  @Test func userTimeout() {
    let pair = ScriptedPair()
    let socket = pair.open()
    socket.setOption(level: 6, name: 18, 15_000)
    socket.setOption(level: 6, name: 4, 10)
    socket.setOption(level: 6, name: 5, 1)
    socket.setOption(level: 6, name: 6, 100)
    socket.setOption(level: 1, name: 9, 1)
    let begin = pair.simulation.milliseconds
    #expect(pair.simulation.run(within: .seconds(100)) { socket.error != nil })
    #expect((14_900.0...15_100).contains(pair.simulation.milliseconds - begin))
    #expect(socket.error == 110)
  }

  /// Off by default (MUST-25), and off again.
  @Test(arguments: [false, true])
  func off(wasOn: Bool) {
    let pair = ScriptedPair()
    let socket = pair.open()
    if wasOn {
      socket.setOption(level: 1, name: 9, 1)
      socket.setOption(level: 6, name: 4, 10)
      pair.simulation.run(for: .seconds(1))
      socket.setOption(level: 1, name: 9, 0)
    }
    pair.simulation.run(for: .seconds(3 * 86_400))
    #expect(pair.peer.take() == [] && socket.error == nil)
  }

  /// While data is in flight its own timer decides (MUST-26).
  @Test func notWhileDataIsOutstanding() {
    let pair = ScriptedPair()
    let socket = pair.open()
    socket.setOption(level: 1, name: 9, 1)
    socket.setOption(level: 6, name: 4, 1)
    socket.send(10)
    pair.simulation.run(for: .seconds(20))
    let others = pair.peer.take().filter { $0 != "A> PSH ACK 1:11 ack 1" }
    #expect(others == [])
  }

  /// In LAST-ACK, closed by its application: what is lost is sent again, although a probe would be due.
  @Test func closedInLastAcknowledgement() {
    let pair = ScriptedPair()
    let socket = pair.open()
    socket.setOption(level: 6, name: 4, 1)
    socket.setOption(level: 1, name: 9, 1)
    pair.peer.send(.fin, 1, ack: 1)
    socket.shutdown()
    pair.simulation.run(for: .milliseconds(1))
    #expect(pair.peer.take().contains("A> FIN ACK 1 ack 2"))
    socket.close()
    pair.simulation.run(for: .seconds(10))
    #expect(pair.peer.take().filter { $0 == "A> FIN ACK 1 ack 2" }.count > 3)
    pair.peer.send([], 2, ack: 2)
    pair.simulation.run(for: .milliseconds(1))
    #expect(pair.simulation.leftovers() == [])
  }
}
