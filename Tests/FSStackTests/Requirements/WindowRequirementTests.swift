import Testing

@testable import FSStack

/// RFC 9293 Appendix B, "Window".
@Suite struct WindowRequirementTests {
  /// Windows with the highest bit set, as they stand in the header and scaled, are large and not
  /// negative (MUST-1), and 32 bits wide (REC-1).
  @Test(arguments: [(0x8000, 0), (0xffff, 0), (0xffff, 14), (0x8000, 14), (1, 14)])
  func windowsAreUnsigned(field: UInt16, scale: UInt8) {
    let pair = ScriptedPair()
    pair.peer.window = field
    let socket = pair.open { $0.options.windowScale = scale }
    socket.setOption(level: 6, name: 1, 1)
    socket.send(10_000)
    pair.simulation.run(for: .milliseconds(1))
    #expect(pair.sentEdge == 10_001)
    let connection = pair.simulation.a.engines[0].engine.connections[ConnectionID(raw: 0)]
    #expect(connection.sendWindow == UInt32(field) << UInt32(scale))
  }

  /// The right edge of what the receiver offers never moves left, whatever the application reads or
  /// sets (SHLD-14).
  @Test func rightEdgeNeverMovesLeft() {
    var options = SimulatedHost.Options()
    options.receiveBuffer = 20_000
    let pair = ScriptedPair(options: options)
    let socket = pair.open()
    var sequence = 1
    for round in 0..<60 {
      let last = pair.simulation.trace.entries.last { $0.sender == "A" }
      let edge = (last?.relative.acknowledgement ?? 1) + Int(last?.segment.window ?? 20_000)
      let count = min(1000, max(edge - sequence, 0))
      pair.peer.send([], sequence, count: count, ack: 1)
      sequence += count
      if round == 20 { socket.setOption(level: 1, name: 8, 4096) }
      socket.read(round % 3 * 700)
      pair.simulation.run(for: .milliseconds(5))
    }
    var edge = 0
    for entry in pair.simulation.trace.entries where entry.sender == "A" {
      let next = entry.relative.acknowledgement + Int(entry.segment.window)
      #expect(next >= edge, "\(pair.simulation.trace)")
      edge = max(edge, next)
    }
    #expect(edge > 15_000 && socket.firstWrongByte == nil)
  }

  /// A peer that moves its right edge left: the usable window is negative and nothing new goes out
  /// (MUST-34, SHLD-15); what lies within the window is sent again (SHLD-16); what lies beyond ends
  /// the connection not even after an hour (SHLD-17).
  @Test func peerShrinksItsWindow() {
    let pair = ScriptedPair()
    pair.peer.window = 5000
    let socket = pair.open()
    socket.setOption(level: 6, name: 1, 1)
    socket.send(5000)
    pair.simulation.run(for: .milliseconds(1))
    #expect(pair.sentEdge == 5001)
    pair.peer.window = 1000
    pair.peer.send([], 1, ack: 1)
    pair.simulation.trace.clear()
    socket.send(500)
    pair.simulation.run(for: .seconds(3))
    #expect(pair.sentEdge <= 5001, "\(pair.simulation.trace)")
    let again = pair.simulation.trace.entries.filter { $0.sender == "A" }
    #expect(again.contains { $0.relative.sequence == 1 && $0.segment.payloadLength > 0 })
    // What was in the window is acknowledged, and the window closed before the rest.
    pair.peer.window = 0
    for _ in 0..<60 {
      pair.peer.send([], 1, ack: 1001)
      pair.simulation.run(for: .seconds(60))
    }
    #expect(socket.error == nil && pair.sentEdge <= 5001)
    pair.peer.window = 60_000
    pair.peer.send([], 1, ack: 1001)
    pair.simulation.run(for: .seconds(1))
    pair.peer.send([], 1, ack: 5001)
    #expect(pair.sentEdge == 5501, "\(pair.simulation.trace)")
  }

  /// A window that shrinks to zero under data is probed as one that closes in good order (MUST-35).
  @Test func shrinksToZero() {
    let pair = ScriptedPair()
    let socket = pair.open()
    socket.send(2920)
    pair.simulation.run(for: .milliseconds(1))
    pair.peer.window = 0
    pair.peer.send([], 1, ack: 1)
    _ = pair.peer.take()
    for _ in 0..<10 {
      pair.simulation.trace.clear()
      pair.simulation.run(within: .seconds(130)) { !pair.simulation.trace.entries.isEmpty }
      pair.simulation.run(for: .milliseconds(1))
      #expect(!pair.peer.take().isEmpty)
      pair.peer.send([], 1, ack: 1)
    }
    pair.peer.window = 60_000
    pair.peer.send([], 1, ack: 1461)
    pair.simulation.run(for: .seconds(1))
    pair.peer.send([], 1, ack: 2921)
    pair.simulation.run(for: .milliseconds(1))
    pair.server.run()
    #expect(socket.error == nil && socket.isDrained)
  }

  /// The first probe comes a retransmission timeout after the window has closed (MUST-36, SHLD-29),
  /// the pauses double up to two minutes (SHLD-30), and as long as the peer answers there is no end
  /// (MUST-37).
  @Test func closedWindowIsProbedForEver() {
    let pair = ScriptedPair()
    let socket = pair.open()
    pair.peer.window = 0
    pair.peer.send([], 1, ack: 1)
    socket.send(100)
    pair.simulation.run(for: .microseconds(10))
    _ = pair.peer.take()
    var pauses: [Int] = []
    for _ in 0..<40 {
      let begin = pair.simulation.milliseconds
      pair.simulation.trace.clear()
      pair.simulation.run(within: .seconds(130)) { !pair.simulation.trace.entries.isEmpty }
      pauses.append(Int((pair.simulation.milliseconds - begin).rounded()))
      pair.simulation.run(for: .milliseconds(1))
      #expect(pair.peer.take().count == 1)
      pair.peer.send([], 1, ack: 1)
    }
    #expect((199...201).contains(pauses[0]))
    for (first, second) in zip(pauses, pauses.dropFirst()) {
      #expect(abs(second - min(2 * first, 120_000)) <= 5, "\(pauses)")
    }
    #expect(pauses.reduce(0, +) > 3_600_000 && socket.error == nil)
  }

  /// The same from the other side: an application that never reads keeps the window closed as long
  /// as it likes (MAY-8), and each probe is answered.
  @Test func windowStaysClosed() {
    var options = SimulatedHost.Options()
    options.receiveBuffer = 4096
    let pair = ScriptedPair(options: options)
    let socket = pair.open()
    for sequence in stride(from: 1, to: 4097, by: 1024) {
      pair.peer.send([], sequence, count: 1024, ack: 1)
    }
    pair.simulation.run(for: .milliseconds(50))
    _ = pair.peer.take()
    for probe in 0..<60 {
      pair.simulation.run(for: .seconds(60))
      // Linux probes with an old number, BSD with the next byte.
      pair.peer.send([], probe % 2 == 0 ? 4096 : 4097, count: probe % 2, ack: 1)
      #expect(pair.peer.take() == ["A> ACK 1 ack 4097 win 0"])
    }
    #expect(socket.error == nil && socket.read() == 4096)
  }

  /// With the window closed, the acknowledgement, URG and RST of segments count still (MUST-66).
  @Test(arguments: [0, 100])
  func closedWindowTakesAcknowledgementAndReset(payload: Int) {
    var options = SimulatedHost.Options()
    options.receiveBuffer = 4096
    let pair = ScriptedPair(options: options)
    let socket = pair.open()
    for sequence in stride(from: 1, to: 4097, by: 1024) {
      pair.peer.send([], sequence, count: 1024, ack: 1)
    }
    socket.send(10)
    pair.simulation.run(for: .milliseconds(50))
    pair.peer.send(.urg, 4097, count: payload, ack: 11)
    pair.server.run()
    #expect(socket.isDrained)
    pair.peer.send(.rst, 4097, count: payload)
    #expect(socket.error == 104)
  }
}
