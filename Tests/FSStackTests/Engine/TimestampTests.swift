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
