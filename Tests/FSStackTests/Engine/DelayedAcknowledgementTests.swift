import Testing

@testable import FSStack

/// What begins and ends the delay of acknowledgements.
@Suite struct DelayedAcknowledgementTests {
  /// A connection whose application has answered a request of 100 bytes with 10, and is waited for
  /// from now on.
  private func interactive() -> (ScriptedPair, TestSocket) {
    let pair = ScriptedPair()
    let socket = pair.open()
    pair.peer.send([], 1, count: 100, ack: 1)
    socket.send(10)
    pair.simulation.run(for: .milliseconds(1))
    #expect(pair.peer.take() == ["A> PSH ACK 1:11 ack 101"])
    return (pair, socket)
  }

  /// A segment that came again says that an acknowledgement was lost: the next ones are not delayed.
  @Test(arguments: [false, true])
  func quickAfterDuplicates(isDuplicated: Bool) {
    let (pair, _) = interactive()
    if isDuplicated {
      pair.peer.send([], 1, count: 100, ack: 11)
      #expect(pair.peer.take() == ["A> ACK 11 ack 101"])
    }
    pair.peer.send([], 101, count: 100, ack: 11)
    pair.simulation.run(for: .milliseconds(20))
    #expect(pair.peer.take() == (isDuplicated ? ["A> ACK 11 ack 201"] : []))
  }

  /// Data of which the beginning is known is simply the next: its acknowledgement may wait.
  @Test func halfOldDataIsDelayed() {
    let (pair, socket) = interactive()
    pair.peer.send([], 51, count: 100, ack: 11)
    pair.simulation.run(for: .milliseconds(20))
    #expect(pair.peer.take() == [])
    #expect(socket.unread == 150)
    pair.simulation.run(for: .milliseconds(60))
    #expect(pair.peer.take() == ["A> ACK 11 ack 151"])
  }
}
