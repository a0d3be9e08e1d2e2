@testable import FSStack

/// An engine that has sent some segments of 1000 bytes to a peer that permits selective
/// acknowledgements and is played by the test.
final class SelectiveScene {
  let pair: ScriptedPair
  let socket: TestSocket
  /// Bytes that the application has sent so far.
  private(set) var sent: Int
  private let hasTimestamps: Bool
  /// What acknowledgements echo, when there are timestamps; nil for the latest.
  var echo: UInt32?

  /// How long the peer takes for its first acknowledgements. Each further one takes half a millisecond:
  /// so many of them come within the reordering window, a quarter of this.
  static var roundTrip: Interval { .milliseconds(40) }

  init(
    segments: Int, sendBuffer: Int = 64 * 1024, window: UInt16 = 65_535, timestamps: Bool = false,
    selective: Bool = true
  ) {
    pair = ScriptedPair()
    hasTimestamps = timestamps
    let peer = pair.peer
    peer.window = window
    peer.send(.syn, 0) {
      $0.options.maximumSegmentSize = timestamps ? 1012 : 1000
      $0.options.sackPermitted = selective
      $0.options.hasTimestamp = timestamps
      $0.options.timestampValue = 1
    }
    pair.simulation.run(for: Self.roundTrip)
    sent = segments * 1000
    let answer = pair.simulation.trace.entries.last?.segment.options.timestampValue ?? 0
    peer.send([], 1, ack: 1) {
      $0.options.hasTimestamp = timestamps
      $0.options.timestampValue = 1
      $0.options.timestampEcho = answer
    }
    pair.simulation.trace.keepsNumbers = true
    guard let socket = pair.server.accept() else { fatalError("not accepted") }
    self.socket = socket
    socket.sendBuffer = sendBuffer
    pair.simulation.trace.clear()
    socket.send(sent)
    pair.simulation.run(for: Self.roundTrip)
    _ = take()
  }

  /// Sends more, which the trace then begins with.
  func send(_ count: Int) {
    pair.server.run()
    sent += socket.send(count)
    pair.simulation.run(for: .microseconds(10))
  }

  /// Acknowledges everything before `acknowledgement`, and reports blocks of offsets in the stream: the
  /// first segment is [0, 1000].
  func acknowledge(_ acknowledgement: Int, _ blocks: [Int]...) {
    let first = pair.peer.otherInitial + 1
    let latest = pair.simulation.trace.entries.last { $0.sender == "A" }
    if let value = latest?.segment.options.timestampValue, hasTimestamps { lastStamp = value }
    pair.peer.send([], 1, ack: acknowledgement) {
      $0.options.sackCount = blocks.count
      for (index, block) in blocks.enumerated() {
        $0.options.sackBlocks[index] = SACKBlock(
          left: first + UInt32(block[0]), right: first + UInt32(block[1]))
      }
      $0.options.hasTimestamp = self.hasTimestamps
      $0.options.timestampValue = 1
      $0.options.timestampEcho = self.echo ?? self.lastStamp
    }
  }

  /// Acknowledges everything that was sent.
  func acknowledgeAll() {
    acknowledge(Int(connection.sendNext - pair.peer.otherInitial))
  }

  /// The timestamp of the last segment that the engine has sent.
  private(set) var lastStamp: UInt32 = 0

  /// What the engine has sent since the last call.
  func take() -> [String] {
    let latest = pair.simulation.trace.entries.last { $0.sender == "A" }
    if let value = latest?.segment.options.timestampValue, hasTimestamps { lastStamp = value }
    return pair.peer.take()
  }

  func run(milliseconds: UInt64) { pair.simulation.run(for: .milliseconds(milliseconds)) }
  func runFor(seconds: UInt64) { pair.simulation.run(for: .seconds(seconds)) }

  var engine: SimulatedEngine { pair.simulation.a.engines[0] }
  var counters: EngineCounters { engine.engine.statistics().counters }

  /// Whether all bytes are acknowledged.
  var isDrained: Bool {
    pair.server.run()
    return socket.isDrained
  }

  /// The connection, the first of its engine.
  var connection: Connection { engine.engine.connections[ConnectionID(raw: 0)] }

  /// What the engine knows of losses.
  var recovery: LossRecovery? {
    guard connection.recovery != .none else { return nil }
    return engine.engine.recoveries[connection.recovery]
  }
}
