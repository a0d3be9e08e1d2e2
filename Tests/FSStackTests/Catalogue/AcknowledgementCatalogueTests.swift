import Testing

@testable import FSStack

/// Acknowledgements that lie (Savage and others, "TCP Congestion Control with a Misbehaving Receiver"),
/// and numbers at their edges (docs/bug-catalogue.md).
@Suite struct AcknowledgementCatalogueTests {
  private func window(_ pair: ScriptedPair) -> UInt32 {
    pair.simulation.a.engines[0].engine.connections[ConnectionID(raw: 0)].congestion.window
  }

  private func sending(_ pair: ScriptedPair, _ count: Int) -> TestSocket {
    let socket = pair.open()
    socket.sendBuffer = 1 << 20
    socket.send(count)
    pair.simulation.run(for: .milliseconds(1))
    return socket
  }

  /// ACK division: a segment acknowledged byte by byte opens the window no further than at once.
  @Test func division() {
    let whole = ScriptedPair()
    _ = sending(whole, 100_000)
    whole.peer.send([], 1, ack: 1461)
    let pair = ScriptedPair()
    _ = sending(pair, 100_000)
    for byte in 2...1461 {
      pair.simulation.send(pair.peer.header([], 1, ack: byte).frame(), from: 1)
    }
    pair.simulation.run(for: .milliseconds(1))
    #expect(window(pair) <= window(whole) + 1460)
  }

  /// Duplicate acknowledgements that stand for nothing do not let more out than is in flight.
  @Test func spoofedDuplicates() {
    let pair = ScriptedPair()
    _ = sending(pair, 200_000)
    let edge = pair.sentEdge
    for _ in 0..<500 { pair.simulation.send(pair.peer.header([], 1, ack: 1).frame(), from: 1) }
    pair.simulation.run(for: .milliseconds(2))
    #expect(pair.sentEdge - edge <= 2 * 14_600, "\(pair.sentEdge)")
  }

  /// An optimistic acknowledgement of what was never sent counts for nothing.
  @Test func optimistic() {
    let pair = ScriptedPair()
    let socket = sending(pair, 14_600)
    let before = window(pair)
    for _ in 0..<20 { pair.peer.send([], 1, ack: 50_000) }
    pair.server.run()
    #expect(!socket.isDrained && socket.bytesAcknowledged == 0 && window(pair) <= before)
    #expect(pair.drops(.ackUnacceptable) == 20)
  }

  /// Numbers begin just before they wrap, in both directions and at each offset of a handshake, a few
  /// segments and a close.
  @Test func everyNumberWraps() {
    for offset: UInt32 in 0..<12 {
      for base: UInt32 in [0, 0x8000_0000] {
        let pair = ScriptedPair()
        let peer = ScriptedPeer(pair.simulation, initial: base &- offset)
        peer.open()
        guard let socket = pair.server.accept() else {
          Issue.record("not accepted at \(base &- offset)")
          continue
        }
        peer.send([], 1, count: 3, ack: 1)
        peer.send(.fin, 6, count: 2, ack: 1)
        peer.send([], 4, count: 2, ack: 1)
        #expect(socket.peerFinished && socket.read() == 7 && socket.firstWrongByte == nil)
        socket.send(5)
        socket.close()
        pair.simulation.run(for: .milliseconds(1))
        peer.send([], 9, ack: 7)
        #expect(pair.simulation.leftovers() == [])
      }
    }
  }

  /// The engine's own numbers wrap in the middle of what it sends: the connection begins when the clock
  /// of initial numbers stands just before.
  @Test(arguments: [0x1_0000_0000, 0x8000_0000] as [UInt64])
  func ownNumbersWrap(edge: UInt64) {
    let pair = ScriptedPair()
    let flow = Flow(
      local: pair.simulation.a.address, localPort: 80, remote: pair.simulation.b.address,
      remotePort: pair.peer.port)
    let first = pair.simulation.a.engines[0].engine.secret.initialSequence(
      flow, now: pair.simulation.now)
    // One number each 64 ns.
    let ticks = UInt32(truncatingIfNeeded: edge - 20_000) &- first.value
    pair.simulation.run(for: Interval(nanoseconds: UInt64(ticks) * 64))
    let socket = pair.open()
    let distance = UInt32(truncatingIfNeeded: edge) &- pair.peer.otherInitial.value
    #expect(distance < 30_000)
    socket.setOption(level: 6, name: 1, 1)
    socket.send(40_000)
    // With losses on the way.
    for round in 0..<60 where !socket.isDrained {
      pair.simulation.run(for: .milliseconds(round % 7 == 6 ? 2000 : 1))
      if round % 7 != 5 { pair.peer.send([], 1, ack: pair.sentEdge) }
      pair.server.run()
    }
    #expect(socket.isDrained && socket.bytesAcknowledged == 40_000)
    socket.close()
    pair.simulation.run(for: .milliseconds(1))
    pair.peer.send(.fin, 1, ack: 40_002)
    #expect(pair.states[.timeWait] == 1 && pair.simulation.leftovers() == [])
  }
}
