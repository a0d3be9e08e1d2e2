import Testing

@testable import FSStack

/// Passive opens in the SYN cache (RFC 4987 section 3.5).
@Suite struct SynchronizeCacheTests {
  private func states(_ pair: ScriptedPair) -> [TCPState: Int] {
    pair.simulation.a.engines[0].engine.statistics().connections
  }

  private func seconds(_ pair: ScriptedPair) -> [Int] {
    pair.simulation.trace.entries.filter { $0.sender == "A" }
      .map { Int((($0.time - pair.simulation.start).nanoseconds + 500_000_000) / 1_000_000_000) }
  }

  private func change(_ pair: ScriptedPair, _ body: (inout Endpoint) -> Void) {
    let listeners = pair.simulation.a.engines[0].engine.listeners
    if let id = listeners.find(pair.simulation.a.address, port: 80) {
      body(&listeners.endpoints[id])
    }
  }

  /// Linux's tcp_synack_retries: 1 s, doubled each time, five times; then forgotten, without a word.
  @Test func nobodyCompletes() {
    let pair = ScriptedPair()
    pair.peer.send(.syn, 0)
    #expect(states(pair)[.synReceived] == 1)
    #expect(pair.simulation.a.engines[0].engine.connections.count == 0)
    pair.simulation.run(for: .milliseconds(62_900))
    #expect(seconds(pair) == [0, 1, 3, 7, 15, 31])
    #expect(states(pair)[.synReceived] == 1)
    pair.simulation.run(for: .milliseconds(200))
    #expect(states(pair)[.synReceived] == 0)
    // An acknowledgement that late is for nobody.
    _ = pair.peer.take()
    pair.peer.send([], 1, ack: 1)
    #expect(pair.peer.take() == ["A> RST 1"])
  }

  /// The catalogue's "ACK with data completing handshake" and "lost third ACK (listener sees data first)".
  @Test(arguments: [false, true])
  func dataCompletesHandshake(_ finishes: Bool) {
    let pair = ScriptedPair()
    pair.peer.send(.syn, 0) { $0.options.maximumSegmentSize = 1460 }
    pair.peer.send(finishes ? [.psh, .fin] : .psh, 1, count: 300, ack: 1)
    let socket = pair.server.accept()
    #expect(socket?.unread == 300 && socket?.peerFinished == finishes)
    socket?.read()
    #expect(socket?.firstWrongByte == nil)
  }

  /// "SYN+data": the data are not kept; the peer sends them again.
  @Test func dataInSynchronize() {
    let pair = ScriptedPair()
    pair.peer.send(.syn, 0, count: 100)
    #expect(pair.peer.take() == ["A> SYN ACK 0 ack 1"])
    pair.peer.send(.psh, 1, count: 100, ack: 1)
    #expect(pair.server.accept()?.unread == 100)
  }

  /// "Duplicate SYN in SYN-RCVD with different options/TS": the first SYN's options stand; answered
  /// at most twice a second.
  @Test func duplicateSynchronize() {
    let pair = ScriptedPair()
    pair.peer.send(.syn, 0) {
      $0.options.maximumSegmentSize = 1000
      $0.options.hasTimestamp = true
      $0.options.timestampValue = 5
    }
    for _ in 0..<5 {
      pair.peer.send(.syn, 0) {
        $0.options.windowScale = 7
        $0.options.sackPermitted = true
      }
    }
    let answers = pair.simulation.trace.entries.filter { $0.sender == "A" }.map(\.segment)
    #expect(answers.count == 2)
    for answer in answers {
      #expect(answer.options.hasTimestamp && answer.options.timestampEcho == 5)
      #expect(!answer.options.sackPermitted && answer.options.windowScale == 255)
    }
    pair.peer.send([], 1, ack: 1) {
      $0.options.hasTimestamp = true
      $0.options.timestampValue = 6
    }
    _ = pair.peer.take()
    pair.server.accept()?.send(2000)
    pair.simulation.run(for: .milliseconds(1))
    #expect(pair.peer.take().first == "A> ACK 1:989 ack 1")
  }

  /// A SYN of another connection of the same flow, from a peer that has begun anew: challenged
  /// (RFC 5961 section 4), and the peer's RST makes room for its next one.
  @Test func otherSynchronize() {
    let pair = ScriptedPair()
    pair.peer.send(.syn, 0)
    _ = pair.peer.take()
    pair.simulation.trace.keepsNumbers = true
    pair.peer.send(.syn, 5000)
    #expect(pair.peer.take() == ["A> ACK 1 ack 1"])
    #expect(states(pair)[.synReceived] == 1)
    // The challenge acknowledges what that peer has never sent.
    pair.peer.send(.rst, 1)
    #expect(states(pair)[.synReceived] == 0)
    pair.simulation.trace.keepsNumbers = false
    pair.peer.send(.syn, 5000)
    #expect(pair.peer.take() == ["A> SYN ACK 0 ack 1"])
  }

  /// The window of a challenge is scaled, other than that of the SYN-ACK before it: it offers no more than
  /// that did.
  @Test(arguments: [true, false]) func windowOfChallenge(isScaled: Bool) {
    let pair = ScriptedPair()
    pair.peer.send(.syn, 0) { if isScaled { $0.options.windowScale = 7 } }
    pair.peer.send(.syn, 5000) { if isScaled { $0.options.windowScale = 7 } }
    let answers = pair.simulation.trace.entries.filter { $0.sender == "A" }.map(\.segment)
    #expect(answers.map(\.flags) == [[.syn, .ack], .ack])
    let scale = answers[0].options.windowScale
    #expect((scale != SegmentOptions.absentWindowScale) == isScaled && (!isScaled || scale > 0))
    #expect(answers[0].window == 65_535)
    #expect(answers[1].window == (isScaled ? 65_535 >> UInt16(scale) : 65_535))
  }

  /// Only the exact RST ends it (RFC 5961 section 3); others are challenged or ignored. An old
  /// timestamp makes a segment unacceptable (PAWS).
  @Test func guesses() {
    let pair = ScriptedPair()
    pair.peer.send(.syn, 0) {
      $0.options.hasTimestamp = true
      $0.options.timestampValue = 100
    }
    _ = pair.peer.take()
    pair.peer.send(.rst, 2)
    #expect(pair.peer.take() == ["A> ACK 1 ack 1"])
    pair.peer.send(.rst, 70_000)
    pair.peer.send(.rst, 0)
    pair.peer.send([], 1, ack: 1) {
      $0.options.hasTimestamp = true
      $0.options.timestampValue = 99
    }
    #expect(pair.peer.take() == [] && pair.drops(.pawsRejected) == 1)
    #expect(states(pair)[.synReceived] == 1)
    pair.peer.send([], 1, ack: 1) {
      $0.options.hasTimestamp = true
      $0.options.timestampValue = 100
    }
    #expect(states(pair)[.established] == 1)
  }

  /// "Accept-queue full (drop last ACK, Linux re-sends SYN-ACK)", and SYNs are dropped meanwhile.
  @Test func acceptQueueFull() {
    let pair = ScriptedPair(backlog: 1)
    pair.server.pause(1, true)
    pair.simulation.run(for: .milliseconds(1))
    let late = ScriptedPeer(pair.simulation, port: 3000)
    late.send(.syn, 0)
    for port: UInt16 in [2000, 2001] {
      // The SYN cache is full, so these come by cookies.
      ScriptedPeer(pair.simulation, port: port).open()
    }
    #expect(states(pair)[.established] == 2)
    late.send([], 1, ack: 1)
    #expect(states(pair)[.established] == 2 && pair.drops(.listenQueueFull) == 1)
    ScriptedPeer(pair.simulation, port: 3001).send(.syn, 0)
    #expect(pair.peer.take() == [] && pair.drops(.listenQueueFull) == 2)
    pair.simulation.run(for: .milliseconds(1100))
    #expect(late.take() == ["A> SYN ACK 0 ack 1"])
    pair.server.pause(1, false)
    pair.simulation.run(for: .milliseconds(1))
    late.send([], 1, ack: 1)
    #expect(pair.server.accepted.map(\.endpoint.remotePort) == [2000, 2001, 3000])
  }

  /// TCP_DEFER_ACCEPT: a bare acknowledgement does not make a connection; data do.
  @Test func deferAccept() {
    let pair = ScriptedPair()
    change(pair) { $0.deferAccept = Endpoint.deferAccept(seconds: 4) }
    pair.peer.send(.syn, 0)
    pair.peer.send([], 1, ack: 1)
    #expect(states(pair)[.synReceived] == 1 && states(pair)[.established, default: 0] == 0)
    pair.simulation.run(for: .milliseconds(2000))
    pair.peer.send(.psh, 1, count: 10, ack: 1)
    #expect(pair.server.accept()?.unread == 10)
    // The SYN-ACK has rested.
    #expect(seconds(pair) == [0])
  }

  /// Without data the SYN-ACK goes out once more at the end of the period, and the acknowledgement of
  /// that opens the connection.
  @Test func deferAcceptEnds() {
    let pair = ScriptedPair()
    change(pair) { $0.deferAccept = Endpoint.deferAccept(seconds: 4) }
    pair.peer.send(.syn, 0)
    pair.peer.send([], 1, ack: 1)
    pair.simulation.run(for: .milliseconds(7500))
    #expect(seconds(pair) == [0, 7])
    pair.peer.send([], 1, ack: 1)
    #expect(pair.server.accept()?.unread == 0)
  }

  /// TCP_MAXSEG of a listener bounds what its SYN-ACKs announce and what its connections send, also
  /// by way of a cookie; TCP_SYNCNT how often a SYN-ACK is sent again. A listener that is not there
  /// has no options.
  @Test(arguments: [false, true])
  func listenerOptions(_ usesCookies: Bool) {
    let pair = ScriptedPair()
    var options = ListenerOptions()
    options.maximumSegmentSize = 1000
    options.synchronizeRetries = 2
    pair.simulation.a.engines[0].control {
      $0.updateListener(1, backlog: usesCookies ? 1 : 16, options: options)
      $0.updateListener(99, backlog: 16, options: ListenerOptions())
    }
    ScriptedPeer(pair.simulation, port: 3000).send(.syn, 0)
    if !usesCookies {
      pair.simulation.run(for: .seconds(20))
      #expect(seconds(pair) == [0, 1, 3] && states(pair)[.synReceived] == 0)
    }
    pair.peer.send(.syn, 0) { $0.options.maximumSegmentSize = 1460 }
    let answers = pair.simulation.trace.entries.filter { $0.sender == "A" }.map(\.segment)
    #expect(answers.allSatisfy { $0.options.maximumSegmentSize == 1000 })
    #expect(
      pair.simulation.a.engines[0].engine.statistics().counters.cookiesSent
        == (usesCookies ? 1 : 0))
    _ = pair.peer.take()
    pair.peer.send([], 1, ack: 1)
    pair.server.accept()?.send(2000)
    pair.simulation.run(for: .milliseconds(1))
    let sent = pair.simulation.trace.entries.filter { $0.sender == "A" }
    let longest = sent.map(\.segment.payloadLength).max() ?? 0
    #expect(usesCookies ? (500...1000).contains(longest) : longest == 1000)
  }

  /// LAND with another address of the host, and SYN+FIN and the like: dropped (MUST-63).
  @Test func impossibleSynchronize() {
    let pair = ScriptedPair()
    let second = IPAddress(v4: 10, 0, 0, 77)
    let first = pair.simulation.a.address
    pair.simulation.a.engines[0].control {
      $0.setLocalAddresses([(interface: 0, address: first), (interface: 0, address: second)])
    }
    for source in [second, first] { pair.peer.send(.syn, 0) { $0.source = source } }
    #expect(pair.peer.take() == [] && pair.drops(.sourceAddressInvalid) == 2)
    for flags: TCPFlags in [[.syn, .fin], [.syn, .rst], [], .fin, [.fin, .psh, .urg]] {
      pair.peer.send(flags, 0)
    }
    #expect(pair.peer.take() == [] && pair.drops(.flagsInvalid) == 5)
    #expect(states(pair)[.synReceived] == 0)
  }

  /// As Linux: a SYN whose timestamp is 0 says nothing of the peer's clock.
  @Test func timestampOfZero() {
    let pair = ScriptedPair()
    pair.peer.send(.syn, 0) { $0.options.hasTimestamp = true }
    pair.peer.send(.psh, 1, count: 10, ack: 1) {
      $0.options.hasTimestamp = true
      $0.options.timestampValue = 0x9000_0000
    }
    #expect(pair.server.accept()?.unread == 10)
  }
}
