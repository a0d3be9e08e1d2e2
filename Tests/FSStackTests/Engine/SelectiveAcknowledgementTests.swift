import Testing

@testable import FSStack

/// What a sender makes of selective acknowledgements (RFC 2018, RFC 2883, RFC 6675).
@Suite struct SelectiveAcknowledgementTests {
  /// Only what is missing goes out again, when three segments beyond it have arrived: the first as soon
  /// as that is known, the second when the window permits.
  @Test func onlyTheMissing() {
    let scene = SelectiveScene(segments: 10)
    scene.acknowledge(1, [1000, 2000])
    scene.acknowledge(1, [1000, 3000])
    #expect(scene.take() == [])
    scene.acknowledge(1, [4000, 5000], [1000, 3000])
    #expect(scene.take() == ["A> ACK 1:1001 ack 1"])
    scene.acknowledge(3001, [4000, 5000])
    #expect(scene.take() == ["A> ACK 3001:4001 ack 1"])
    scene.acknowledge(10_001)
    #expect(scene.take() == [])
    scene.runFor(seconds: 5)
    #expect(scene.take() == [] && scene.isDrained)
    #expect(scene.counters.fastRetransmits == 1 && scene.counters.retransmissions == 2)
    #expect(scene.counters.timeouts == 0 && scene.counters.undos == 0)
  }

  /// A block that covers a segment only in part says nothing of it.
  @Test func partsDoNotCount() {
    let scene = SelectiveScene(segments: 10)
    scene.acknowledge(1, [1500, 2500])
    scene.acknowledge(1, [1500, 3500])
    scene.acknowledge(1, [1500, 4999])
    #expect(scene.recovery?.sackedSegments == 2 && scene.recovery?.sackedBytes == 2000)
    scene.acknowledge(1, [1500, 5000])
    #expect(scene.recovery?.sackedSegments == 3)
    #expect(scene.take() == ["A> ACK 1:1001 ack 1"])
    scene.acknowledge(1001, [1500, 5000])
    #expect(scene.take() == ["A> ACK 1001:2001 ack 1"])
  }

  /// Blocks that no correct peer sends change nothing: of what was never sent, of what is acknowledged
  /// with them, without bytes, backwards (CVE-2016-6828).
  @Test func impossibleBlocks() {
    let scene = SelectiveScene(segments: 10)
    for block in [[5000, 10_001], [20_000, 30_000], [2000, 2000], [3000, 2000], [0, 2000]] {
      scene.acknowledge(1, block)
    }
    #expect(scene.recovery?.sackedBytes == 0)
    #expect(scene.counters.impossibleBlocks == 5)
    // The good ones beside them count.
    scene.acknowledge(1, [5000, 10_001], [1000, 2000], [2500, 2400], [3000, 4000])
    #expect(scene.recovery?.sackedBytes == 2000)
    scene.acknowledge(10_001)
    scene.runFor(seconds: 5)
    #expect(scene.isDrained)
  }

  /// Blocks may overlap, repeat each other and come in any order.
  @Test func overlappingBlocks() {
    let scene = SelectiveScene(segments: 10)
    scene.acknowledge(1, [2000, 5000], [4000, 6000], [2000, 3000], [8000, 9000])
    #expect(scene.recovery?.sackedSegments == 5)
    scene.acknowledge(1, [8000, 9000], [4000, 6000], [2000, 5000])
    #expect(scene.recovery?.sackedSegments == 5 && scene.recovery?.sackedBytes == 5000)
    scene.acknowledge(1, [7000, 10_000], [1000, 6000])
    #expect(scene.recovery?.sackedSegments == 8)
    scene.acknowledge(10_001)
    #expect(scene.recovery?.sackedSegments == 0 && scene.recovery?.sackedBytes == 0)
    #expect(scene.isDrained)
  }

  /// Duplicates without blocks from a peer that could send them are no sign of loss.
  @Test func duplicatesWithoutBlocks() {
    let scene = SelectiveScene(segments: 10)
    for _ in 0..<9 { scene.acknowledge(1) }
    #expect(scene.take() == [])
    #expect(scene.counters.fastRetransmits == 0)
  }

  /// The peer throws away what it had reported: the next acknowledgement ends before it. As in Linux all
  /// is sent again after a short while.
  @Test func reneging() {
    let scene = SelectiveScene(segments: 4)
    scene.acknowledge(1, [1000, 4000])
    #expect(scene.take() == ["A> ACK 1:1001 ack 1"])
    scene.acknowledge(1001)
    #expect(scene.take() == [])
    scene.run(milliseconds: 15)
    #expect(scene.take().first == "A> ACK 1001:2001 ack 1")
    #expect(scene.counters.renegings == 1)
    scene.acknowledge(2001)
    #expect(scene.take() == ["A> ACK 2001:3001 ack 1", "A> PSH ACK 3001:4001 ack 1"])
    scene.acknowledge(4001)
    #expect(scene.isDrained)
  }

  /// After a timeout what was reported is not sent again.
  @Test func timeoutKeepsReports() {
    let scene = SelectiveScene(segments: 6)
    scene.acknowledge(1, [2000, 5000])
    #expect(scene.take() == ["A> ACK 1:1001 ack 1", "A> ACK 1001:2001 ack 1"])
    scene.run(milliseconds: 300)
    #expect(scene.take() == ["A> ACK 1:1001 ack 1"])
    scene.acknowledge(1001, [2000, 5000])
    #expect(scene.take() == ["A> ACK 1001:2001 ack 1", "A> PSH ACK 5001:6001 ack 1"])
    scene.acknowledge(6001)
    #expect(scene.isDrained)
    #expect(scene.counters.timeouts == 1 && scene.counters.renegings == 0)
  }

  /// A hostile peer reports other segments each time, as far apart as can be: the work for each
  /// acknowledgement stays within bounds, and all arrives (CVE-2019-11477, CVE-2019-11478).
  @Test func hostileBlocks() {
    let scene = SelectiveScene(segments: 60)
    for _ in 0..<5 { scene.acknowledgeAll() }
    let first = scene.sent
    scene.send(60_000)
    #expect(scene.connection.flight.count > 30)
    var random = SplitMix64(seed: 1)
    for _ in 0..<2000 {
      let blocks = (0..<4).map { _ -> [Int] in
        let left = first + Int.random(in: 0...59_000, using: &random)
        return [left, left + Int.random(in: 0...3000, using: &random)]
      }
      scene.acknowledge(first + 1, blocks[0], blocks[1], blocks[2], blocks[3])
    }
    scene.acknowledgeAll()
    #expect(scene.isDrained)
  }
}
