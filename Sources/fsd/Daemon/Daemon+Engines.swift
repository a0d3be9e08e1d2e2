import CLinux
import FSDevice
import FSStack
import Glibc

// Starting the engines.
extension Daemon {
  func startEngines() throws {
    let count = plan.processors.count
    let frameSize = devices.map { $0.sockets[0].frameSize }.max() ?? 2048
    let doorbells = try (0..<count).map { _ in try EngineDoorbell() }
    var rings: [[HandOverRing?]] = []
    for from in 0..<count {
      rings.append(
        try (0..<count).map { to in
          from == to ? nil : try HandOverRing(frameSize: frameSize)
        })
    }
    let secret = try Self.randomWords()
    for index in 0..<count {
      var configuration = EngineConfiguration(
        engineIndex: index, engineCount: count, secret: secret)
      configuration.congestionAlgorithm = options.congestion
      configuration.ecn = options.ecn
      configuration.softwareSteering = steering?.isSoftware ?? false
      configuration.receiveSideScaling = steering?.scaling
      configuration.activeSteering = steering?.active ?? ActiveSteering()
      let peers = EngineLoop.Peers(
        incoming: rings.compactMap { $0[index] }, outgoing: rings[index], doorbells: doorbells)
      let engine = try EngineThread(
        EngineThread.Setup(
          index: index, processor: plan.processors[index], policy: policy,
          configuration: configuration, interfaces: places(ofEngine: index),
          loopback: try LoopbackFrames(), peers: peers, outbox: outbox))
      engines.append(engine)
      teardown.add { engine.stop() }
    }
  }

  private var policy: IdlePolicy {
    IdlePolicy(
      placement: plan.placement,
      budgetNanoseconds: options.spinMicroseconds.map { $0 * 1000 }
        ?? IdlePolicy.budget(
          for: plan.placement,
          packetsGather: devices.allSatisfy { $0.interface.coalescedMicroseconds > 0 }))
  }

  private func places(ofEngine index: Int) -> [EngineThread.Setup.Interface] {
    devices.map { device in
      let queues = plan.queues(ofEngine: index, queueCount: device.sockets.count)
      return EngineThread.Setup.Interface(
        name: device.interface.name, macAddress: device.interface.macAddress,
        mtu: device.interface.mtu, isVirtual: device.interface.isVirtual,
        sockets: queues.map { device.sockets[$0] })
    }
  }

  private static func randomWords() throws -> (UInt64, UInt64, UInt64, UInt64) {
    var words: (UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0)
    let count = unsafe withUnsafeMutableBytes(of: &words) {
      unsafe getrandom($0.baseAddress, $0.count, 0)
    }
    guard count == MemoryLayout.size(ofValue: words) else { throw SystemError("getrandom") }
    return words
  }
}
