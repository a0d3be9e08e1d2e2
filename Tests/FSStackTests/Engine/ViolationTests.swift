import FSRing
import Testing

@testable import FSStack

/// Applications that break the rules of the shared memory: their channel is closed and its
/// connections are reset, and nobody else notices.
@Suite struct ViolationTests {
  /// Two applications with a connection each; the first breaks a rule.
  private struct Scene {
    let simulation = Simulation(engines: (1, 0))
    let culprit: TestApplication
    let bystander: TestApplication
    let peers: [ScriptedPeer]
    let culpritSocket: TestSocket
    let bystanderSocket: TestSocket

    init() {
      // A broken application sends what it likes.
      simulation.observers[0].rules.hasPattern = false
      let engine = simulation.a.engines[0]
      culprit = TestApplication(on: engine)
      bystander = TestApplication(on: engine)
      culprit.listen(1, port: 80, now: simulation.now)
      bystander.listen(2, port: 81, now: simulation.now)
      peers = [
        ScriptedPeer(simulation, to: 80), ScriptedPeer(simulation, to: 81),
      ]
      for peer in peers {
        peer.open()
        peer.send([], 1, count: 100, ack: 1)
      }
      guard let first = culprit.accept(), let second = bystander.accept() else {
        fatalError("not accepted")
      }
      (culpritSocket, bystanderSocket) = (first, second)
      simulation.run(for: .milliseconds(50))
      simulation.trace.clear()
    }
  }

  private struct Case: Sendable {
    var violation: ChannelViolation
    var act: @Sendable (Scene) -> Void

    /// A command with these fields.
    init(
      _ violation: ChannelViolation, _ kind: CommandKind, slot: UInt32 = 0,
      _ change: @escaping @Sendable (inout Command) -> Void = { _ in }
    ) {
      self.violation = violation
      act = { scene in
        var command = Command(kind, slot: slot)
        change(&command)
        scene.culprit.submit(command)
        scene.culprit.publish()
      }
    }

    init(_ violation: ChannelViolation, _ act: @escaping @Sendable (Scene) -> Void) {
      self.violation = violation
      self.act = act
    }
  }

  private static let cases: [Case] = [
    Case(.commandIndexImpossible) { $0.culprit.corrupt(\.commandTail, 1000) },
    Case(.commandIndexImpossible) { $0.culprit.corrupt(\.commandTail, .max) },
    Case(.eventIndexImpossible) { scene in
      scene.culprit.isStopped = true
      scene.culprit.corrupt(\.eventHead, 4_000_000)
      // Found when the ring seems full: the engine looks at the index only then.
      for index in 0..<80 { scene.peers[0].send([], 101 + index, count: 1, ack: 1) }
    },
    Case(.unknownCommand, .send) { $0.kind = 0 },
    Case(.unknownCommand, .send) { $0.kind = 255 },
    Case(.slotOutOfRange, .send, slot: 16),
    Case(.slotOutOfRange, .close, slot: .max),
    Case(.slotOutOfRange, .connect, slot: 0),
    Case(.slotOutOfRange, .connect, slot: 16),
    Case(.slotNotOpen, .send, slot: 1),
    Case(.slotNotOpen, .consume, slot: 9),
    Case(.slotNotOpen, .close, slot: 7),
    Case(.slotInUse) { scene in
      scene.culprit.connect(to: IPAddress(v4: 10, 0, 0, 2), port: 9)
      scene.culprit.submit(Command(.connect, slot: 8))
      scene.culprit.publish()
    },
    Case(.chunkOutOfRange, .send) {
      $0.chunk = 64
      $0.length = 1
    },
    Case(.chunkOutOfRange, .send) {
      $0.chunk = .max
      $0.length = 1
    },
    Case(.chunkRangeInvalid, .send) { $0.length = 0 },
    Case(.chunkRangeInvalid, .send) { $0.length = 4097 },
    Case(.chunkRangeInvalid, .send) { $0.length = .max },
    Case(.chunkRangeInvalid, .send) {
      $0.length = 2
      $0.offset = 4095
    },
    Case(.chunkRangeInvalid, .send) {
      $0.length = 1
      $0.offset = .max
    },
    Case(.chunkInUse) { scene in
      for _ in 0..<2 {
        var command = Command(.send, slot: 0)
        command.chunk = 5
        command.length = 10
        scene.culprit.submit(command)
      }
      scene.culprit.publish()
    },
    Case(.sendAfterShutdown) { scene in
      scene.culpritSocket.shutdown()
      var command = Command(.send, slot: 0)
      command.length = 10
      scene.culprit.submit(command)
      scene.culprit.publish()
    },
    Case(.consumedTooMuch, .consume) { $0.length = 101 },
    Case(.consumedTooMuch, .close) { $0.length = .max },
    // What was done to it another acceptor would meet.
    Case(.handBackInvalid) { scene in
      var command = Command(.shutdown, slot: 0)
      command.flags = CommandFlags.shutWrite
      scene.culprit.submit(command)
      scene.culprit.submit(Command(.handBack, slot: 0))
      scene.culprit.publish()
    },
    Case(.handBackInvalid) { scene in
      scene.culpritSocket.send(10)
      scene.culprit.submit(Command(.handBack, slot: 0))
      scene.culprit.publish()
    },
  ]

  @Test func closeOnlyThatChannel() {
    for (index, test) in Self.cases.enumerated() {
      let scene = Scene()
      test.act(scene)
      scene.simulation.run(for: .milliseconds(10))
      let found = scene.simulation.a.engines[0].violations
      #expect(found.count == 1 && found.first?.1 == test.violation, "case \(index)")
      #expect(found.first?.0 == scene.culprit.channel && scene.culprit.isReleased)
      let resets = scene.simulation.trace.entries.filter {
        $0.sender == "A" && $0.segment.flags.contains(.rst)
      }
      let others = resets.filter { $0.segment.sourcePort != 80 }
      #expect(!resets.isEmpty && others.isEmpty, "case \(index)")
      // The other application goes on.
      scene.simulation.trace.clear()
      scene.bystanderSocket.send(10)
      #expect(scene.bystanderSocket.read() == 100)
      scene.simulation.run(for: .milliseconds(10))
      #expect(scene.peers[1].take().first == "A> PSH ACK 1:11 ack 101", "case \(index)")
      #expect(scene.bystanderSocket.error == nil && scene.bystander.leftovers().count == 2)
    }
  }

  /// Random garbage in the command ring, many times over: it ends in a violation or in nothing.
  @Test func randomCommands() {
    var random = SplitMix64(seed: 7)
    for _ in 0..<300 {
      let scene = Scene()
      for _ in 0..<200 {
        var command = Command(.send, slot: UInt32.random(in: 0...18, using: &random))
        command.kind = UInt8.random(in: 0...12, using: &random)
        command.flags = UInt8(truncatingIfNeeded: random.next())
        command.chunk = UInt32.random(in: 0...66, using: &random)
        command.length = UInt32.random(
          in: 0...(1 << UInt32.random(in: 0...31, using: &random)), using: &random)
        command.offset = UInt16.random(in: 0...4097, using: &random)
        command.value = Int32(truncatingIfNeeded: random.next())
        command.remoteLow =
          Bool.random(using: &random) ? IPAddress(v4: 10, 0, 0, 2).low : random.next()
        command.remotePort = UInt16(truncatingIfNeeded: random.next())
        command.localPort = random.chance(0.5) ? 0 : UInt16(truncatingIfNeeded: random.next())
        scene.culprit.submit(command)
        scene.culprit.publish()
        if random.chance(0.2) { scene.simulation.run(for: .milliseconds(1)) }
      }
      scene.simulation.run(for: .seconds(700))
      #expect(scene.bystanderSocket.error == nil && scene.bystander.leftovers().count == 1)
    }
  }

  /// The process has gone: its connections are closed in good order, also where it was killed and had not said
  /// what it has read, or reset if it has broken the rules.
  @Test(arguments: [Engine.ApplicationEnd.exit, .killed, .expelled])
  func detach(_ end: Engine.ApplicationEnd) {
    let aborts = end == .expelled
    let scene = Scene()
    if end != .killed { scene.culpritSocket.read() }
    scene.culpritSocket.send(100)
    scene.simulation.run(for: .milliseconds(10))
    scene.simulation.trace.clear()
    let (channel, now) = (scene.culprit.channel, scene.simulation.now)
    scene.simulation.a.engines[0].control { $0.detachChannel(channel, end, now: now) }
    scene.simulation.run(for: .milliseconds(10))
    #expect(
      scene.peers[0].take() == [aborts ? "A> RST ACK 101 ack 101" : "A> FIN ACK 101 ack 101"])
    #expect(scene.culprit.isReleased == aborts)
    if !aborts {
      // The memory stays until what was sent is acknowledged.
      scene.peers[0].send([], 101, ack: 102)
      scene.peers[0].send(.fin, 101, ack: 102)
      #expect(scene.culprit.isReleased)
    }
    #expect(scene.bystanderSocket.error == nil)
    #expect(scene.simulation.a.engines[0].engine.statistics().channels == 1)
  }
}
