import Testing

@testable import FSStack

/// RFC 9293 Appendix B, "Closing Connections".
@Suite struct ClosingRequirementTests {
  /// A RST may carry data, which tells a human why (SHLD-2): it counts as one without, and the data is
  /// not delivered.
  @Test(arguments: [1, 1460])
  func resetWithData(count: Int) {
    let pair = ScriptedPair()
    let socket = pair.open()
    pair.peer.send(.rst, 1, count: count, ack: 1)
    #expect(socket.error == 104 && socket.unread == 0 && pair.peer.take() == [])
  }

  /// The application can tell a close in good order from an abort (MUST-12).
  @Test(arguments: [TCPFlags.fin, .rst])
  func endIsReported(flags: TCPFlags) {
    let pair = ScriptedPair()
    let socket = pair.open()
    pair.peer.send(flags, 1, ack: 1)
    #expect(socket.peerFinished == (flags == .fin))
    #expect(socket.error == (flags == .rst ? 104 : nil))
  }

  /// After close(2) nothing can be read any more (MAY-1); what has not been read, or comes later, is
  /// answered with RST (SHLD-3).
  @Test(arguments: [true, false])
  func halfDuplexClose(dataIsUnread: Bool) {
    let pair = ScriptedPair()
    let socket = pair.open()
    if dataIsUnread { pair.peer.send([], 1, count: 100, ack: 1) }
    socket.close()
    pair.simulation.run(for: .milliseconds(1))
    if !dataIsUnread {
      #expect(pair.peer.take() == ["A> FIN ACK 1 ack 1"])
      pair.peer.send([], 1, count: 100, ack: 2)
    }
    #expect(pair.peer.take().last?.contains("RST") == true)
    #expect(pair.simulation.leftovers() == [])
  }

  /// Closes actively; returns at the first moment of TIME-WAIT. Timestamps begin at 1000.
  private func timeWait(timestamps: Bool) -> ScriptedPair {
    let pair = ScriptedPair()
    func stamp(_ value: UInt32) -> (inout OutgoingHeader) -> Void {
      { header in
        header.options.hasTimestamp = timestamps
        header.options.timestampValue = value
      }
    }
    pair.peer.send(.syn, 0, change: stamp(1000))
    pair.peer.send([], 1, ack: 1, change: stamp(1000))
    pair.server.accept()?.close()
    pair.simulation.run(for: .milliseconds(1))
    pair.peer.send(.fin, 1, ack: 2, change: stamp(1001))
    #expect(pair.states[.timeWait] == 1)
    return pair
  }

  /// 60 seconds, as Linux (MUST-13), and a FIN that comes again starts them anew.
  @Test(arguments: [false, true])
  func timeWaitLasts(finComesAgain: Bool) {
    let pair = timeWait(timestamps: false)
    pair.simulation.run(for: .seconds(50))
    if finComesAgain { pair.peer.send(.fin, 1, ack: 2) }
    pair.simulation.run(for: .seconds(9))
    #expect(pair.states[.timeWait] == 1)
    pair.simulation.run(for: .seconds(finComesAgain ? 49 : 0))
    #expect(pair.states[.timeWait] == 1)
    pair.simulation.run(for: .seconds(3))
    #expect(pair.states[.timeWait] == 0)
  }

  /// A SYN that is provably later opens the flow anew (MAY-2): by its timestamp, also when its number
  /// is lower (SHLD-4, RFC 6191), or by its number.
  @Test(arguments: [
    (-5000, UInt32(1002), true), (-5000, 1001, false), (100_000, 1000, false), (100_000, nil, true),
    (-5000, nil, false),
  ])
  func timeWaitGivesWay(sequence: Int, timestamp: UInt32?, opens: Bool) {
    let pair = timeWait(timestamps: timestamp != nil)
    _ = pair.peer.take()
    pair.peer.send(.syn, sequence) {
      $0.options.hasTimestamp = timestamp != nil
      $0.options.timestampValue = timestamp ?? 0
    }
    let answer = pair.peer.take()
    #expect(answer.count == 1 && answer[0].hasPrefix("A> SYN ACK") == opens, "\(answer)")
    #expect(pair.counters.timeWaitReused == (opens ? 1 : 0))
  }
}
