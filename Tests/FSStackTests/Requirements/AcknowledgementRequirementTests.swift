import Testing

@testable import FSStack

/// RFC 9293 Appendix B, "Generating ACKs" and "Sending Data".
@Suite struct AcknowledgementRequirementTests {
  /// Segments that arrive together are acknowledged together (MUST-58).
  @Test(arguments: [2, 5, 30])
  func acknowledgesBurstOnce(count: Int) {
    let pair = ScriptedPair()
    let socket = pair.open()
    for index in 0..<count {
      let payload = (0..<1000).map {
        StreamPattern.byte(index * 1000 + $0, port: 80, toServer: true)
      }
      pair.simulation.send(pair.peer.header([], 1 + index * 1000, ack: 1).frame(payload), from: 1)
    }
    pair.simulation.run(for: .milliseconds(100))
    #expect(pair.peer.take() == ["A> ACK 1 ack \(1 + count * 1000)"])
    #expect(socket.read() == count * 1000 && socket.firstWrongByte == nil)
  }

  /// What is ahead of a gap is kept (SHLD-31) and acknowledged with RCV.NXT (MAY-13); when the gap is
  /// filled all of it is processed before one acknowledgement goes out (MUST-59).
  @Test func keepsWhatIsAheadOfGap() {
    let pair = ScriptedPair()
    let socket = pair.open()
    for sequence in stride(from: 1001, to: 9001, by: 2000) {
      pair.peer.send([], sequence, count: 1000, ack: 1)
      #expect(pair.peer.take() == ["A> ACK 1 ack 1"])
    }
    for sequence in stride(from: 2001, to: 8001, by: 2000) {
      pair.peer.send([], sequence, count: 1000, ack: 1)
    }
    #expect(socket.unread == 0)
    _ = pair.peer.take()
    pair.peer.send([], 1, count: 1000, ack: 1)
    #expect(pair.peer.take() == ["A> ACK 1 ack 8001"])
    #expect(socket.read() == 8000 && socket.firstWrongByte == nil)
  }

  /// An acknowledgement alone may wait for data to go with (SHLD-18), but never half a second
  /// (MUST-40), whatever the application and the peer have done before.
  @Test func delayIsBounded() {
    let pair = ScriptedPair()
    let socket = pair.open()
    var (sequence, sent, longest) = (1, 0, 0.0)
    for round in 0..<120 {
      let begin = pair.simulation.milliseconds
      // Some rounds are answered, some are not; the peer pauses now and then.
      if round % 5 == 0 {
        socket.send(10)
        sent += 10
      }
      pair.simulation.run(for: .milliseconds(1))
      _ = pair.peer.take()
      pair.peer.send([], sequence, count: 100, ack: 1 + sent)
      sequence += 100
      socket.read()
      pair.simulation.run(within: .seconds(2)) {
        pair.simulation.trace.entries.contains {
          $0.sender == "A" && $0.relative.acknowledgement == sequence
        }
      }
      longest = max(longest, pair.simulation.milliseconds - begin)
      if round % 10 == 9 { pair.simulation.run(for: .seconds(3)) }
    }
    #expect(longest > 20 && longest < 500, "\(longest) ms")
  }

  /// Every second full segment is acknowledged at once (SHLD-19).
  @Test func everySecondSegment() {
    let pair = ScriptedPair()
    let socket = pair.open()
    var unacknowledged = 0
    for index in 0..<100 {
      pair.peer.send([], 1 + index * 1460, count: 1460, ack: 1)
      socket.read()
      unacknowledged += 1
      if pair.peer.take().contains(where: { $0.hasSuffix("ack \(1461 + index * 1460)") }) {
        unacknowledged = 0
      }
      #expect(unacknowledged < 2)
    }
    #expect(socket.bytesReceived == 146_000)
  }

  /// The receiver opens its window in steps of a segment or half its buffer (MUST-39), however the
  /// application reads.
  @Test(arguments: [1, 50, 400])
  func noSillyWindow(step: Int) {
    var options = SimulatedHost.Options()
    options.receiveBuffer = 8192
    let pair = ScriptedPair(options: options)
    let socket = pair.open()
    for sequence in stride(from: 1, to: 8192, by: 1024) {
      pair.peer.send([], sequence, count: 1024, ack: 1)
    }
    pair.simulation.run(for: .milliseconds(50))
    #expect(pair.peer.take().last == "A> ACK 1 ack 8193 win 0")
    while socket.unread > 0 {
      socket.read(step)
      // The peer asks, too.
      if socket.unread % 16 < step { pair.peer.send([], 8192, ack: 1) }
    }
    pair.simulation.run(for: .milliseconds(50))
    let windows = pair.simulation.trace.entries.filter { $0.sender == "A" }.map(\.segment.window)
    var edge = 0
    for window in windows {
      #expect(Int(window) == edge || Int(window) - edge >= 1024, "\(windows)")
      edge = Int(window)
    }
    #expect(edge >= 4096, "\(windows)")
  }

  // MARK: Sending data

  /// A window smaller than a segment is not filled at once (MUST-38): half of the largest there ever
  /// was, or a timeout, decides.
  @Test func smallWindowWaits() {
    let pair = ScriptedPair()
    let socket = pair.open()
    socket.setOption(level: 6, name: 1, 1)
    socket.send(2920)
    pair.simulation.run(for: .milliseconds(1))
    pair.peer.window = 200
    pair.peer.send([], 1, ack: 2921)
    _ = pair.peer.take()
    socket.send(3000)
    pair.simulation.run(for: .milliseconds(150))
    #expect(pair.peer.take() == [])
    pair.simulation.run(for: .milliseconds(150))
    #expect(pair.peer.take() == ["A> ACK 2921:3121 ack 1"])
    // A window of a whole segment is taken at once.
    pair.peer.window = 1460
    pair.peer.send([], 1, ack: 3121)
    #expect(pair.peer.take().first == "A> ACK 3121:4581 ack 1")
  }

  /// Small segments wait while something is unacknowledged (SHLD-7), unless the application wants them
  /// at once (MUST-17); it may change its mind.
  @Test func nagle() {
    let pair = ScriptedPair()
    let socket = pair.open()
    for _ in 0..<5 {
      socket.send(10)
      pair.simulation.run(for: .microseconds(100))
    }
    #expect(pair.peer.take() == ["A> PSH ACK 1:11 ack 1"])
    socket.setOption(level: 6, name: 1, 1)
    pair.simulation.run(for: .microseconds(100))
    #expect(pair.peer.take() == ["A> PSH ACK 11:51 ack 1"])
    for _ in 0..<2 {
      socket.send(10)
      pair.simulation.run(for: .microseconds(100))
    }
    #expect(pair.peer.take() == ["A> PSH ACK 51:61 ack 1", "A> PSH ACK 61:71 ack 1"])
    socket.setOption(level: 6, name: 1, 0)
    socket.send(10)
    pair.simulation.run(for: .microseconds(100))
    #expect(pair.peer.take() == [])
  }
}
