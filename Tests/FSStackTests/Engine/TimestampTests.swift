import Testing

@testable import FSStack

/// RFC 7323: timestamps, PAWS, window scale; and numbers near their wrap.
@Suite struct TimestampTests {
  private static let now: UInt32 = 0x8000_0010

  /// A connection with timestamps, whose peer's clock shows `now`.
  private func open(_ pair: ScriptedPair) -> TestSocket? {
    pair.peer.send(.syn, 0, change: stamp(Self.now))
    pair.peer.send([], 1, ack: 1, change: stamp(Self.now))
    _ = pair.peer.take()
    return pair.server.accept()
  }

  private func stamp(_ value: UInt32) -> (inout OutgoingHeader) -> Void {
    { header in
      header.options.hasTimestamp = true
      header.options.timestampValue = value
    }
  }

  /// The echo in the engine's last segment.
  private func echo(_ pair: ScriptedPair) -> UInt32? {
    pair.simulation.trace.entries.last { $0.sender == "A" }?.segment.options.timestampEcho
  }

  @Test func echoes() {
    let pair = ScriptedPair()
    guard let socket = open(pair) else { return }
    // A single segment: its own; with a gap, that of the last one in order (section 4.3).
    pair.peer.send([], 1, count: 10, ack: 1, change: stamp(Self.now + 5))
    pair.simulation.run(for: .milliseconds(50))
    #expect(echo(pair) == Self.now + 5)
    pair.peer.send([], 101, count: 10, ack: 1, change: stamp(Self.now + 8))
    #expect(echo(pair) == Self.now + 5)
    pair.peer.send([], 11, count: 90, ack: 1, change: stamp(Self.now + 7))
    #expect(echo(pair) == Self.now + 7)
    #expect(socket.unread == 110)
  }

  /// An old timestamp on new data: dropped, answered, and TS.Recent stays (section 5.3).
  @Test func protectsAgainstWrappedSequences() {
    let pair = ScriptedPair()
    guard let socket = open(pair) else { return }
    pair.peer.send([], 1, count: 10, ack: 1, change: stamp(Self.now - 1))
    #expect(pair.peer.take() == ["A> ACK 1 ack 1"])
    #expect(socket.unread == 0 && pair.drops(.pawsRejected) == 1)
    pair.peer.send([], 1, count: 10, ack: 1, change: stamp(Self.now &+ 0x7fff_ffff))
    #expect(socket.unread == 10)
    // A RST is not judged by its timestamp.
    pair.peer.send(.rst, 11, change: stamp(Self.now - 100))
    #expect(socket.error == 104)
  }

  /// A segment from the future of the window does not poison TS.Recent (CVE-2005-0356).
  @Test func farSegmentDoesNotPoison() {
    let pair = ScriptedPair()
    guard let socket = open(pair) else { return }
    pair.peer.send([], 5000, count: 10, ack: 1, change: stamp(Self.now &+ 0x7000_0000))
    pair.peer.send([], 1, count: 10, ack: 1, change: stamp(Self.now + 1))
    #expect(socket.unread == 10)
  }

  /// Nor does an old one, whose timestamp is as far: it is acceptable to nobody. Nor does one that
  /// acknowledges what was never sent.
  @Test func oldSegmentDoesNotPoison() {
    let pair = ScriptedPair()
    guard let socket = open(pair) else { return }
    pair.peer.send([], 1, count: 1000, ack: 1, change: stamp(Self.now))
    pair.simulation.run(for: .milliseconds(50))
    pair.peer.send([], 1, count: 10, ack: 1, change: stamp(Self.now &+ 0x7000_0000))
    pair.peer.send([], 1001, count: 10, ack: 5000, change: stamp(Self.now &+ 0x7000_0000))
    #expect(socket.unread == 1000)
    pair.peer.send([], 1001, count: 10, ack: 1, change: stamp(Self.now + 1))
    #expect(socket.unread == 1010 && pair.drops(.pawsRejected) == 0)
  }

  /// After 24 days without a newer one TS.Recent means nothing (section 5.5), not before.
  @Test(arguments: [(23, false), (25, true)])
  func invalidAfterLongSilence(days: UInt64, isTaken: Bool) {
    let pair = ScriptedPair()
    guard let socket = open(pair) else { return }
    pair.simulation.run(for: .seconds(days * 86_400))
    pair.peer.send([], 1, count: 10, ack: 1, change: stamp(Self.now &- 1000))
    #expect((socket.unread == 10) == isTaken)
    pair.peer.send([], 11, count: 10, ack: 1, change: stamp(Self.now &- 999))
    #expect((socket.unread == 20) == isTaken)
  }

  /// A peer that stops sending timestamps is heard all the same, as in Linux, and still gets ours.
  @Test func peerStops() {
    let pair = ScriptedPair()
    guard let socket = open(pair) else { return }
    pair.peer.send([], 1, count: 10, ack: 1)
    pair.simulation.run(for: .milliseconds(50))
    #expect(socket.unread == 10 && echo(pair) == Self.now)
    #expect(pair.simulation.trace.entries.last?.segment.options.hasTimestamp == true)
  }

  /// Acknowledgements without news, overtaken on their way, do not begin a quarrel.
  @Test func overtakenAcknowledgement() {
    let pair = ScriptedPair()
    guard let socket = open(pair) else { return }
    pair.peer.send([], 1, count: 10, ack: 1, change: stamp(Self.now + 20))
    pair.simulation.run(for: .milliseconds(50))
    _ = pair.peer.take()
    pair.peer.send([], 11, ack: 1, change: stamp(Self.now + 5))
    #expect(pair.peer.take() == [] && pair.drops(.pawsRejected) == 0)
    #expect(socket.unread == 10)
  }

  /// The peer's clock wraps, at 2^31 and at 2^32.
  @Test(arguments: [UInt32(0x7fff_fffe), 0xffff_fffe])
  func clockWraps(begin: UInt32) {
    let pair = ScriptedPair()
    pair.peer.send(.syn, 0, change: stamp(begin))
    pair.peer.send([], 1, ack: 1, change: stamp(begin))
    guard let socket = pair.server.accept() else { return }
    for step in 0..<5 {
      pair.peer.send([], 1 + 10 * step, count: 10, ack: 1, change: stamp(begin &+ UInt32(step)))
      pair.simulation.run(for: .milliseconds(50))
      #expect(echo(pair) == begin &+ UInt32(step))
    }
    #expect(socket.unread == 50 && pair.drops(.pawsRejected) == 0)
  }

  /// Every segment of the connection carries the option, and the clock runs in milliseconds.
  @Test func inEverySegment() {
    let pair = ScriptedPair()
    guard let socket = open(pair) else { return }
    socket.send(10)
    pair.simulation.run(for: .milliseconds(1))
    let first = pair.simulation.trace.entries.last?.segment.options
    pair.simulation.run(for: .milliseconds(201))
    let second = pair.simulation.trace.entries.last?.segment.options
    #expect(first?.hasTimestamp == true && second?.hasTimestamp == true)
    #expect(second.map { $0.timestampValue &- (first?.timestampValue ?? 0) } == 201)
  }

  /// A scale above 14 counts as 14, and no scale at all means none for both.
  @Test func windowScale() {
    for (offered, shift) in [(UInt8(3), 3), (14, 14), (255, 0)] {
      let pair = ScriptedPair()
      pair.peer.send(.syn, 0) { $0.options.windowScale = offered }
      pair.peer.window = 1
      pair.peer.send([], 1, ack: 1)
      let reply = pair.simulation.trace.entries[1].segment.options
      #expect((reply.windowScale == 255) == (offered == 255))
      guard let socket = pair.server.accept() else { return }
      socket.setOption(level: 6, name: 1, 1)
      socket.send(20_000)
      pair.simulation.run(for: .milliseconds(1))
      let sent = pair.simulation.trace.entries.reduce(0) {
        $0 + ($1.sender == "A" ? $1.segment.payloadLength : 0)
      }
      // Ten segments of 536 bytes are the initial window.
      #expect(sent == min(1 << shift, 5360), "scale \(offered): \(sent)")
    }
  }

  /// Both directions wrap in the middle of the data, wherever the numbers begin.
  @Test func sequenceNumbersWrap() {
    for initial: UInt32 in [0xffff_ffff, 0xffff_fff0, 0xffff_f000, 0x7fff_fff0, 0] {
      let pair = ScriptedPair()
      let peer = ScriptedPeer(pair.simulation, initial: initial)
      peer.open()
      guard let socket = pair.server.accept() else { return }
      // Out of order around the wrap.
      for sequence in [2001, 1001, 1, 3001] { peer.send([], sequence, count: 1000, ack: 1) }
      pair.simulation.run(for: .milliseconds(50))
      #expect(peer.take().last == "A> ACK 1 ack 4001")
      socket.read()
      #expect(socket.bytesReceived == 4000 && socket.firstWrongByte == nil)
      peer.send(.rst, 4001)
      #expect(socket.error == 104)
    }
  }
}
