import Testing

@testable import FSStack

/// Flow control: closed windows, probes, silly windows, MTU.
@Suite struct WindowTests {
  /// A closed window is probed with growing pauses, as long as it takes (MUST-36, -37).
  @Test func zeroWindowIsProbed() {
    let pair = ScriptedPair()
    let socket = pair.open()
    pair.peer.window = 0
    pair.peer.send([], 1, ack: 1)
    socket.send(100)
    var times: [Int] = []
    for _ in 0..<6 {
      pair.simulation.trace.clear()
      pair.simulation.run(within: .seconds(100)) { !pair.simulation.trace.entries.isEmpty }
      #expect(pair.peer.take() == ["A> ACK 0 ack 1"])
      times.append(Int(pair.simulation.milliseconds))
      pair.peer.send([], 1, ack: 1)
    }
    let pauses = zip(times, times.dropFirst()).map { $1 - $0 }
    for (index, pause) in pauses.enumerated() {
      let expected = 200 << (index + 1)
      #expect((expected...expected + expected / 100 + 5).contains(pause), "\(pauses)")
    }
    #expect(socket.error == nil)
    pair.peer.window = 1000
    pair.peer.send([], 1, ack: 1)
    #expect(pair.peer.take() == ["A> PSH ACK 1:101 ack 1"])
    pair.peer.send([], 1, ack: 101)
    pair.simulation.run(for: .seconds(10))
    pair.server.run()
    #expect(pair.peer.take() == [] && socket.isDrained)
  }

  /// A peer that does not answer its probes is given up.
  @Test func probesUnanswered() {
    let pair = ScriptedPair()
    let socket = pair.open()
    pair.peer.window = 0
    pair.peer.send([], 1, ack: 1)
    socket.send(100)
    pair.simulation.run(for: .seconds(2000))
    #expect(socket.error == 110)
    let probes = pair.peer.take()
    #expect(probes.count { $0 == "A> ACK 0 ack 1" } == 15, "\(probes)")
  }

  /// A FIN alone takes a place in the window as well: the closed one is probed for it.
  @Test func finAloneBehindClosedWindow() {
    let pair = ScriptedPair()
    let socket = pair.open()
    pair.peer.window = 0
    pair.peer.send([], 1, ack: 1)
    socket.close()
    pair.simulation.run(for: .milliseconds(100))
    #expect(pair.peer.take() == [])
    pair.simulation.run(for: .milliseconds(200))
    #expect(pair.peer.take() == ["A> ACK 0 ack 1"])
    pair.peer.window = 1
    pair.peer.send([], 1, ack: 1)
    #expect(pair.peer.take() == ["A> FIN ACK 1 ack 1"])
  }

  /// Nor does it go out with data that fills the window.
  @Test func finBehindFullWindow() {
    let pair = ScriptedPair()
    let socket = pair.open()
    pair.peer.window = 10
    pair.peer.send([], 1, ack: 1)
    socket.send(10)
    socket.close()
    pair.simulation.run(for: .milliseconds(1))
    #expect(pair.peer.take() == ["A> PSH ACK 1:11 ack 1"])
    pair.peer.send([], 1, ack: 11)
    #expect(pair.peer.take() == ["A> FIN ACK 11 ack 1"])
  }

  /// Behind data that must wait a FIN waits.
  @Test func finBehindClosedWindow() {
    let pair = ScriptedPair()
    let socket = pair.open()
    pair.peer.window = 0
    pair.peer.send([], 1, ack: 1)
    socket.send(10)
    socket.close()
    pair.simulation.run(for: .milliseconds(100))
    #expect(pair.peer.take() == [])
    pair.peer.window = 1000
    pair.peer.send([], 1, ack: 1)
    #expect(pair.peer.take() == ["A> FIN PSH ACK 1:11 ack 1"])
  }

  /// The lost window update: the probe finds out.
  @Test func lostWindowUpdate() {
    var options = SimulatedHost.Options()
    options.receiveBuffer = 8192
    let pair = Pair(options: options)
    defer { pair.simulation.end() }
    let (server, client) = pair.connect()
    client.send(30_000)
    pair.simulation.run(for: .milliseconds(500))
    #expect(server.unread <= 8192)
    let isFull = pair.simulation.trace.lines.contains { $0.hasSuffix("win 0") }
    #expect(isFull, "\(pair.simulation.trace)")
    var updates = 0
    pair.simulation.loses = { sender, _ in
      guard sender == "A" else { return false }
      updates += 1
      return updates <= 2
    }
    pair.server.onWake = { server.read() }
    server.read()
    #expect(pair.simulation.run(within: .seconds(20)) { server.bytesReceived == 30_000 })
    #expect(server.firstWrongByte == nil)
  }

  /// The receiver opens its window by a full segment at least, or half its buffer (MUST-39).
  @Test func noSillyWindow() {
    var options = SimulatedHost.Options()
    options.receiveBuffer = 4096
    let pair = ScriptedPair(options: options)
    let socket = pair.open()
    pair.peer.send([], 1, count: 1460, ack: 1)
    pair.peer.send([], 1461, count: 1460, ack: 1)
    pair.peer.send([], 2921, count: 1176, ack: 1)
    pair.simulation.run(for: .milliseconds(50))
    #expect(pair.peer.take().last == "A> ACK 1 ack 4097 win 0")
    for _ in 0..<14 {
      socket.read(100)
      pair.simulation.run(for: .milliseconds(50))
    }
    let small = pair.simulation.trace.entries.filter {
      $0.sender == "A" && $0.segment.window > 0 && $0.segment.window < 1460
    }
    #expect(small.isEmpty, "\(pair.simulation.trace)")
    socket.read()
    pair.simulation.run(for: .milliseconds(50))
    #expect(pair.simulation.trace.entries.last?.segment.window == 4096)
  }

  /// The sender does not fill a window that is smaller than a segment, unless that is half of the
  /// largest there ever was, or a timer overrides (RFC 9293 section 3.8.6.2.1).
  @Test func smallWindowIsNotFilled() {
    let pair = ScriptedPair()
    let socket = pair.open()
    socket.setOption(level: 6, name: 1, 1)
    socket.send(5000)
    pair.simulation.run(for: .milliseconds(1))
    _ = pair.peer.take()
    pair.peer.window = 100
    pair.peer.send([], 1, ack: 5001)
    socket.send(3000)
    pair.simulation.run(for: .milliseconds(100))
    #expect(pair.peer.take() == [])
    pair.simulation.run(for: .milliseconds(200))
    #expect(pair.peer.take() == ["A> ACK 5001:5101 ack 1"])
  }

  /// The right edge does not move left, and what is beyond it is not taken.
  @Test func beyondWindow() {
    var options = SimulatedHost.Options()
    options.receiveBuffer = 4096
    let pair = ScriptedPair(options: options)
    let socket = pair.open()
    for sequence in stride(from: 1, to: 5841, by: 1460) {
      pair.peer.send([], sequence, count: 1460, ack: 1)
    }
    pair.simulation.run(for: .milliseconds(50))
    #expect(pair.peer.take().last == "A> ACK 1 ack 4097 win 0")
    #expect(socket.unread == 4096)
    // A window probe of the peer is answered, its byte not taken.
    pair.peer.send([], 4097, count: 1, ack: 1)
    #expect(pair.peer.take() == ["A> ACK 1 ack 4097 win 0"])
    // Linux probes with an old number and no data; such are answered twice a second at most.
    pair.simulation.run(for: .milliseconds(500))
    pair.peer.send([], 4096, ack: 1)
    #expect(pair.peer.take() == ["A> ACK 1 ack 4097 win 0"])
  }
}
