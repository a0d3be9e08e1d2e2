import Testing

@testable import FSStack

/// Bugs that others had with selective acknowledgements and their retransmission queues
/// (docs/bug-catalogue.md).
@Suite struct RetransmitQueueCatalogueTests {
  /// A connection with selective acknowledgements, and `count` bytes of the engine in flight.
  private func open(
    _ pair: ScriptedPair, segmentSize: UInt16 = 1460, sending count: Int
  ) -> TestSocket {
    let socket = pair.open {
      $0.options.maximumSegmentSize = segmentSize
      $0.options.sackPermitted = true
    }
    socket.setOption(level: 6, name: 1, 1)
    socket.send(count)
    pair.simulation.run(for: .milliseconds(1))
    return socket
  }

  /// Acknowledges everything that comes, until `count` bytes are through.
  private func finish(_ pair: ScriptedPair, _ socket: TestSocket, _ count: Int) {
    for _ in 0..<400 where !socket.isDrained {
      pair.peer.send([], 1, ack: pair.sentEdge)
      pair.simulation.run(for: .milliseconds(1000))
      pair.server.run()
    }
    #expect(socket.isDrained && socket.bytesAcknowledged == count && socket.error == nil)
  }

  /// CVE-2019-11477 (SACK Panic): the smallest segments, and blocks that grow until they join all of
  /// a long queue. CVE-2019-11479: no peer makes segments smaller than Linux's tcp_min_snd_mss.
  @Test(arguments: [0, 1, 8, 47, 48] as [UInt16])
  func sackPanic(segmentSize: UInt16) {
    let pair = ScriptedPair()
    // Without the option: the default.
    let smallest = segmentSize == 0 ? 536 : 48
    let socket = open(pair, segmentSize: segmentSize, sending: 40_000)
    var acknowledged = 1
    for _ in 0..<60 where !socket.isDrained {
      let edge = pair.sentEdge
      // Every second segment of what is in flight, then the gaps.
      for start in [smallest, 2 * smallest] {
        var left = acknowledged + start
        while left + smallest <= edge {
          pair.peer.sendSACK(
            acknowledged, [(left, left + smallest), (acknowledged + smallest, left)])
          left += 2 * smallest
        }
      }
      acknowledged = edge
      pair.peer.send([], 1, ack: acknowledged)
    }
    let segments = pair.frames.filter { $0.payloadLength > 0 }
    #expect(segments.dropLast(2).allSatisfy { $0.payloadLength >= smallest })
    finish(pair, socket, 40_000)
  }

  /// What is remembered of blocks goes with the segments: their records soon are another connection's, and
  /// the same sequence numbers come again.
  @Test func blocksAreForgotten() throws {
    let pair = ScriptedPair()
    let socket = open(pair, sending: 14_600)
    pair.peer.sendSACK(1, [(1461, 2921)])
    pair.peer.sendSACK(1, [(1461, 4381)])
    let host = pair.simulation.a.engines[0]
    let recovery = host.engine.connections[ConnectionID(raw: 0)].recovery
    try #require(recovery != .none)
    #expect(host.engine.recoveries[recovery].scoreboard.runCount == 1)
    finish(pair, socket, 14_600)
    #expect(host.engine.recoveries[recovery].scoreboard.runCount == 0)
    socket.send(1)
    finish(pair, socket, 14_601)
    #expect(host.engine.recoveries[recovery].scoreboard.cursor == .none)
  }

  /// CVE-2019-11478, CVE-2019-5599: blocks that cut the queue into as many pieces as they can. What it
  /// costs is measured elsewhere; here nothing is lost by it.
  @Test func queueIsFragmented() {
    let pair = ScriptedPair()
    let socket = open(pair, sending: 14_600)
    var random = SplitMix64(seed: 11478)
    for _ in 0..<2000 {
      let blocks = (0..<4).map { _ in
        let left = Int.random(in: 1461..<14_600, using: &random)
        return (left, left + Int.random(in: 1...30, using: &random))
      }
      pair.simulation.send(pair.peer.selective(1, blocks).frame(), from: 1)
    }
    pair.simulation.run(for: .milliseconds(10))
    #expect(pair.peer.take().count < 200)
    finish(pair, socket, 14_600)
  }

  /// CVE-2016-6828: blocks of what was never sent, of what is acknowledged, the wrong way round,
  /// overlapping, twice, empty, and half the sequence space away.
  static let impossible: [[(Int, Int)]] = [
    [(20_000, 30_000)], [(14_000, 20_000)], [(-5000, -1000)], [(-100, 2000)], [(5000, 3000)],
    [(3000, 3000)], [(1461, 2921), (2000, 5000), (1461, 2921), (1500, 1600)],
    [(1, 14_601)], [(0, 14_602)], [(1461, 1461 + 1 << 31)], [(1 << 31, (1 << 31) + 100)],
    [(1461, 2921), (4381, 5841), (7301, 8761), (10_221, 11_681)],
  ]

  @Test(arguments: impossible.indices)
  func impossibleBlocks(index: Int) {
    let pair = ScriptedPair()
    let socket = open(pair, sending: 14_600)
    for _ in 0..<5 { pair.peer.sendSACK(1, Self.impossible[index]) }
    pair.simulation.run(for: .milliseconds(300))
    #expect(socket.error == nil && pair.sentEdge == 14_601)
    // What is missing is sent again sooner or later, whatever the blocks have said.
    pair.simulation.run(for: .seconds(3))
    #expect(pair.frames.count { $0.sequence == pair.peer.otherInitial + 1 } > 1)
    finish(pair, socket, 14_600)
  }

  /// A receiver may discard what it has selectively acknowledged (RFC 2018 section 8): it is sent again
  /// after a timeout.
  @Test func receiverReneges() {
    let pair = ScriptedPair()
    let socket = open(pair, sending: 14_600)
    for _ in 0..<4 { pair.peer.sendSACK(1, [(1461, 14_601)]) }
    pair.simulation.run(for: .milliseconds(50))
    // The gap is filled, and nothing of what was behind it is there.
    var acknowledged = 1461
    for _ in 0..<60 where acknowledged < 14_601 {
      pair.simulation.trace.clear()
      pair.peer.send([], 1, ack: acknowledged)
      pair.simulation.run(for: .seconds(4))
      for entry in pair.simulation.trace.entries
      where entry.sender == "A" && entry.relative.sequence <= acknowledged {
        let end = entry.relative.sequence + entry.segment.payloadLength
        acknowledged = max(acknowledged, end)
      }
    }
    #expect(acknowledged == 14_601)
    finish(pair, socket, 14_600)
  }

  /// An acknowledgement in the middle of a segment: what is sent again begins with the next byte, not
  /// with the segment.
  @Test(arguments: [2, 730, 1460, 1462, 7000])
  func partOfSegmentIsAcknowledged(acknowledgement: Int) {
    let pair = ScriptedPair()
    let socket = open(pair, sending: 14_600)
    pair.peer.send([], 1, ack: acknowledgement)
    pair.simulation.trace.clear()
    pair.simulation.run(for: .seconds(30))
    let again = pair.simulation.trace.entries.filter {
      $0.sender == "A" && $0.segment.payloadLength > 0
    }
    #expect(again.contains { $0.relative.sequence == acknowledgement })
    #expect(again.allSatisfy { $0.relative.sequence >= acknowledgement })
    finish(pair, socket, 14_600)
  }

  /// Duplicates that nobody has sent (a forged DSACK) do not make the engine believe that its
  /// retransmissions were needless: the window stays reduced.
  @Test func forgedDuplicates() {
    let pair = ScriptedPair()
    let socket = open(pair, sending: 14_600)
    func window() -> UInt32 {
      pair.simulation.a.engines[0].engine.connections[ConnectionID(raw: 0)].congestion.window
    }
    let before = window()
    for edge in [4381, 5841, 7301, 8761] { pair.peer.sendSACK(1, [(1461, edge)]) }
    pair.simulation.run(for: .milliseconds(2))
    for _ in 0..<10 { pair.peer.sendSACK(1461, [(1, 1461), (2921, 8761)]) }
    #expect(window() < before)
    finish(pair, socket, 14_600)
  }
}
