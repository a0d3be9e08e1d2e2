import FSRing
import Foundation
import Testing

@testable import FSStack

/// How long a transfer takes on links of known capacity, delay and loss: the bound is what was
/// measured over ten seeds, and a little more. A change of the engine that makes it slower shows
/// here, and one that makes it faster lowers the bound.
///
/// Part of `make simulate`: a debug build takes minutes for it.
@Suite(.enabled(if: Build.isOptimized, "a debug build")) struct ReferenceLinkTests {
  /// A link, and the bytes that go over it.
  struct Scene: Sendable, CustomTestStringConvertible {
    var name: String
    var conditions: LinkConditions
    var bytes: Int
    /// Longest mean and longest single completion time over the seeds, milliseconds.
    var cubic: (mean: UInt64, longest: UInt64)
    var newReno: (mean: UInt64, longest: UInt64)

    var testDescription: String { name }
  }

  private static func link(
    rate megabits: UInt64?, roundTrip: Interval, loss: Double = 0, queue: UInt64 = 64 * 1024
  ) -> LinkConditions {
    var conditions = LinkConditions()
    conditions.latency = Interval(nanoseconds: roundTrip.nanoseconds / 2)
    conditions.rate = megabits.map { $0 * 125_000 }
    conditions.loss = loss
    conditions.queueLimit = queue
    return conditions
  }

  private static var losingAcknowledgements: LinkConditions {
    var conditions = link(rate: 10, roundTrip: .milliseconds(20))
    conditions.acknowledgementLoss = 0.3
    return conditions
  }

  static let scenes: [Scene] = [
    Scene(
      name: "10 Mbit/s, 20 ms", conditions: link(rate: 10, roundTrip: .milliseconds(20)),
      bytes: 1_000_000, cubic: (890, 890), newReno: (890, 890)),
    Scene(
      name: "100 Mbit/s, 5 ms, 0.1 % loss",
      conditions: link(rate: 100, roundTrip: .milliseconds(5), loss: 0.001), bytes: 2_000_000,
      cubic: (210, 310), newReno: (220, 310)),
    Scene(
      name: "1 % loss, 20 ms",
      conditions: link(rate: nil, roundTrip: .milliseconds(20), loss: 0.01), bytes: 1_000_000,
      cubic: (920, 1450), newReno: (1300, 2000)),
    Scene(
      name: "10 Mbit/s, 20 ms, 30 % of acknowledgements lost",
      conditions: losingAcknowledgements, bytes: 1_000_000, cubic: (890, 900), newReno: (890, 900)),
    Scene(
      name: "10 Mbit/s, 20 ms, 400 ms of queue",
      conditions: link(rate: 10, roundTrip: .milliseconds(20), queue: 500_000), bytes: 2_000_000,
      cubic: (1730, 1730), newReno: (1730, 1730)),
  ]

  /// From connect(2) until the last byte has been read.
  private func completion(
    _ scene: Scene, _ algorithm: CongestionAlgorithm, seed: UInt64
  ) -> Interval? {
    var options = SimulatedHost.Options()
    options.congestion = algorithm
    options.receiveBuffer = 2 << 20
    options.maximumReassembly = 4096
    let simulation = Simulation(scene.conditions, seed: seed, options: options)
    let geometry = ChannelGeometry(
      commandCapacity: 1024, eventCapacity: 1024, receiveChunkCount: 4096, sendChunkCount: 1024,
      slotCount: 16)
    let server = TestApplication(on: simulation.a.engines[0], geometry: geometry)
    let client = TestApplication(on: simulation.b.engines[0], geometry: geometry)
    server.listen(port: 80, now: simulation.now)
    let sender = client.connect(to: simulation.a.address, port: 80)
    sender.sendBuffer = 2 << 20
    var receiver: TestSocket?
    client.onWake = {
      if sender.isConnected { sender.send(scene.bytes - sender.bytesSent) }
    }
    server.onWake = {
      receiver = receiver ?? server.accept()
      receiver?.read()
    }
    let isComplete = simulation.run(within: .seconds(60)) { receiver?.bytesReceived == scene.bytes }
    let time = simulation.now - simulation.start
    client.onWake = nil
    server.onWake = nil
    simulation.end()
    return isComplete && receiver?.firstWrongByte == nil ? time : nil
  }

  @Test(arguments: scenes, [CongestionAlgorithm.cubic, .newReno])
  func completesInTime(_ scene: Scene, _ algorithm: CongestionAlgorithm) throws {
    let bound = algorithm == .cubic ? scene.cubic : scene.newReno
    let times = try (UInt64(1)...10).map { (seed: UInt64) -> UInt64 in
      let time = try #require(completion(scene, algorithm, seed: seed))
      return time.nanoseconds / 1_000_000
    }
    let mean = times.reduce(0, +) / UInt64(times.count)
    let goodput = UInt64(scene.bytes) * 8 / max(mean, 1)
    let text = "\(scene.name), \(algorithm): mean \(mean) ms, \(goodput) kbit/s, \(times.sorted())"
    #expect(mean <= bound.mean, "\(text)")
    #expect(times.allSatisfy { $0 <= bound.longest }, "\(text)")
  }
}
