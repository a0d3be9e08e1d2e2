import FSRing
import Testing

@testable import FSStack

/// The receive buffer grows with the rate at which the application reads, and no further.
@Suite struct ReceiveBufferTests {
  private static let large = ChannelGeometry(
    commandCapacity: 1024, eventCapacity: 4096, receiveChunkCount: 4096, sendChunkCount: 1024,
    slotCount: 16)

  /// A long path, and a sender and a reader that never pause.
  private func transfer(
    _ total: Int, latency: Interval = .milliseconds(20), lock: Int32? = nil,
    receiveBuffer: UInt32 = 1 << 20, chunks: ChannelGeometry = ReceiveBufferTests.large
  ) -> (windows: [Int], largest: UInt32, isComplete: Bool) {
    var conditions = LinkConditions.perfect
    conditions.latency = latency
    let pair = Pair(
      conditions, options: .init(receiveBuffer: receiveBuffer, maximumReassembly: 2048),
      geometry: chunks)
    defer { pair.simulation.end() }
    let client = pair.client.connect(to: pair.simulation.a.address, port: 80)
    client.sendBuffer = 4 << 20
    pair.simulation.run(within: .seconds(1)) { !pair.server.accepted.isEmpty }
    guard let server = pair.server.accept() else { return ([], 0, false) }
    if let lock { server.setOption(level: 1, name: 8, lock) }
    pair.server.onWake = { server.read() }
    pair.client.onWake = {
      if client.bytesSent < total { client.send(total - client.bytesSent) }
      pair.client.wantSpace()
    }
    pair.client.run()
    let isComplete = pair.simulation.run(within: .seconds(30)) { server.bytesReceived == total }
    let answer = server.inquire()
    pair.simulation.run(for: .milliseconds(1))
    let windows = pair.simulation.trace.entries.compactMap { entry -> Int? in
      guard entry.sender == "A", !entry.segment.flags.contains(.syn) else { return nil }
      return Int(entry.segment.window) << 5
    }
    return (windows, answer()?.receiveSlowStartThreshold ?? 0, isComplete)
  }

  @Test func grows() {
    let (windows, largest, isComplete) = transfer(2_000_000)
    #expect(isComplete)
    #expect(windows.first.map { $0 <= 65_536 } == true, "begins small")
    #expect(largest > 100_000, "\(largest)")
    #expect((windows.max() ?? 0) > 65_536)
  }

  /// SO_RCVBUF is what it is.
  @Test func locked() {
    let (windows, largest, isComplete) = transfer(500_000, lock: 20_000)
    #expect(isComplete && largest == 20_000)
    #expect((windows.dropFirst(20).max() ?? 0) <= 20_032)
  }

  /// SO_RCVLOWAT: who waits for more than the buffer holds gets a larger one.
  @Test(arguments: [nil, 100_000] as [Int32?])
  func lowWater(_ mark: Int32?) {
    let pair = Pair(
      .perfect, options: .init(receiveBuffer: 1 << 20, maximumReassembly: 2048),
      geometry: Self.large)
    defer { pair.simulation.end() }
    let client = pair.client.connect(to: pair.simulation.a.address, port: 80)
    client.sendBuffer = 4 << 20
    pair.simulation.run(within: .seconds(1)) { !pair.server.accepted.isEmpty }
    guard let server = pair.server.accept() else {
      Issue.record("nothing to accept")
      return
    }
    if let mark { server.setOption(level: 1, name: 18, mark) }
    client.send(300_000)
    pair.client.run()
    pair.simulation.run(for: .seconds(2))
    if let mark {
      #expect(server.unread >= Int(mark), "\(server.unread)")
    } else {
      #expect(server.unread < 70_000, "\(server.unread)")
    }
  }

  /// The configuration's bound.
  @Test func bounded() {
    let (_, largest, isComplete) = transfer(2_000_000, receiveBuffer: 100_000)
    #expect(isComplete && largest <= 100_000)
  }

  /// No connection may promise more than a quarter of what its channel can still hold.
  @Test func boundedByChunks() {
    var few = Self.large
    few.receiveChunkCount = 256
    let (_, largest, isComplete) = transfer(2_000_000, chunks: few)
    #expect(isComplete && largest <= 131_072)
  }

  /// TCP_WINDOW_CLAMP.
  @Test func clamped() {
    let pair = ScriptedPair()
    let socket = pair.open()
    socket.setOption(level: 6, name: 10, 5000)
    pair.peer.send([], 1, count: 1460, ack: 1)
    socket.read()
    for index in 1..<60 {
      pair.peer.send([], 1 + 1460 * index, count: 1460, ack: 1)
      socket.read()
    }
    pair.simulation.run(for: .milliseconds(50))
    #expect((3540...5000).contains(Int(pair.simulation.trace.entries.last?.segment.window ?? 0)))
  }

  /// The computation alone: nothing before a round trip is known; twice the rate, more while it
  /// grows; nothing while it does not.
  @Test func rate() {
    let start = Instant(nanoseconds: 0)
    var rate = ReceiveRate(
      window: 65_536, segmentSize: 1000, read: 0, receiveNext: SequenceNumber(0), now: start)
    #expect(rate.space == 10_000)
    #expect(rate.read(50_000, segmentSize: 1000, now: start + .seconds(1)) == nil)
    rate.echoed(1, milliseconds: 100)
    #expect(rate.roundTrip == 100_000_000)
    #expect(rate.read(60_000, segmentSize: 1000, now: start + .milliseconds(50)) == nil)
    // 20,000 in a round trip: 2 * 20,000 + 16,000, and as it has doubled, three times that.
    #expect(rate.read(20_000, segmentSize: 1000, now: start + .milliseconds(100)) == 168_000)
    #expect(rate.read(40_000, segmentSize: 1000, now: start + .milliseconds(200)) == nil)
    #expect(rate.space == 20_000)
    // Without timestamps: the time of a window, if that is shorter.
    rate.arrived(SequenceNumber(70_000), window: 65_536, now: start + .milliseconds(80))
    #expect(rate.roundTrip == 80_000_000)
    rate.arrived(SequenceNumber(70_001), window: 65_536, now: start + .milliseconds(81))
    #expect(rate.roundTrip == 80_000_000)
  }

  /// The peer's echoes say how long a round trip is: gigabytes may be read in one.
  @Test func muchInOneRoundTrip() {
    let start = Instant(nanoseconds: 0)
    var rate = ReceiveRate(
      window: 65_536, segmentSize: 1460, read: 0, receiveNext: SequenceNumber(0), now: start)
    rate.echoed(1, milliseconds: 120_000)
    #expect(rate.roundTrip == 0, "an echo of long ago")
    rate.echoed(2, milliseconds: 119_999)
    #expect(rate.read(4_000_000_000, segmentSize: 1460, now: start + .seconds(200)) == .max)
  }
}
