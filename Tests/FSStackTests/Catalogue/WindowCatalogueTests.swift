import Testing

@testable import FSStack

/// Bugs that others had with windows and probes of them (docs/bug-catalogue.md).
@Suite struct WindowCatalogueTests {
  /// CVE-2008-4609, CVE-2009-1926 (sockstress): a peer that keeps its window closed and answers every
  /// probe holds nothing for ever that nobody waits for.
  @Test(arguments: [0, 100])
  func sockstress(count: Int) {
    let pair = ScriptedPair()
    let socket = pair.open()
    pair.peer.window = 0
    pair.peer.send([], 1, ack: 1)
    socket.send(1000 + count)
    socket.close()
    for _ in 0..<200 {
      pair.simulation.trace.clear()
      pair.simulation.run(within: .seconds(130)) {
        pair.simulation.trace.entries.contains { $0.sender == "A" }
      }
      pair.simulation.run(for: .milliseconds(1))
      if pair.states.filter({ $0.key != .listen && $0.value > 0 }).isEmpty { break }
      pair.peer.send([], 1, ack: 1)
    }
    // An hour would be long.
    #expect(pair.simulation.milliseconds < 3_600_000)
    #expect(pair.simulation.leftovers() == [])
  }

  /// Data with FIN into a closed window is not taken, and asks for nothing more than an
  /// acknowledgement; when there is room it comes again.
  @Test func dataAndFinIntoClosedWindow() {
    var options = SimulatedHost.Options()
    options.receiveBuffer = 4096
    let pair = ScriptedPair(options: options)
    let socket = pair.open()
    for sequence in stride(from: 1, to: 4097, by: 1024) {
      pair.peer.send([], sequence, count: 1024, ack: 1)
    }
    pair.simulation.run(for: .milliseconds(300))
    _ = pair.peer.take()
    for _ in 0..<3 {
      pair.peer.send(.fin, 4097, count: 100, ack: 1)
      #expect(pair.peer.take().allSatisfy { $0 == "A> ACK 1 ack 4097 win 0" })
    }
    #expect(!socket.peerFinished && socket.unread == 4096)
    socket.read()
    pair.simulation.run(for: .milliseconds(10))
    pair.peer.send(.fin, 4097, count: 100, ack: 1)
    #expect(socket.peerFinished && socket.read() == 100 && socket.firstWrongByte == nil)
  }

  /// A segment that begins in the window and ends far beyond: what fits is taken, and no more, and its
  /// FIN is not (packetdrill's tcp_rcv_toobig and big_endseq).
  @Test(arguments: [1, 2000])
  func beyondTheWindow(first: Int) {
    var options = SimulatedHost.Options()
    options.receiveBuffer = 10_000
    let pair = ScriptedPair(options: options)
    let socket = pair.open()
    let connection = pair.simulation.a.engines[0].engine.connections[ConnectionID(raw: 0)]
    let window = Int(connection.receiveWindow)
    for sequence in stride(from: first, to: 14_000, by: 1460).reversed() {
      pair.peer.send(sequence + 1460 > window ? .fin : [], sequence, count: 1460, ack: 1)
    }
    for sequence in stride(from: 1, to: first, by: 1000) {
      pair.peer.send([], sequence, count: min(1000, first - sequence), ack: 1)
    }
    pair.simulation.run(for: .milliseconds(300))
    socket.read()
    #expect(socket.bytesReceived <= window && socket.bytesReceived > 6000)
    #expect(socket.firstWrongByte == nil && !socket.peerFinished)
  }

  /// The window of an older segment that comes late, by its number or by its acknowledgement, does not
  /// count (SND.WL1, SND.WL2).
  @Test func olderSegmentsWindow() {
    let pair = ScriptedPair()
    let socket = pair.open()
    socket.setOption(level: 6, name: 1, 1)
    socket.send(100)
    pair.simulation.run(for: .milliseconds(1))
    pair.peer.window = 3000
    pair.peer.send([], 11, count: 10, ack: 101)
    pair.peer.send([], 1, count: 10, ack: 101)
    // Sent before those: with no window, and with a large one.
    for window: UInt16 in [0, 60_000] {
      pair.peer.window = window
      pair.peer.send([], 1, ack: 51)
    }
    let connection = pair.simulation.a.engines[0].engine.connections[ConnectionID(raw: 0)]
    #expect(connection.sendWindow == 3000)
    socket.send(5000)
    pair.simulation.run(for: .milliseconds(1))
    #expect((3021...3101).contains(pair.sentEdge))
  }

  /// The same number and an older acknowledgement.
  @Test func olderAcknowledgementsWindow() {
    let pair = ScriptedPair()
    let socket = pair.open()
    socket.send(100)
    pair.simulation.run(for: .milliseconds(1))
    pair.peer.window = 3000
    pair.peer.send([], 1, ack: 101)
    pair.peer.window = 0
    pair.peer.send([], 1, ack: 51)
    let connection = pair.simulation.a.engines[0].engine.connections[ConnectionID(raw: 0)]
    #expect(connection.sendWindow == 3000 && socket.error == nil)
  }

  /// What is sent again has an old number, and acknowledges more than anything before: its window counts.
  /// The window before it does not move right with SND.UNA.
  @Test func windowOfRetransmission() {
    let pair = ScriptedPair()
    let socket = pair.open()
    socket.setOption(level: 6, name: 1, 1)
    socket.send(1000)
    pair.simulation.run(for: .milliseconds(1))
    pair.peer.window = 8000
    pair.peer.send([], 11, count: 10, ack: 1)
    pair.peer.window = 3 * 1460
    pair.peer.send([], 1, count: 10, ack: 1001)
    let connection = pair.simulation.a.engines[0].engine.connections[ConnectionID(raw: 0)]
    #expect(connection.sendWindow == 3 * 1460)
    socket.send(9000)
    pair.simulation.run(for: .milliseconds(1))
    #expect(pair.sentEdge == 1001 + 3 * 1460)
  }

  /// A window that opens byte by byte is not used byte by byte.
  @Test func opensByBytes() {
    let pair = ScriptedPair()
    let socket = pair.open()
    socket.setOption(level: 6, name: 1, 1)
    pair.peer.window = 1460
    pair.peer.send([], 1, ack: 1)
    socket.send(6000)
    pair.simulation.run(for: .milliseconds(1))
    _ = pair.peer.take()
    for window: UInt16 in 0..<100 {
      pair.peer.window = window
      pair.peer.send([], 1, ack: 1461)
    }
    #expect(pair.peer.take() == [])
    pair.peer.window = 1460
    pair.peer.send([], 1, ack: 1461)
    #expect(pair.peer.take() == ["A> ACK 1461:2921 ack 1"])
  }
}
