import Testing

@testable import FSStack

/// When acknowledgements and small segments go out.
@Suite struct AcknowledgementTests {
  /// Every second full segment at once, a single one after a delay (RFC 9293 section 3.8.6.3).
  @Test func delayed() {
    let pair = ScriptedPair()
    let socket = pair.open()
    // An application that only receives has nothing to wait for.
    pair.peer.send([], 1, count: 1460, ack: 1)
    #expect(pair.peer.take() == [])
    pair.simulation.run(for: .milliseconds(3))
    #expect(pair.peer.take() == ["A> ACK 1 ack 1461"])
    pair.peer.send([], 1461, count: 1460, ack: 1)
    pair.peer.send([], 2921, count: 1460, ack: 1)
    #expect(pair.peer.take() == ["A> ACK 1 ack 4381"])

    // One that answers is waited for, 40 ms.
    socket.send(10)
    pair.simulation.run(for: .milliseconds(1))
    pair.peer.send([], 4381, count: 100, ack: 11)
    _ = pair.peer.take()
    pair.simulation.run(for: .milliseconds(30))
    #expect(pair.peer.take() == [])
    socket.send(5)
    pair.simulation.run(for: .milliseconds(1))
    #expect(pair.peer.take() == ["A> PSH ACK 11:16 ack 4481"])
    pair.peer.send([], 4481, count: 100, ack: 16)
    pair.simulation.run(for: .milliseconds(50))
    #expect(pair.peer.take() == ["A> ACK 16 ack 4581"])
    #expect(socket.unread == 4580)
  }

  /// TCP_QUICKACK: what is owed goes out at once.
  @Test func quick() {
    let pair = ScriptedPair()
    let socket = pair.open()
    socket.send(10)
    pair.simulation.run(for: .milliseconds(1))
    pair.peer.send([], 1, count: 100, ack: 11)
    _ = pair.peer.take()
    socket.setOption(level: 6, name: 12, 1)
    pair.simulation.run(for: .microseconds(10))
    #expect(pair.peer.take() == ["A> ACK 11 ack 101"])
  }

  /// The first segments of a one-way stream are acknowledged after the application's turn; when the
  /// peer's slow start is over, after the delay of Linux, which grows when it is missed, but never
  /// beyond 200 ms (MUST-40, SHLD-18).
  @Test func adaptive() {
    let pair = ScriptedPair()
    let socket = pair.open()
    var delays: [Int] = []
    var position = 1
    for _ in 0..<24 {
      pair.peer.send([.psh], position, count: 700, ack: 1)
      position += 700
      let begin = pair.simulation.milliseconds
      pair.simulation.run(within: .seconds(1)) {
        pair.simulation.trace.entries.last?.sender == "A"
      }
      delays.append(Int((pair.simulation.milliseconds - begin).rounded()))
      pair.simulation.run(for: .milliseconds(130))
      _ = pair.peer.take()
    }
    #expect(delays.prefix(16).allSatisfy { $0 <= 2 }, "\(delays)")
    #expect(delays.dropFirst(17).allSatisfy { (39...200).contains($0) }, "\(delays)")
    // An application that takes what it got, and says nothing, need not be waited for any longer.
    pair.peer.send([.psh], position, count: 100, ack: 1)
    socket.read()
    pair.simulation.run(for: .milliseconds(2))
    #expect(pair.peer.take() == ["A> ACK 1 ack \(position + 100)"])
  }

  /// However many segments a burst brings, it is answered once (MUST-58, MUST-59).
  @Test func oncePerBurst() {
    let pair = ScriptedPair()
    let socket = pair.open()
    for index in 0..<10 {
      var header = pair.peer.header([], 0, ack: 1)
      header.sequence = pair.peer.initial + UInt32(1 + 1000 * index)
      let payload = (0..<1000).map {
        StreamPattern.byte(1000 * index + $0, port: 80, toServer: true)
      }
      pair.simulation.send(header.frame(payload), from: 1)
    }
    pair.simulation.run(for: .milliseconds(2))
    #expect(pair.peer.take() == ["A> ACK 1 ack 10001"])
    #expect(socket.unread == 10_000)
  }

  /// Out of order, in order again, and old: acknowledged at once (RFC 5681 section 4.2).
  @Test func gaps() {
    let pair = ScriptedPair()
    let socket = pair.open()
    pair.peer.send([], 1461, count: 1460, ack: 1)
    #expect(pair.peer.take() == ["A> ACK 1 ack 1"])
    pair.peer.send([], 2921, count: 100, ack: 1)
    #expect(pair.peer.take() == ["A> ACK 1 ack 1"])
    #expect(socket.unread == 0)
    pair.peer.send([], 1, count: 1460, ack: 1)
    #expect(pair.peer.take() == ["A> ACK 1 ack 3021"])
    pair.peer.send([], 1, count: 1460, ack: 1)
    #expect(pair.peer.take() == ["A> ACK 1 ack 3021"])
    // Overlapping both what is there and what is new.
    pair.peer.send([], 2000, count: 1460, ack: 1)
    pair.simulation.run(for: .milliseconds(50))
    #expect(pair.peer.take() == ["A> ACK 1 ack 3460"])
    socket.read()
    #expect(socket.bytesReceived == 3459 && socket.firstWrongByte == nil)
  }

  /// The ranges beyond a gap are reported, the most recent first (RFC 2018 section 4).
  @Test func selective() {
    let pair = ScriptedPair()
    pair.peer.send(.syn, 0) { $0.options.sackPermitted = true }
    pair.peer.send([], 1, ack: 1)
    for sequence in [301, 101, 501, 401, 701, 901] {
      pair.peer.send([], sequence, count: 100, ack: 1)
    }
    guard let last = pair.simulation.trace.entries.last else { return }
    let first = pair.peer.initial
    let blocks = (0..<last.segment.options.sackCount).map {
      [
        last.segment.options.sackBlocks[$0].left - first,
        last.segment.options.sackBlocks[$0].right - first,
      ]
    }
    #expect(blocks == [[901, 1001], [701, 801], [301, 601], [101, 201]])
  }

  /// A FIN ahead of a gap is kept until the gap is filled.
  @Test func finBehindGap() {
    let pair = ScriptedPair()
    let socket = pair.open()
    pair.peer.send(.fin, 101, count: 100, ack: 1)
    #expect(pair.peer.take() == ["A> ACK 1 ack 1"] && !socket.peerFinished)
    pair.peer.send([], 1, count: 100, ack: 1)
    #expect(pair.peer.take() == ["A> ACK 1 ack 202"] && socket.peerFinished)
    #expect(socket.unread == 200)
  }

  /// The missing bytes come again together with the FIN that is queued: nothing of it may remain,
  /// or closing would seem to lose something.
  @Test func finTwice() {
    let pair = ScriptedPair()
    let socket = pair.open()
    pair.peer.send(.fin, 101, ack: 1)
    pair.peer.send(.fin, 1, count: 100, ack: 1)
    _ = pair.peer.take()
    #expect(socket.peerFinished && socket.read() == 100)
    socket.close()
    pair.simulation.run(for: .milliseconds(1))
    #expect(pair.peer.take() == ["A> FIN ACK 1 ack 102"])
  }

  // MARK: Nagle

  /// A small segment waits for the acknowledgement of the one before, unless TCP_NODELAY.
  @Test(arguments: [false, true])
  func nagle(noDelay: Bool) {
    let pair = ScriptedPair()
    let socket = pair.open()
    if noDelay { socket.setOption(level: 6, name: 1, 1) }
    for _ in 0..<3 {
      socket.send(10)
      pair.simulation.run(for: .milliseconds(1))
    }
    if noDelay {
      #expect(
        pair.peer.take() == [
          "A> PSH ACK 1:11 ack 1", "A> PSH ACK 11:21 ack 1", "A> PSH ACK 21:31 ack 1",
        ])
      return
    }
    #expect(pair.peer.take() == ["A> PSH ACK 1:11 ack 1"])
    pair.peer.send([], 1, ack: 11)
    #expect(pair.peer.take() == ["A> PSH ACK 11:31 ack 1"])
    // A full segment does not wait.
    socket.send(1460)
    pair.simulation.run(for: .milliseconds(1))
    #expect(pair.peer.take() == ["A> PSH ACK 31:1491 ack 1"])
    // Nor does the last one before FIN.
    socket.send(1)
    socket.shutdown()
    pair.simulation.run(for: .milliseconds(1))
    #expect(pair.peer.take() == ["A> FIN PSH ACK 1491:1492 ack 1"])
  }

  /// The end of a long answer does not wait for the full segments before it, only for another small
  /// one (Minshall's variant, as Linux).
  @Test func nagleAfterFullSegments() {
    let pair = ScriptedPair()
    let socket = pair.open()
    socket.send(1460 + 10)
    pair.simulation.run(for: .milliseconds(1))
    #expect(pair.peer.take() == ["A> ACK 1:1461 ack 1", "A> PSH ACK 1461:1471 ack 1"])
    socket.send(20)
    pair.simulation.run(for: .milliseconds(1))
    pair.peer.send([], 1, ack: 1461)
    #expect(pair.peer.take() == [])
    pair.peer.send([], 1, ack: 1471)
    #expect(pair.peer.take() == ["A> PSH ACK 1471:1491 ack 1"])
  }

  /// TCP_MAXSEG: before the connection it is also what the SYN announces.
  @Test func maximumSegment() {
    let simulation = Simulation(engines: (1, 0))
    let client = TestApplication(on: simulation.a.engines[0])
    let socket = client.connect(to: simulation.b.address, port: 80, localPort: 40_000)
    socket.setOption(level: 6, name: 2, 500)
    simulation.run(for: .milliseconds(1))
    #expect(simulation.trace.entries.first?.segment.options.maximumSegmentSize == 500)
    let peer = ScriptedPeer(simulation, port: 80, to: 40_000)
    peer.isServer = true
    peer.send(.syn, 0, ack: 1) { $0.options.maximumSegmentSize = 1460 }
    socket.send(1000)
    simulation.run(for: .milliseconds(1))
    #expect(peer.take().suffix(2) == ["A> ACK 1:501 ack 1", "A> PSH ACK 501:1001 ack 1"])
    peer.send([], 1, ack: 1001)
    socket.setOption(level: 6, name: 2, 100)
    socket.send(200)
    simulation.run(for: .milliseconds(1))
    #expect(peer.take() == ["A> ACK 1001:1101 ack 1", "A> PSH ACK 1101:1201 ack 1"])
  }

  /// MSG_MORE and TCP_CORK hold a partial segment, for 200 ms at most.
  @Test(arguments: [false, true])
  func corked(isOption: Bool) {
    let pair = ScriptedPair()
    let socket = pair.open()
    if isOption { socket.setOption(level: 6, name: 3, 1) }
    socket.send(10, more: !isOption)
    pair.simulation.run(for: .milliseconds(150))
    #expect(pair.peer.take() == [])
    pair.simulation.run(for: .milliseconds(60))
    #expect(pair.peer.take() == ["A> PSH ACK 1:11 ack 1"])
    pair.peer.send([], 1, ack: 11)
    socket.send(1460, more: !isOption)
    pair.simulation.run(for: .milliseconds(1))
    #expect(pair.peer.take() == ["A> PSH ACK 11:1471 ack 1"])
    pair.peer.send([], 1, ack: 1471)
    socket.send(10, more: !isOption)
    pair.simulation.run(for: .milliseconds(1))
    #expect(pair.peer.take() == [])
    // The cork out, or a write without MSG_MORE.
    if isOption { socket.setOption(level: 6, name: 3, 0) } else { socket.send(5) }
    pair.simulation.run(for: .milliseconds(1))
    #expect(pair.peer.take() == ["A> PSH ACK 1471:\(isOption ? 1481 : 1486) ack 1"])
  }
}
