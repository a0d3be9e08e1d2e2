import Testing

@testable import FSStack

/// Recovery as a whole: how much is sent, how it ends, and what a peer cannot make of it.
@Suite struct RecoveryTests {
  /// Of ten segments the first is lost: in one round trip the window goes down to seven tenths, a little
  /// with each acknowledgement (RFC 6937), and new data goes out all the time.
  @Test func proportionalReduction() {
    let scene = SelectiveScene(segments: 30)
    for last in 2...10 { scene.acknowledge(1, [1000, last * 1000]) }
    let sent = scene.take()
    #expect(sent.filter { $0 == "A> ACK 1:1001 ack 1" }.count == 1)
    // Limited transmit, and what nine delivered segments allow.
    #expect(scene.connection.congestion.slowStartThreshold == 7000)
    #expect(scene.connection.flight.bytes <= 7000 && scene.connection.flight.bytes >= 6000)
    scene.acknowledgeAll()
    #expect(scene.recovery?.phase == .open && scene.connection.congestion.window >= 7000)
    scene.acknowledgeAll()
    #expect(scene.counters.fastRetransmits == 1)
  }

  /// The window does not fall further when more is found lost in the same flight (RFC 6675 section 5).
  @Test func oneReduction() {
    let scene = SelectiveScene(segments: 10)
    scene.acknowledge(1, [3000, 6000])
    let threshold = scene.connection.congestion.slowStartThreshold
    scene.acknowledge(3001, [4000, 10_000])
    scene.acknowledge(10_001)
    #expect(scene.connection.congestion.slowStartThreshold == threshold)
    #expect(scene.counters.fastRetransmits == 1)
  }

  /// Duplicates that come on after recovery, of what was sent again, begin no other (RFC 6582 section 4).
  @Test func noFalseFastRetransmit() {
    let scene = SelectiveScene(segments: 10, selective: false)
    for _ in 0..<3 { scene.acknowledge(1) }
    #expect(scene.take() == ["A> ACK 1:1001 ack 1"])
    scene.acknowledge(10_001)
    scene.send(5000)
    for _ in 0..<5 { scene.acknowledge(10_001) }
    #expect(scene.counters.fastRetransmits == 1 && scene.counters.retransmissions == 1)
    scene.acknowledge(15_001)
    #expect(scene.isDrained)
  }

  /// Blocks from a peer that has not agreed to them mark nothing as arrived (RFC 2018 section 2).
  @Test func blocksThatWereNotAgreedUpon() {
    let scene = SelectiveScene(segments: 10, selective: false)
    scene.acknowledge(1, [1000, 10_000])
    #expect(scene.recovery?.sackedBytes == 0)
    scene.acknowledge(2001)
    scene.pair.simulation.run(for: .milliseconds(100))
    #expect(scene.counters.retransmissions == 0)
  }

  /// Duplicates beyond what is in flight are spoofed (Savage): they let nothing out.
  @Test func spoofedDuplicates() {
    let scene = SelectiveScene(segments: 60, selective: false)
    for _ in 0..<200 { scene.acknowledge(1) }
    let sent = scene.take()
    // A segment for each of the ten at most, and a retransmission.
    #expect(sent.count <= 21, "\(sent.count)")
  }

  /// A segment acknowledged in many parts counts once (Savage's acknowledgement division).
  @Test func dividedAcknowledgements() {
    let scene = SelectiveScene(segments: 30)
    let window = scene.connection.congestion.window
    for part in 1...100 { scene.acknowledge(1 + part * 10) }
    #expect(scene.connection.congestion.window <= window + 1000)
    // And the rest of a segment is still known.
    #expect(scene.connection.flight.bytes + 1000 <= scene.connection.congestion.window + 1000)
  }

  /// Acknowledgements of what was never sent do not count (RFC 5961 section 5).
  @Test func optimisticAcknowledgement() {
    let scene = SelectiveScene(segments: 30)
    for next in 11...20 { scene.acknowledge(next * 1000 + 1) }
    #expect(scene.connection.flight.bytes == 10_000)
    #expect(scene.pair.drops(.ackUnacceptable) == 10)
    scene.acknowledge(1, [10_000, 12_000])
    #expect(scene.recovery?.sackedBytes ?? 0 == 0)
  }

  /// Small segments that are lost go out again as large ones.
  @Test func smallSegmentsAreJoined() {
    let scene = SelectiveScene(segments: 1, selective: false)
    scene.socket.setOption(level: 6, name: 1, 1)
    for _ in 0..<5 { scene.send(10) }
    #expect(scene.take().count == 5)
    scene.run(milliseconds: 260)
    #expect(scene.take() == ["A> ACK 1:1001 ack 1"])
    scene.acknowledge(1001)
    #expect(scene.take() == ["A> PSH ACK 1001:1051 ack 1"])
    scene.acknowledge(1051)
    #expect(scene.isDrained)
  }

  /// With all records in use a connection sends one segment at a time, and nothing is lost.
  @Test func withoutRecords() {
    var options = SimulatedHost.Options()
    options.maximumTransmitRecords = 1
    let pair = Pair(options: options)
    defer { pair.simulation.end() }
    let (server, client) = pair.connect()
    pair.server.onWake = { server.read() }
    pair.simulation.loses = { sender, segment in sender == "B" && segment.window % 7 == 0 }
    client.send(30_000)
    #expect(pair.simulation.run(within: .seconds(200)) { server.bytesReceived == 30_000 })
    #expect(server.firstWrongByte == nil)
    pair.simulation.loses = nil
    client.close()
    server.close()
    pair.simulation.run(for: .seconds(200))
    #expect(pair.simulation.leftovers() == [])
  }
}
