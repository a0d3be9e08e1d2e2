import FSRing
import Foundation
import Testing

@testable import FSStack

/// Random traffic over random links: whatever the link does, an application reads exactly what the
/// other has sent, and in the end nothing is left in the engines.
@Suite struct SweepTests {
  /// Everything that differs between runs, all of it from the seed.
  private struct Run {
    let simulation: Simulation
    /// One for each engine of A.
    let servers: [TestApplication]
    let client: TestApplication
    var random: SplitMix64
    var traffic: [RandomTraffic] = []
    let givesUp: Bool

    init(seed: UInt64, givesUp: Bool) {
      random = SplitMix64(seed: seed)
      self.givesUp = givesUp
      var options = SimulatedHost.Options()
      options.receiveBuffer = UInt32.random(in: 2048...200_000, using: &random)
      options.mtu = Int.random(in: 576...1500, using: &random)
      let isIPv4 = options.mtu < 1280 || Bool.random(using: &random)
      let engines = random.chance(0.3) ? Int.random(in: 2...3, using: &random) : 1
      simulation = Simulation(
        Self.conditions(&random), seed: seed, isIPv4: isIPv4, engines: (engines, engines),
        options: options)
      // Frames arrive anywhere, as with veth.
      for host in simulation.hosts { host.queue = { Int($0[$0.count - 1]) } }
      var servers: [TestApplication] = []
      for engine in simulation.a.engines {
        servers.append(TestApplication(on: engine, geometry: Self.geometry(&random)))
      }
      self.servers = servers
      client = TestApplication(on: simulation.b.engines[0], geometry: Self.geometry(&random))
      for application in servers + [client] where random.chance(0.5) {
        application.latency = .microseconds(UInt64.random(in: 1...2000, using: &random))
      }
    }

    private static func conditions(_ random: inout SplitMix64) -> LinkConditions {
      var conditions = LinkConditions()
      conditions.latency = .microseconds(UInt64.random(in: 5...20_000, using: &random))
      if random.chance(0.5) {
        conditions.jitter = .microseconds(UInt64.random(in: 1...10_000, using: &random))
      }
      if random.chance(0.8) { conditions.loss = Double.random(in: 0...0.15, using: &random) }
      if random.chance(0.5) { conditions.duplication = Double.random(in: 0...0.1, using: &random) }
      if random.chance(0.5) { conditions.reordering = Double.random(in: 0...0.3, using: &random) }
      if random.chance(0.3) { conditions.corruption = Double.random(in: 0...0.05, using: &random) }
      if random.chance(0.3) {
        conditions.rate = UInt64.random(in: 100_000...20_000_000, using: &random)
        conditions.queueLimit = UInt64.random(in: 3000...100_000, using: &random)
      }
      return conditions
    }

    private static func geometry(_ random: inout SplitMix64) -> ChannelGeometry {
      ChannelGeometry(
        commandCapacity: 64, eventCapacity: 64,
        receiveChunkCount: UInt32.random(in: 8...200, using: &random),
        sendChunkCount: UInt32.random(in: 1...64, using: &random), slotCount: 16)
    }

    /// Opens some connections, each to a listener of its own, in both directions.
    mutating func begin() {
      let (simulation, random, givesUp) = (self.simulation, self.random, self.givesUp)
      var generator = random
      let count = Int.random(in: 1...3, using: &generator)
      let sizes = (0..<2 * count).map { _ in
        Int.random(in: 0...(1 << Int.random(in: 0...16, using: &generator)), using: &generator)
      }
      let group = Group()
      func start(_ socket: TestSocket, _ size: Int) {
        let traffic = RandomTraffic(
          socket, bytesToSend: size, simulation: simulation, seed: generator.next(),
          givesUp: givesUp && generator.chance(0.5))
        group.traffic.append(traffic)
        traffic.step()
      }
      for index in 0..<count {
        for server in servers {
          server.listen(
            UInt32(index), port: UInt16(80 + index), isIPv4: simulation.a.address.isIPv4,
            now: simulation.now)
        }
      }
      for application in servers + [client] {
        application.onWake = { [unowned application] in
          while let socket = application.accept() {
            start(socket, sizes[count + Int(socket.port) - 80])
          }
          for traffic in group.traffic where traffic.socket.application === application {
            traffic.step()
          }
        }
      }
      for index in 0..<count {
        start(
          client.connect(to: simulation.a.address, port: UInt16(80 + index)), sizes[index])
      }
      self.group = group
      expected = 2 * count
    }

    final class Group {
      var traffic: [RandomTraffic] = []
    }
    var group = Group()
    var expected = 0

    /// A while of trouble, then a good link and applications that do not dawdle.
    mutating func finish() -> [String] {
      let group = self.group
      let expected = self.expected
      func isOver() -> Bool {
        group.traffic.count == expected && group.traffic.allSatisfy(\.isOver)
      }
      simulation.run(within: .seconds(20), until: isOver)
      for index in 0..<2 { simulation.links[index].conditions = .perfect }
      for traffic in group.traffic { traffic.isHurried = true }
      var problems: [String] = []
      let isComplete = simulation.run(within: .seconds(400), until: isOver)
      if !isComplete, !givesUp {
        problems.append("not complete: " + group.traffic.map(\.state).joined(separator: "; "))
      }
      // Who waits for a peer that has vanished gives up now.
      for traffic in group.traffic { traffic.socket.close(reset: true) }
      simulation.run(for: .seconds(400))
      if !givesUp { problems += mismatches() }
      problems += group.traffic.compactMap { traffic in
        traffic.socket.firstWrongByte.map { "wrong byte at \($0)" }
      }
      problems += simulation.leftovers()
      simulation.end()
      return problems
    }

    private func mismatches() -> [String] {
      var problems: [String] = []
      for sender in group.traffic {
        let receivers = group.traffic.filter {
          $0.socket.port == sender.socket.port && $0.socket.isServer != sender.socket.isServer
        }
        guard let receiver = receivers.first, receivers.count == 1 else {
          problems.append("port \(sender.socket.port): \(receivers.count) partners")
          continue
        }
        if receiver.socket.bytesReceived != sender.bytesToSend || sender.socket.error != nil {
          problems.append("\(sender.state) -> \(receiver.state)")
        }
      }
      return problems
    }
  }

  /// More in a long run: FS_SEEDS=1000-20000.
  private static var seeds: ClosedRange<UInt64> {
    let bounds = ProcessInfo.processInfo.environment["FS_SEEDS"]?.split(separator: "-")
      .compactMap { UInt64($0) }
    guard let bounds, bounds.count == 2, bounds[0] <= bounds[1] else { return 1...150 }
    return bounds[0]...bounds[1]
  }

  @Test(arguments: [false, true])
  func everythingArrives(givesUp: Bool) {
    var failures = 0
    for seed in Self.seeds {
      var run = Run(seed: seed, givesUp: givesUp)
      run.begin()
      let problems = run.finish()
      if !problems.isEmpty {
        Issue.record("seed \(seed), givesUp \(givesUp): \(problems)\(run.simulation.trace)")
        failures += 1
        // The first ones tell enough.
        if failures == 3 { return }
      }
    }
  }
}

extension RandomTraffic {
  /// How far it is.
  fileprivate var state: String {
    let kind = socket.isServer ? "server" : "client"
    return "\(kind) \(socket.port): \(socket.bytesSent) of \(bytesToSend) sent, "
      + "\(socket.bytesAcknowledged) acknowledged, \(socket.bytesReceived) read, "
      + "\(socket.unread) unread, finished \(socket.peerFinished), error \(socket.error ?? 0)"
  }
}
