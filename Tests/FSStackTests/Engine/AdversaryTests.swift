import Foundation
import Testing

@testable import FSStack

/// A peer that sends whatever comes to its mind, near enough to the truth to reach every branch.
@Suite struct AdversaryTests {
  private static var seeds: ClosedRange<UInt64> {
    let bounds = ProcessInfo.processInfo.environment["FS_SEEDS"]?.split(separator: "-")
      .compactMap { UInt64($0) }
    guard let bounds, bounds.count == 2, bounds[0] <= bounds[1] else { return 1...40 }
    return bounds[0]...bounds[1]
  }

  /// One connection or listener under fire, with an application that acts at random, too.
  private struct Scene {
    let pair: ScriptedPair
    var random: SplitMix64
    var sockets: [TestSocket] = []
    var peers: [ScriptedPeer] = []

    init(seed: UInt64) {
      random = SplitMix64(seed: seed)
      var options = SimulatedHost.Options()
      options.receiveBuffer = UInt32.random(in: 1000...100_000, using: &random)
      pair = ScriptedPair(options: options)
      pair.simulation.observers[0].rules.isPeerHonest = false
      peers = (0..<3).map { ScriptedPeer(pair.simulation, port: 1000 + UInt16($0)) }
      for peer in peers where random.chance(0.7) { peer.open() }
      pair.simulation.trace.keepsNumbers = random.chance(0.5)
      let connecting = pair.server.connect(
        to: pair.simulation.b.address, port: 2000, localPort: 40_000)
      sockets.append(connecting)
      peers.append(ScriptedPeer(pair.simulation, port: 2000, to: 40_000))
    }

    /// A number at an edge of something.
    private mutating func number() -> Int {
      let edges = [0, 1, 2, 101, 537, 1461, 2921, 65_535, 65_536, 100_000, 1 << 31]
      let edge = edges.randomElement(using: &random) ?? 0
      return edge + Int.random(in: -3...3, using: &random)
    }

    /// Sends one segment; returns what is wrong with the answer.
    mutating func fire() -> String? {
      let peer = peers.randomElement(using: &random) ?? peers[0]
      var flags: TCPFlags = random.chance(0.8) ? .ack : []
      if random.chance(0.15) { flags.insert(.syn) }
      if random.chance(0.1) { flags.insert(.fin) }
      if random.chance(0.1) { flags.insert(.rst) }
      if random.chance(0.1) { flags.formUnion([.psh, .urg, .ece]) }
      let acknowledgement = number()
      peer.window = [0, 1, 500, 65_535].randomElement(using: &random) ?? 0
      let (before, sentAt) = (pair.simulation.trace.entries.count, pair.simulation.now)
      let (stamp, echo) = (random.next(), random.next())
      let hasTimestamp = random.chance(0.3)
      let blocks = random.chance(0.2) ? Int.random(in: 1...3, using: &random) : 0
      let (left, right) = (number(), number())
      let otherInitial = peer.otherInitial
      peer.send(
        flags, number(), count: random.chance(0.5) ? Int.random(in: 0...1460, using: &random) : 0,
        ack: flags.contains(.ack) ? acknowledgement : nil
      ) { header in
        header.options.hasTimestamp = hasTimestamp
        header.options.timestampValue = UInt32(truncatingIfNeeded: stamp)
        header.options.timestampEcho = UInt32(truncatingIfNeeded: echo)
        header.options.sackCount = blocks
        for index in 0..<blocks {
          header.options.sackBlocks[index] = SACKBlock(
            left: otherInitial + UInt32(truncatingIfNeeded: left),
            right: otherInitial + UInt32(truncatingIfNeeded: right))
        }
      }
      let answers = pair.simulation.trace.entries.dropFirst(before + 1).filter {
        // What is sent at the same moment is the application's doing.
        $0.time > sentAt && $0.segment.sourcePort == peer.otherPort
          && $0.segment.destinationPort == peer.port
      }
      if flags.contains(.rst), answers.contains(where: { $0.segment.flags.contains(.rst) }) {
        return "RST answered with RST"
      }
      return nil
    }

    /// The application does something.
    mutating func act() {
      while let socket = pair.server.accept() { sockets.append(socket) }
      guard let socket = sockets.randomElement(using: &random) else { return }
      switch Int.random(in: 0..<10, using: &random) {
      case 0...2: socket.send(Int.random(in: 1...5000, using: &random))
      case 3...6: socket.read(Int.random(in: 1...5000, using: &random))
      case 7: if random.chance(0.2) { socket.shutdown() }
      case 8: if random.chance(0.1) { socket.close(reset: random.chance(0.5)) }
      default:
        if socket.isClosed { return }
        let names = [1, 3, 4, 12, 18]
        socket.setOption(
          level: 6, name: names.randomElement(using: &random) ?? 1,
          Int32.random(in: 0...1000, using: &random))
      }
    }
  }

  @Test func survives() {
    for seed in Self.seeds {
      var scene = Scene(seed: seed)
      for _ in 0..<300 {
        if let problem = scene.fire() {
          Issue.record("seed \(seed): \(problem)\(scene.pair.simulation.trace)")
          return
        }
        if scene.random.chance(0.3) { scene.act() }
        if scene.random.chance(0.05) {
          let pause = UInt64.random(in: 1...3000, using: &scene.random)
          scene.pair.simulation.run(for: .milliseconds(pause))
        }
      }
      while let socket = scene.pair.server.accept() { scene.sockets.append(socket) }
      for socket in scene.sockets { socket.close(reset: true) }
      scene.pair.simulation.run(for: .seconds(3000))
      let left = scene.pair.simulation.leftovers()
      if !left.isEmpty {
        Issue.record("seed \(seed): \(left)\(scene.pair.simulation.trace)")
        return
      }
    }
  }
}
