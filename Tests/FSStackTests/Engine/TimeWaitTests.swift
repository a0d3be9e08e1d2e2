import FSRing
import Testing

@testable import FSStack

/// TIME-WAIT (RFC 9293 section 3.10.7.4, RFC 1337, RFC 6191), on the side that waits and on the side that
/// wants its flow.
@Suite struct TimeWaitTests {
  /// The connection through to TIME-WAIT at the engine, which closes first.
  private func timeWait(timestamps: Bool = false) -> ScriptedPair {
    let pair = ScriptedPair()
    func change(_ header: inout OutgoingHeader) {
      header.options.hasTimestamp = timestamps
      header.options.timestampValue = 1000
    }
    pair.peer.send(.syn, 0, change: change)
    pair.peer.send([], 1, ack: 1, change: change)
    pair.server.accept()?.close()
    pair.simulation.run(for: .milliseconds(1))
    pair.peer.send(.fin, 1, ack: 2, change: change)
    #expect(count(pair) == 1)
    _ = pair.peer.take()
    return pair
  }

  private func count(_ pair: ScriptedPair) -> Int {
    pair.simulation.a.engines[0].engine.statistics().connections[.timeWait] ?? 0
  }

  /// "TIME-WAIT assassination by RST/old dup" (RFC 1337): neither RST nor old segments end it.
  @Test func assassination() {
    let pair = timeWait()
    pair.simulation.trace.keepsNumbers = true
    for sequence in [0, 1, 2, 3, 100_000] {
      pair.peer.send(.rst, sequence)
      pair.peer.send([.psh], sequence, count: 10, ack: 2)
      pair.peer.send([], sequence, ack: 2)
      pair.peer.send(.rst, sequence, ack: 2)
    }
    pair.peer.send(.syn, 1)
    #expect(count(pair) == 1)
    #expect(pair.peer.take().allSatisfy { $0 == "A> ACK 2 ack 2" })
  }

  /// The record knows no next hop: the answer goes back to where the segment came from.
  @Test func answersWhereTheSegmentCameFrom() {
    let pair = timeWait()
    let router = MACAddress(2, 0, 0, 0, 0, 9)
    pair.peer.send(.fin, 1, ack: 2) { $0.sourceMAC = router }
    let answer = pair.simulation.trace.entries.last { $0.sender == "A" }
    #expect(answer?.segment.destinationMAC == router && answer?.segment.flags == .ack)
  }

  /// What is older by its timestamp is answered, a bare acknowledgement in order that is not is none
  /// (RFC 7323 section 5.3, R1).
  @Test func outdatedAcknowledgement() {
    let pair = timeWait(timestamps: true)
    pair.simulation.trace.keepsNumbers = true
    for (timestamp, answers) in [(1000, 0), (1001, 0), (999, 1)] as [(UInt32, Int)] {
      pair.peer.send([], 2, ack: 2) {
        $0.options.hasTimestamp = true
        $0.options.timestampValue = timestamp
      }
      #expect(pair.peer.take().count == answers, "\(timestamp)")
    }
  }

  /// "Retransmitted FIN restarts 2MSL", and nothing else does: a forger could keep it for ever.
  @Test func onlyTheFinRestarts() {
    for (sequence, restarts) in [(1, true), (2, false), (500, false), (-500, false)] {
      let pair = timeWait()
      pair.simulation.run(for: .seconds(40))
      pair.peer.send(.fin, sequence, ack: 2)
      pair.peer.send([.psh], 2, count: 5, ack: 2)
      pair.simulation.run(for: .seconds(30))
      #expect(count(pair) == (restarts ? 1 : 0), "\(sequence)")
      pair.simulation.run(for: .seconds(31))
      #expect(count(pair) == 0)
    }
  }

  /// "Data in TIME-WAIT" is acknowledged, not taken; answers to what may be an answer are limited.
  @Test func answers() {
    let pair = timeWait()
    for _ in 0..<3 { pair.peer.send([.psh], 2, count: 100, ack: 2) }
    #expect(pair.peer.take() == ["A> ACK 2 ack 2", "A> ACK 2 ack 2", "A> ACK 2 ack 2"])
    for _ in 0..<10 { pair.peer.send([], 100, ack: 2) }
    #expect(pair.peer.take() == ["A> ACK 2 ack 2"])
    pair.simulation.run(for: .milliseconds(520))
    pair.peer.send([], 100, ack: 2)
    #expect(pair.peer.take() == ["A> ACK 2 ack 2"])
  }

  /// The new incarnation begins above everything that the old one has sent.
  @Test func numbersGoOn() {
    let pair = timeWait()
    pair.simulation.trace.keepsNumbers = true
    pair.peer.send(.syn, 500)
    #expect(pair.peer.take() == ["A> SYN ACK \(2 + 65_537) ack 501"])
    #expect(count(pair) == 0)
  }

  // MARK: The other side

  /// A client that closes first and connects again from the same port.
  private func reconnect(after pause: Interval, timestamps: Bool) -> (TestSocket, Pair) {
    let pair = Pair()
    let first = pair.client.connect(to: pair.simulation.a.address, port: 80, localPort: 40_000)
    pair.simulation.run(for: .milliseconds(5))
    first.close()
    pair.simulation.run(for: .milliseconds(5))
    pair.server.accept()?.close()
    pair.simulation.run(for: .milliseconds(5))
    if !timestamps {
      // As if the peer had none.
      let records = pair.simulation.b.engines[0].engine.timeWait.records
      records[TimeWaitID(raw: 0)].hasTimestamps = false
    }
    pair.simulation.run(for: pause)
    pair.simulation.trace.clear()
    let second = pair.client.connect(to: pair.simulation.a.address, port: 80, localPort: 40_000)
    pair.simulation.run(for: .milliseconds(5))
    return (second, pair)
  }

  /// "connect() to TIME-WAIT tuple": with timestamps, after a second, as Linux's tcp_tw_reuse.
  @Test func connectToTimeWait() {
    let (good, pair) = reconnect(after: .seconds(2), timestamps: true)
    #expect(good.isConnected && pair.server.accept() != nil)
    let counters = pair.simulation.b.engines[0].engine.statistics().counters
    #expect(counters.timeWaitReused == 1)
    let (early, _) = reconnect(after: .milliseconds(100), timestamps: true)
    #expect(early.error == SocketError.addressNotAvailable)
    let (bare, _) = reconnect(after: .seconds(2), timestamps: false)
    #expect(bare.error == SocketError.addressNotAvailable)
    let (later, _) = reconnect(after: .seconds(61), timestamps: false)
    #expect(later.isConnected)
  }
}
