import Testing

@testable import FSStack

/// What came twice is reported first, once (RFC 2883).
@Suite struct DuplicateTests {
  private func open(timestamps: Bool = false) -> ScriptedPair {
    let pair = ScriptedPair()
    pair.peer.send(.syn, 0) { $0.options.sackPermitted = true }
    pair.peer.send([], 1, ack: 1)
    pair.simulation.trace.keepsNumbers = true
    _ = pair.peer.take()
    return pair
  }

  /// The ranges in the engine's last segment.
  private func blocks(_ pair: ScriptedPair) -> [[Int]] {
    guard let last = pair.simulation.trace.entries.last(where: { $0.sender == "A" }) else {
      return []
    }
    let first = pair.peer.initial
    return (0..<last.segment.options.sackCount).map {
      [
        Int(last.segment.options.sackBlocks[$0].left - first),
        Int(last.segment.options.sackBlocks[$0].right - first),
      ]
    }
  }

  /// Section 4.1: all of it was delivered before.
  @Test func belowTheWindow() {
    let pair = open()
    pair.peer.send([], 1, count: 1000, ack: 1)
    pair.peer.send([], 1, count: 500, ack: 1)
    #expect(blocks(pair) == [[1, 501]])
    // Once: the next acknowledgement does not say it again.
    pair.peer.send([], 2001, count: 100, ack: 1)
    #expect(blocks(pair) == [[2001, 2101]])
  }

  /// Section 4.2: a part of it is new.
  @Test func partly() {
    let pair = open()
    pair.peer.send([], 1, count: 1000, ack: 1)
    pair.peer.send([], 501, count: 1000, ack: 1)
    #expect(blocks(pair) == [[501, 1001]])
    #expect(pair.peer.take().last == "A> ACK 1 ack 1501 sack")
  }

  /// Section 4.1.1: inside the queue; the range that holds it follows.
  @Test func ahead() {
    let pair = open()
    pair.peer.send([], 1001, count: 1000, ack: 1)
    pair.peer.send([], 3001, count: 1000, ack: 1)
    pair.peer.send([], 1201, count: 300, ack: 1)
    #expect(blocks(pair) == [[1201, 1501], [1001, 2001], [3001, 4001]])
    // Its beginning is known, the rest is new.
    pair.peer.send([], 3501, count: 1000, ack: 1)
    #expect(blocks(pair) == [[3501, 4001], [3001, 4501], [1001, 2001]])
  }

  /// Data carries ranges where there is room, and is never cut for them.
  @Test func withData() {
    let pair = open()
    guard let socket = pair.server.accept() else { return }
    pair.peer.send([], 1001, count: 1000, ack: 1)
    socket.send(100)
    pair.simulation.run(for: .milliseconds(1))
    #expect(pair.peer.take().last == "A> PSH ACK 1:101 ack 1 sack")
    pair.peer.send([], 1, ack: 101)
    socket.send(536)
    pair.simulation.run(for: .milliseconds(1))
    #expect(pair.peer.take().last == "A> PSH ACK 101:637 ack 1")
  }

  /// A peer that did not ask for selective acknowledgements gets none, but a duplicate for each
  /// segment of a burst, so that it can count to three.
  @Test func withoutTheOption() {
    let pair = ScriptedPair()
    let socket = pair.open()
    let header = pair.peer.header([], 0, ack: 1)
    for index in 0..<3 {
      var next = header
      next.sequence = pair.peer.initial + UInt32(1001 + 1000 * index)
      let payload = (0..<1000).map {
        StreamPattern.byte(1000 + 1000 * index + $0, port: 80, toServer: true)
      }
      pair.simulation.send(next.frame(payload), from: 1)
    }
    pair.simulation.run(for: .milliseconds(1))
    #expect(pair.peer.take() == Array(repeating: "A> ACK 1 ack 1", count: 3))
    pair.peer.send([], 1, count: 1000, ack: 1)
    #expect(pair.peer.take() == ["A> ACK 1 ack 4001"])
    socket.read()
    #expect(socket.bytesReceived == 4000 && socket.firstWrongByte == nil)
  }
}
