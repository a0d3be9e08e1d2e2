import Testing

@testable import FSStack

/// Bugs that others had with timestamps and TIME-WAIT (docs/bug-catalogue.md).
@Suite struct TimestampCatalogueTests {
  private func stamp(_ value: UInt32, echo: UInt32 = 0) -> (inout OutgoingHeader) -> Void {
    { header in
      header.options.hasTimestamp = true
      header.options.timestampValue = value
      header.options.timestampEcho = echo
    }
  }

  private func connection(_ pair: ScriptedPair) -> Connection {
    pair.simulation.a.engines[0].engine.connections[ConnectionID(raw: 0)]
  }

  /// Opens with timestamps; the handshake's last segment has the same one.
  private func open(_ pair: ScriptedPair, at clock: UInt32) -> TestSocket? {
    pair.peer.send(.syn, 0, change: stamp(clock))
    pair.peer.send([], 1, ack: 1, change: stamp(clock))
    _ = pair.peer.take()
    pair.simulation.trace.keepsNumbers = true
    return pair.server.accept()
  }

  /// CVE-2005-0356: a timestamp of the far future, in a segment that is ahead of a gap, out of the
  /// window, or acknowledges what was never sent, does not become TS.Recent.
  @Test(arguments: [(5000, 1), (3_000_000, 1), (1, 500_000), (-5000, 1)])
  func poisonedRecentTimestamp(sequence: Int, acknowledgement: Int) {
    for clock: UInt32 in [1000, 0xffff_ff00, 0x7fff_ff00] {
      let pair = ScriptedPair()
      let socket = open(pair, at: clock)
      pair.peer.send(
        [], sequence, count: 10, ack: acknowledgement, change: stamp(clock &+ 0x7000_0000))
      pair.peer.send([], 1, count: 10, ack: 1, change: stamp(clock &+ 1))
      #expect(socket?.unread == 10)
    }
  }

  /// Segments that overtook each other, older timestamp last: the later one fills the gap all the same
  /// when it is no older than what was in order.
  @Test func reordered() {
    let pair = ScriptedPair()
    let socket = open(pair, at: 1000)
    pair.peer.send([], 1001, count: 1000, ack: 1, change: stamp(1005))
    pair.peer.send([], 1, count: 1000, ack: 1, change: stamp(1003))
    #expect(socket?.unread == 2000)
  }

  /// An echo of what the engine has never sent, from the future or of another connection, is no
  /// measurement: the estimate does not go wild.
  @Test(arguments: [0, 1, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff] as [UInt32])
  func impossibleEcho(echo: UInt32) {
    let pair = ScriptedPair()
    guard let socket = open(pair, at: 1000) else { return }
    for round in 1...20 {
      socket.send(100)
      pair.simulation.run(for: .milliseconds(1))
      pair.peer.send([], 1, ack: 1 + round * 100, change: stamp(1000 + UInt32(round), echo: echo))
    }
    pair.server.run()
    #expect(socket.isDrained)
    #expect(connection(pair).roundTrip.current <= .seconds(3))
  }

  /// After 24.8 days of silence TS.Recent means nothing (RFC 7323 section 5.5): what looks old is new.
  @Test func idleForMonths() {
    let pair = ScriptedPair()
    let socket = open(pair, at: 1000)
    pair.simulation.run(for: .seconds(26 * 86_400))
    // The peer's clock has gone on by more than half its range.
    pair.peer.send([], 1, count: 10, ack: 1, change: stamp(1000 &+ 26 * 86_400_000))
    #expect(socket?.unread == 10 && socket?.error == nil)
  }

  /// The clocks of both sides wrap at 2^32 ms, 49.7 days, and at half of it: nothing happens.
  @Test func clocksWrap() {
    let pair = ScriptedPair()
    guard let socket = open(pair, at: 0x7fff_0000) else { return }
    var clock: UInt32 = 0x7fff_0000
    for round in 0..<110 {
      pair.simulation.run(for: .seconds(86_400))
      clock &+= 86_400_000
      socket.send(100)
      pair.simulation.run(for: .milliseconds(1))
      let ours = pair.simulation.trace.entries.last?.segment.options.timestampValue ?? 0
      pair.peer.send(
        [], 1 + round * 10, count: 10, ack: 101 + round * 100, change: stamp(clock, echo: ours))
      pair.simulation.trace.clear()
    }
    pair.server.run()
    #expect(socket.isDrained && socket.read() == 1100 && socket.firstWrongByte == nil)
    #expect(connection(pair).roundTrip.current <= .seconds(1) && pair.drops(.pawsRejected) == 0)
  }

  /// A peer that leaves the option out after the handshake is tolerated, as in Linux; one that begins
  /// with it then is not taken at its word.
  @Test(arguments: [true, false])
  func optionComesAndGoes(isNegotiated: Bool) {
    let pair = ScriptedPair()
    let socket = isNegotiated ? open(pair, at: 1000) : pair.open()
    if isNegotiated {
      pair.peer.send([], 1, count: 10, ack: 1)
    } else {
      pair.peer.send([], 1, count: 10, ack: 1, change: stamp(5000))
      pair.peer.send([], 11, count: 10, ack: 1, change: stamp(1))
    }
    #expect(socket?.unread == (isNegotiated ? 10 : 20))
    socket?.send(10)
    pair.simulation.run(for: .milliseconds(1))
    #expect(pair.frames.last?.optionKinds?.contains(8) == isNegotiated)
  }

  /// Connections of a host to two others do not show the same clock (RFC 7323 section 7.1).
  @Test func clocksDiffer() {
    let secret = Secret(words: (1, 2, 3, 4))
    let local = IPAddress(v4: 10, 0, 0, 1)
    let offsets = (1...20).map { secret.timestampOffset(local, IPAddress(v4: 10, 0, 1, UInt8($0))) }
    #expect(Set(offsets).count == 20)
  }

  // MARK: TIME-WAIT

  private func timeWait() -> ScriptedPair {
    let pair = ScriptedPair()
    let socket = pair.open()
    socket.close()
    pair.simulation.run(for: .milliseconds(1))
    pair.peer.send(.fin, 1, ack: 2)
    _ = pair.peer.take()
    return pair
  }

  /// RFC 1337: neither RST nor old duplicates end TIME-WAIT, and data is not delivered to anybody.
  @Test(
    arguments: [
      (TCPFlags.rst, 2, 0, nil), (.rst, 1, 0, 2), (.rst, 2, 100, 2), (TCPFlags(), 2, 100, 2),
      (TCPFlags(), 1, 100, 2), (.fin, 1, 100, 2), (TCPFlags(), 100_000, 1, 2), (.syn, -1, 0, nil),
      (.syn, 0, 0, nil), (.syn, 1, 0, 2),
    ] as [(TCPFlags, Int, Int, Int?)])
  func assassination(flags: TCPFlags, sequence: Int, count: Int, ack: Int?) {
    let pair = timeWait()
    for _ in 0..<3 { pair.peer.send(flags, sequence, count: count, ack: ack) }
    #expect(pair.states[.timeWait] == 1)
    let answers = pair.peer.take()
    #expect(answers.allSatisfy { $0 == "A> ACK 2 ack 2" } && answers.count <= 3, "\(answers)")
    if flags == .rst { #expect(answers == []) }
  }

  /// Hosts behind one address have clocks of their own: no SYN is refused for the timestamps of another
  /// connection (what Linux's tcp_tw_recycle did).
  @Test func addressTranslation() {
    let pair = ScriptedPair()
    for (index, clock) in ([4_000_000_000, 10, 2_000_000_000, 1] as [UInt32]).enumerated() {
      let peer = ScriptedPeer(pair.simulation, port: 3000 + UInt16(index))
      peer.send(.syn, 0, change: stamp(clock))
      #expect(peer.take() == ["A> SYN ACK 0 ack 1"])
      peer.send([], 1, ack: 1, change: stamp(clock))
      let socket = pair.server.accept()
      socket?.close()
      pair.simulation.run(for: .milliseconds(1))
      peer.send(.fin, 1, ack: 2, change: stamp(clock &+ 1))
      _ = peer.take()
    }
    #expect(pair.states[.timeWait] == 4)
  }
}
