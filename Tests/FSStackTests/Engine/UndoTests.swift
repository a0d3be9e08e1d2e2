import Testing

@testable import FSStack

/// What was thought lost was not: the window is restored (RFC 3522, RFC 3708, RFC 5682, as in Linux).
@Suite struct UndoTests {
  /// Eifel: the acknowledgement echoes a timestamp of before the retransmission.
  @Test func timestamps() {
    let scene = SelectiveScene(segments: 10, timestamps: true)
    let window = scene.connection.congestion.window
    let original = scene.lastStamp
    scene.acknowledge(1, [1000, 4000])
    #expect(scene.take() == ["A> ACK 1:1001 ack 1"])
    #expect(scene.connection.congestion.window < window)
    scene.echo = original
    scene.acknowledge(4001)
    #expect(scene.counters.undos == 1)
    #expect(scene.connection.congestion.window >= window && scene.recovery?.phase == .open)
    scene.acknowledge(10_001)
    #expect(scene.isDrained && scene.counters.retransmissions == 1)
  }

  /// An echo of the retransmission itself undoes nothing.
  @Test func timestampOfRetransmission() {
    let scene = SelectiveScene(segments: 10, timestamps: true)
    scene.acknowledge(1, [1000, 4000])
    #expect(scene.take() == ["A> ACK 1:1001 ack 1"])
    scene.run(milliseconds: 40)
    scene.acknowledge(4001)
    scene.acknowledge(10_001)
    #expect(scene.counters.undos == 0 && scene.recovery?.phase == .open)
  }

  /// D-SACK: everything that was sent again had arrived, as the peer reports after recovery.
  @Test func duplicates() {
    let scene = SelectiveScene(segments: 10)
    let window = scene.connection.congestion.window
    scene.acknowledge(1, [1000, 4000])
    #expect(scene.take() == ["A> ACK 1:1001 ack 1"])
    scene.acknowledge(10_001)
    #expect(scene.connection.congestion.window < window)
    scene.acknowledge(10_001, [0, 1000])
    #expect(scene.counters.undos == 1)
    #expect(scene.connection.congestion.window >= window)
  }

  /// One of two was needed: nothing is undone. Nor by reports of what was never sent again, or of more
  /// than was: they may be copies that the network has made, or lies.
  @Test func falseDuplicates() {
    let scene = SelectiveScene(segments: 10)
    scene.acknowledge(1, [2000, 5000])
    scene.acknowledge(1001, [2000, 5000])
    #expect(scene.take() == ["A> ACK 1:1001 ack 1", "A> ACK 1001:2001 ack 1"])
    scene.acknowledge(10_001, [1000, 2000])
    #expect(scene.counters.undos == 0)
    for _ in 0..<5 { scene.acknowledge(10_001, [0, 10_000]) }
    #expect(scene.counters.undos == 0)
    // Before anything was sent again they say nothing at all.
    let other = SelectiveScene(segments: 10)
    for _ in 0..<5 { other.acknowledge(5001, [0, 1000]) }
    #expect(other.counters.undos == 0 && other.recovery?.duplicatesReported == 0)
  }

  /// F-RTO: after a timeout the acknowledgement of the segment sent again is followed by new data; when
  /// then one of those is acknowledged that were sent only once, the timeout was for nothing.
  @Test func spuriousTimeout() {
    let scene = SelectiveScene(segments: 20, selective: false)
    let window = scene.connection.congestion.window
    scene.run(milliseconds: 220)
    #expect(scene.take() == ["A> ACK 1:1001 ack 1"])
    #expect(scene.connection.congestion.window == 1000)
    scene.acknowledge(1001)
    #expect(scene.take() == ["A> ACK 10001:11001 ack 1", "A> ACK 11001:12001 ack 1"])
    scene.acknowledge(2001)
    #expect(scene.counters.undos == 1 && scene.counters.retransmissions == 1)
    #expect(scene.connection.congestion.window >= window)
    #expect(!scene.take().contains { $0.hasPrefix("A> ACK 2001:") })
    scene.acknowledgeAll()
    scene.acknowledgeAll()
    #expect(scene.isDrained)
  }

  /// A duplicate acknowledgement instead: the timeout was right, and all goes out again.
  @Test func realTimeout() {
    let scene = SelectiveScene(segments: 20, selective: false)
    scene.run(milliseconds: 220)
    scene.acknowledge(1001)
    _ = scene.take()
    scene.acknowledge(1001)
    #expect(scene.take().first == "A> ACK 1001:2001 ack 1")
    #expect(scene.counters.undos == 0 && scene.recovery?.phase == .loss)
  }

  /// The new data that showed a timeout to be right has arrived, as its duplicates tell: it does not fill
  /// the window that timeout after timeout has made small, until only the next timeout goes on.
  @Test func realTimeoutWithSmallWindow() {
    let scene = SelectiveScene(segments: 20, selective: false)
    scene.run(milliseconds: 220)
    scene.acknowledge(1001)
    scene.run(milliseconds: 500)
    _ = scene.take()
    #expect(scene.connection.congestion.slowStartThreshold == 2000)
    scene.acknowledge(2001)
    #expect(scene.take().count == 2)
    scene.acknowledge(2001)
    #expect(scene.take() == ["A> ACK 2001:3001 ack 1"])
    scene.acknowledge(3001)
    #expect(scene.take() == ["A> ACK 3001:4001 ack 1"])
    scene.acknowledge(4001)
    #expect(scene.take().first == "A> ACK 4001:5001 ack 1")
  }

  /// Without selective acknowledgements, what is acknowledged together with a segment sent again may
  /// have arrived long before, and waited for it: neither a sign that the timeout was for nothing, nor
  /// a round trip. The rest of the flight, which is lost, goes out at once.
  @Test func waitingSegmentsAreNoSign() {
    let scene = SelectiveScene(segments: 10, selective: false)
    let timeout = scene.connection.roundTrip.timeout
    scene.run(milliseconds: 220)
    #expect(scene.take() == ["A> ACK 1:1001 ack 1"])
    scene.run(milliseconds: 100)
    scene.acknowledge(3001)
    #expect(scene.counters.undos == 0 && scene.recovery?.phase == .loss)
    #expect(scene.connection.roundTrip.timeout == timeout)
    #expect(scene.take().first == "A> ACK 3001:4001 ack 1")
  }

  /// An episode that was undone leaves its other segments in flight. If one of them is lost all the
  /// same, its duplicates begin a recovery: they are no answers to what was sent again.
  @Test func lossAfterUndo() {
    let scene = SelectiveScene(segments: 20, timestamps: true, selective: false)
    scene.run(milliseconds: 10)
    let original = scene.lastStamp
    scene.run(milliseconds: 230)
    #expect(scene.take() == ["A> ACK 1:1001 ack 1"])
    scene.echo = original
    scene.acknowledge(1001)
    #expect(scene.counters.undos == 1)
    _ = scene.take()
    for _ in 0..<3 { scene.acknowledge(1001) }
    #expect(scene.take().contains("A> ACK 1001:2001 ack 1"))
  }

  /// A whole outage after a real timeout: the first retransmission fills the only hole, and the
  /// acknowledgement covers segments that were reported before. That is no sign of a spurious timeout.
  @Test func reportedSegmentsAreNoSign() {
    let scene = SelectiveScene(segments: 10)
    scene.acknowledge(1, [1000, 10_000])
    #expect(scene.take() == ["A> ACK 1:1001 ack 1"])
    scene.run(milliseconds: 300)
    #expect(scene.take() == ["A> ACK 1:1001 ack 1"])
    scene.acknowledge(10_001)
    #expect(scene.counters.undos == 0 && scene.counters.timeouts == 1)
    #expect(scene.connection.congestion.slowStartThreshold < 10_000)
  }
}
