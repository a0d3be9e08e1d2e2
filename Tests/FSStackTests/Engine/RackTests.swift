import Testing

@testable import FSStack

/// Losses found by time (RFC 8985). The round trip of these scenes is 40 ms, the reordering window 10 ms.
@Suite struct RackTests {
  /// One later segment has arrived: the missing one has a quarter of a round trip to do so.
  @Test func reorderingTimer() {
    let scene = SelectiveScene(segments: 5)
    scene.acknowledge(1, [1000, 2000])
    scene.run(milliseconds: 8)
    #expect(scene.take() == [])
    scene.run(milliseconds: 4)
    #expect(scene.take() == ["A> ACK 1:1001 ack 1"])
    #expect(scene.recovery?.phase == .recovery && scene.counters.timeouts == 0)
    scene.acknowledge(5001)
    #expect(scene.isDrained && scene.recovery?.phase == .open)
  }

  /// A segment that comes late within the window was not lost. From then on three later ones prove no
  /// loss: the path reorders.
  @Test func reordering() {
    let scene = SelectiveScene(segments: 10)
    scene.acknowledge(1, [1000, 2000])
    scene.acknowledge(2001)
    #expect(scene.recovery?.rack.hasReordering == true)
    scene.acknowledge(2001, [3000, 5000])
    scene.acknowledge(2001, [3000, 9000])
    #expect(scene.take() == [])
    scene.acknowledge(10_001)
    scene.run(milliseconds: 100)
    #expect(scene.take() == [] && scene.counters.retransmissions == 0)
    #expect(scene.isDrained)
  }

  /// What was sent again is lost again: a segment sent later tells it, without a timeout.
  @Test func lostRetransmission() {
    let scene = SelectiveScene(segments: 10)
    scene.acknowledge(1, [1000, 5000])
    #expect(scene.take() == ["A> ACK 1:1001 ack 1"])
    scene.send(5000)
    scene.acknowledge(1, [1000, 7000])
    #expect(scene.take().first == "A> ACK 10001:11001 ack 1")
    scene.run(milliseconds: 40)
    _ = scene.take()
    scene.acknowledge(1, [10_000, 11_000], [1000, 7000])
    #expect(scene.take().first == "A> ACK 1:1001 ack 1")
    #expect(scene.counters.timeouts == 0 && scene.counters.fastRetransmits == 1)
  }

  /// The timer finds losses during recovery, too. It delivers nothing, so PRR has nothing to go by: the
  /// window stays as it is, and is never closed.
  @Test func reorderingTimerDuringRecovery() {
    let scene = SelectiveScene(segments: 10)
    scene.acknowledge(1, [1000, 2000])
    scene.acknowledge(2001)
    #expect(scene.recovery?.rack.hasReordering == true)
    scene.send(4000)
    scene.acknowledge(2001, [3000, 4000])
    scene.run(milliseconds: 39)
    #expect(scene.recovery?.phase == .recovery)
    scene.send(24_000)
    scene.acknowledge(10_001, [13_000, 14_000])
    _ = scene.take()
    let window = scene.connection.congestion.window
    scene.run(milliseconds: 12)
    let lost = ["A> ACK 10001:11001 ack 1", "A> ACK 11001:12001 ack 1", "A> ACK 12001:13001 ack 1"]
    #expect(scene.take() == lost)
    #expect(scene.counters.timeouts == 0 && scene.counters.fastRetransmits == 1)
    #expect(scene.connection.congestion.window == window)
  }

  /// Duplicates that the peer reports widen the window: the segments were only late.
  @Test func duplicatesWidenTheWindow() {
    let scene = SelectiveScene(segments: 10)
    scene.acknowledge(1, [1000, 4000])
    #expect(scene.take() == ["A> ACK 1:1001 ack 1"])
    scene.acknowledge(4001)
    #expect(scene.recovery?.rack.multiplier == 1)
    scene.acknowledge(4001, [0, 1000])
    #expect(scene.recovery?.rack.multiplier == 2)
    // Once in a round trip, and not more often than something was sent again.
    scene.acknowledge(4001, [0, 1000])
    scene.acknowledge(10_001, [0, 1000])
    #expect(scene.recovery?.rack.multiplier == 2)
  }

  /// After a timeout what was sent only a moment ago is not lost yet (section 6.3).
  @Test func recentSegmentsSurviveTimeouts() {
    let scene = SelectiveScene(segments: 10)
    scene.acknowledge(1, [1000, 2000])
    scene.acknowledge(10_001)
    scene.send(2000)
    // A probe after two round trips, a timeout later the timeout, and just before it new data.
    scene.run(milliseconds: 312)
    #expect(scene.counters.lossProbes == 1 && scene.counters.timeouts == 0)
    scene.send(2000)
    _ = scene.take()
    scene.run(milliseconds: 30)
    #expect(scene.take() == ["A> ACK 10001:11001 ack 1"] && scene.counters.timeouts == 1)
    #expect(scene.recovery?.lostBytes == 1000 && scene.connection.flight.bytes == 3000)
  }
}
