import FSRing
import Testing

@testable import FSStack

/// Who does not see the connection must not disturb it (RFC 5961), and two stacks that misunderstand
/// each other must not answer for ever.
@Suite struct BlindAttackTests {
  private func challenges(_ pair: ScriptedPair) -> UInt64 {
    pair.simulation.a.engines[0].engine.statistics().counters.challengeAcknowledgements
  }

  /// RFC 5961 section 3, CVE-2004-0230: a RST that is merely in the window is challenged, outside of it
  /// ignored; the exact number resets, and behind a FIN that of the FIN, as in Linux. In every
  /// synchronized state.
  @Test(arguments: [TCPState.established, .finWait1, .finWait2, .closeWait, .lastAck])
  func reset(_ state: TCPState) {
    for offset in [0, 1, 1000, 65_000, -1, 3_000_000] {
      let pair = ScriptedPair()
      let socket = pair.open()
      var next = 1
      if state == .closeWait || state == .lastAck {
        pair.peer.send(.fin, 1, ack: 1)
        next = 2
      }
      if state == .finWait1 || state == .finWait2 || state == .lastAck { socket.shutdown() }
      pair.simulation.run(for: .milliseconds(50))
      if state == .finWait2 { pair.peer.send([], 1, ack: 2) }
      #expect(pair.simulation.a.engines[0].engine.statistics().connections[state] == 1)
      _ = pair.peer.take()
      pair.peer.send(.rst, next + offset)
      let isAlive = pair.simulation.a.engines[0].engine.statistics().connections[state] == 1
      let resets = offset == 0 || offset == -1 && next == 2
      #expect(isAlive == !resets, "\(state) \(offset)")
      let isInWindow = offset > 0 && offset < 1_000_000
      #expect(pair.peer.take().count == (isInWindow ? 1 : 0), "\(state) \(offset)")
    }
  }

  /// RFC 5961 section 4: a SYN in a synchronized state is challenged, whatever its number.
  @Test func synchronize() {
    for (sequence, ack): (Int, Int?) in [(1, nil), (0, nil), (-70_000, nil), (1, 1), (500, 1)] {
      let pair = ScriptedPair()
      let socket = pair.open()
      pair.peer.send(.syn, sequence, ack: ack)
      #expect(pair.peer.take() == ["A> ACK 1 ack 1"], "\(sequence)")
      #expect(socket.error == nil && challenges(pair) == 1)
    }
  }

  /// RFC 5961 section 5 (MAY-12): data whose acknowledgement is not in
  /// SND.UNA - MAX.SND.WND ... SND.NXT are not taken.
  @Test func dataInjection() {
    let cases: [(ack: Int, isTaken: Bool)] = [
      (1001, true), (1, true), (1002, false), (100_000, false), (-999, true), (-1000, false),
      (-1_000_000, false), (1 << 31, false),
    ]
    for (ack, isTaken) in cases {
      let pair = ScriptedPair()
      pair.peer.window = 2000
      let socket = pair.open()
      socket.send(1000)
      pair.simulation.run(for: .milliseconds(1))
      pair.peer.send([], 1, ack: 1001)
      socket.send(0)
      _ = pair.peer.take()
      pair.peer.send(.psh, 1, count: 10, ack: ack)
      #expect(socket.unread == (isTaken ? 10 : 0), "\(ack)")
      #expect(pair.drops(.ackUnacceptable) == (isTaken ? 0 : 1) && challenges(pair) <= 1)
    }
  }

  /// CVE-2016-5696: the limit of challenges is each connection's own: one that is used up says nothing
  /// of another.
  @Test func challengeLimitIsNotShared() {
    let pair = ScriptedPair()
    _ = pair.open()
    for _ in 0..<1000 { pair.peer.send(.rst, 5) }
    pair.simulation.trace.keepsNumbers = false
    let other = ScriptedPeer(pair.simulation, port: 2000)
    other.open()
    _ = pair.peer.take()
    other.send(.rst, 5)
    #expect(other.take() == ["A> ACK 1 ack 1"])
  }

  /// "ACK storms": both sides are sure that the other is wrong, and answer all the same. Not more than
  /// twice a second each.
  @Test func acknowledgementLoop() {
    let pair = Pair()
    let (server, client) = pair.connect()
    for host in [pair.simulation.a, pair.simulation.b] {
      let connections = host.engines[0].engine.connections
      let id = ConnectionID(raw: 0)
      connections[id].receiveNext += 50_000_000
      connections[id].receiveEdge += 50_000_000
      connections[id].lastAcknowledgementSent += 50_000_000
    }
    client.send(1)
    pair.simulation.run(for: .seconds(5))
    let bare = pair.simulation.trace.entries.count { $0.segment.payloadLength == 0 }
    #expect(bare > 2 && bare < 40, "\(bare)")
    server.close(reset: true)
    client.close(reset: true)
    pair.simulation.run(for: .milliseconds(10))
  }

  /// No RST is answered, whatever it quotes and wherever it comes.
  @Test func resetIsNeverAnsweredWithReset() {
    let pair = ScriptedPair()
    _ = pair.open()
    let nobody = ScriptedPeer(pair.simulation, port: 4000, to: 81)
    for ack in [nil, 0, 1, 100] {
      nobody.send(.rst, 1, ack: ack)
      ScriptedPeer(pair.simulation, port: 4001).send(.rst, 1, ack: ack)
    }
    #expect(pair.peer.take() == [])
  }
}
