import Testing

@testable import FSStack

/// How long the engine keeps what nobody answers, or nobody owns.
@Suite struct LifetimeTests {
  private func seconds(_ pair: ScriptedPair, until condition: () -> Bool) -> Double {
    let begin = pair.simulation.milliseconds
    let isOver = pair.simulation.run(within: .seconds(20_000), until: condition)
    #expect(isOver)
    return (pair.simulation.milliseconds - begin) / 1000
  }

  private func connections(_ pair: ScriptedPair) -> Int {
    Int(pair.simulation.a.engines[0].engine.connections.count)
  }

  // MARK: Nobody answers

  /// R2 as Linux has it: 924.6 s (MUST-20, SHLD-11).
  @Test func retransmissions() {
    let pair = ScriptedPair()
    let socket = pair.open()
    socket.send(100)
    let time = seconds(pair) { socket.error != nil }
    #expect(socket.error == 110 && (920.0...1050).contains(time), "\(time)")
  }

  /// An orphan is tried for a shorter time, and the peer is told.
  @Test func orphan() {
    let pair = ScriptedPair()
    let socket = pair.open()
    socket.send(100)
    socket.close()
    let time = seconds(pair) { connections(pair) == 0 }
    #expect((100.0...155).contains(time), "\(time)")
    #expect(pair.peer.take().last?.hasPrefix("A> RST ACK") == true)
  }

  /// TCP_USER_TIMEOUT, to the moment (MUST-21).
  @Test func userTimeout() {
    let pair = ScriptedPair()
    let socket = pair.open()
    socket.setOption(level: 6, name: 18, 3000)
    socket.send(100)
    let time = seconds(pair) { socket.error != nil }
    #expect(socket.error == 110 && (2.99...3.02).contains(time), "\(time)")
  }

  /// One that is longer than R2 holds the connection as long.
  @Test func longUserTimeout() {
    let pair = ScriptedPair()
    let socket = pair.open()
    socket.setOption(level: 6, name: 18, 3_600_000)
    socket.send(100)
    let time = seconds(pair) { socket.error != nil }
    #expect((3599.9...3600.1).contains(time), "\(time)")
  }

  /// TCP_SYNCNT: so many SYNs after the first.
  @Test func synchronizeRetries() {
    let simulation = Simulation(engines: (1, 0))
    let client = TestApplication(on: simulation.a.engines[0])
    let socket = client.connect(to: simulation.b.address, port: 80)
    socket.setOption(level: 6, name: 7, 2)
    #expect(simulation.run(within: .seconds(200)) { socket.error != nil })
    #expect(socket.error == 110)
    #expect(simulation.trace.lines == Array(repeating: "A> SYN 0", count: 3))
    #expect((6990.0...7010).contains(simulation.milliseconds))
  }

  // MARK: The window is closed

  /// Answers each probe of the engine with a closed window.
  private func answerProbes(_ pair: ScriptedPair, for time: UInt64, until isOver: () -> Bool) {
    let end = pair.simulation.milliseconds + Double(time) * 1000
    while pair.simulation.milliseconds < end, !isOver() {
      pair.simulation.trace.clear()
      pair.simulation.run(within: .seconds(130)) {
        !pair.simulation.trace.entries.isEmpty || isOver()
      }
      pair.peer.send([], 1, ack: 1)
    }
  }

  private func close(_ pair: ScriptedPair) -> TestSocket {
    let socket = pair.open()
    pair.peer.window = 0
    pair.peer.send([], 1, ack: 1)
    return socket
  }

  /// A peer that answers is alive, however long its window stays closed (MUST-37).
  @Test func answeredProbes() {
    let pair = ScriptedPair()
    let socket = close(pair)
    socket.send(100)
    answerProbes(pair, for: 10_000) { socket.error != nil }
    #expect(socket.error == nil)
  }

  /// But an orphan has nobody to wait for it (CVE-2008-4609).
  @Test func answeredProbesOfAnOrphan() {
    let pair = ScriptedPair()
    let socket = close(pair)
    socket.send(100)
    socket.close()
    let begin = pair.simulation.milliseconds
    answerProbes(pair, for: 2000) { connections(pair) == 0 }
    let time = (pair.simulation.milliseconds - begin) / 1000
    #expect(connections(pair) == 0 && (100.0...500).contains(time), "\(time)")
  }

  /// Nor does TCP_USER_TIMEOUT wait.
  @Test func answeredProbesWithUserTimeout() {
    let pair = ScriptedPair()
    let socket = close(pair)
    socket.setOption(level: 6, name: 18, 10_000)
    socket.send(100)
    let begin = pair.simulation.milliseconds
    answerProbes(pair, for: 100) { socket.error != nil }
    let time = (pair.simulation.milliseconds - begin) / 1000
    #expect(socket.error == 110 && (9.9...10.6).contains(time), "\(time)")
  }

  // MARK: Orphans

  /// Beyond the limit a closed connection is reset, and counted.
  @Test func tooManyOrphans() {
    let pair = ScriptedPair(options: .init(maximumOrphans: 2))
    for port in UInt16(2000)..<2004 {
      let peer = ScriptedPeer(pair.simulation, port: port)
      peer.open()
      guard let socket = pair.server.accept() else {
        Issue.record("not accepted")
        return
      }
      socket.close()
      pair.simulation.run(for: .milliseconds(1))
      #expect(peer.take() == [port < 2002 ? "A> FIN ACK 1 ack 1" : "A> RST ACK 1 ack 1"])
    }
    #expect(pair.simulation.a.engines[0].engine.statistics().counters.orphansReset == 2)
    #expect(connections(pair) == 2)
  }

  /// FIN-WAIT-2: 60 s, or TCP_LINGER2; then data finds nobody.
  @Test(arguments: [Int32?.none, 5, 1000])
  func finishTimeout(linger: Int32?) {
    let pair = ScriptedPair()
    let socket = pair.open()
    if let linger { socket.setOption(level: 6, name: 8, linger) }
    socket.close()
    pair.simulation.run(for: .milliseconds(1))
    pair.peer.send([], 1, ack: 2)
    let time = seconds(pair) { connections(pair) == 0 }
    let expected = min(Double(linger ?? 60), 120)
    #expect((expected - 0.1...expected + 0.1).contains(time), "\(time)")
    #expect(pair.peer.take() == ["A> FIN ACK 1 ack 1"])
    pair.peer.send([], 1, count: 10, ack: 2)
    #expect(pair.peer.take() == ["A> RST 2"])
  }

  /// A negative TCP_LINGER2 does not wait at all.
  @Test func noFinishTimeout() {
    let pair = ScriptedPair()
    let socket = pair.open()
    socket.setOption(level: 6, name: 8, -1)
    socket.close()
    pair.simulation.run(for: .milliseconds(1))
    pair.peer.send([], 1, ack: 2)
    #expect(connections(pair) == 0)
    #expect(pair.peer.take() == ["A> FIN ACK 1 ack 1", "A> RST ACK 2 ack 1"])
  }
}
