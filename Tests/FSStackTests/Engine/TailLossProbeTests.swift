import Testing

@testable import FSStack

/// Tail loss probes (RFC 8985 section 7). The round trip of these scenes is 40 ms.
@Suite struct TailLossProbeTests {
  /// The end of a flight is lost: after two round trips its last segment is sent again, and what it
  /// lets the peer report repairs the rest.
  @Test func tail() {
    let scene = SelectiveScene(segments: 10)
    scene.acknowledge(8001)
    scene.run(milliseconds: 76)
    #expect(scene.take() == [])
    scene.run(milliseconds: 10)
    #expect(scene.take() == ["A> PSH ACK 9001:10001 ack 1"])
    scene.run(milliseconds: 40)
    scene.acknowledge(8001, [9000, 10_000])
    #expect(scene.take() == ["A> ACK 8001:9001 ack 1"])
    scene.acknowledge(10_001)
    #expect(scene.isDrained)
    #expect(scene.counters.lossProbes == 1 && scene.counters.timeouts == 0)
  }

  /// A single segment may wait for a delayed acknowledgement; the probe comes in place of the first
  /// timeout, and the timeout a full one later.
  @Test func singleSegment() {
    let scene = SelectiveScene(segments: 1)
    scene.run(milliseconds: 150)
    #expect(scene.take() == [])
    scene.run(milliseconds: 60)
    #expect(scene.take() == ["A> PSH ACK 1:1001 ack 1"])
    #expect(scene.counters.lossProbes == 1 && scene.counters.timeouts == 0)
    scene.run(milliseconds: 250)
    #expect(scene.take() == ["A> PSH ACK 1:1001 ack 1"])
    #expect(scene.counters.lossProbes == 1 && scene.counters.timeouts == 1)
  }

  /// New data is the better probe.
  @Test func newData() {
    let scene = SelectiveScene(segments: 20)
    scene.run(milliseconds: 50)
    #expect(scene.take() == ["A> ACK 10001:11001 ack 1"])
    scene.acknowledge(11_001)
    #expect(scene.recovery?.isProbing == false)
    #expect(scene.counters.lossProbes == 1 && scene.counters.retransmissions == 0)
  }

  /// Who cannot report is not probed.
  @Test func notWithoutSelectiveAcknowledgements() {
    let scene = SelectiveScene(segments: 10, selective: false)
    scene.run(milliseconds: 150)
    #expect(scene.take() == [] && scene.counters.lossProbes == 0)
  }

  /// The probe has repaired the loss of the last segment: a loss all the same. Unless the peer says that
  /// it has the segment twice.
  @Test(arguments: [false, true])
  func repairedLoss(wasDuplicate: Bool) {
    let scene = SelectiveScene(segments: 10)
    scene.acknowledge(9001)
    scene.run(milliseconds: 245)
    #expect(scene.take() == ["A> PSH ACK 9001:10001 ack 1"])
    scene.acknowledge(10_001)
    if wasDuplicate { scene.acknowledge(10_001, [9000, 10_000]) }
    scene.send(1000)
    scene.acknowledge(11_001)
    // Not the window: that falls in any case, because it was not used for longer than a timeout.
    #expect((scene.connection.congestion.slowStartThreshold < .max) == !wasDuplicate)
    #expect(scene.isDrained && scene.counters.timeouts == 0)
  }

  /// While something is reported missing, the reordering timer is at work, not the probe.
  @Test func notInDisorder() {
    let scene = SelectiveScene(segments: 10)
    scene.acknowledge(1, [1000, 3000])
    scene.run(milliseconds: 100)
    #expect(scene.counters.lossProbes == 0 && scene.counters.fastRetransmits == 1)
  }
}
