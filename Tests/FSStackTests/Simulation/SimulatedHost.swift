import FSRing

@testable import FSStack

/// Watches what an engine touches while its own code runs: `make scaling`.
protocol EngineBorder: AnyObject {
  /// What is made while `body` runs is memory of an engine's core. Returns its result, and the core's number.
  func make<Result>(_ body: () -> Result) -> (Result, core: Int)
  /// What `body` makes is memory of a core.
  func make<Result>(on core: Int, _ body: () -> Result) -> Result
  /// The code of the engine on a core begins, and ends.
  func enter(_ core: Int)
  func leave(_ core: Int)
}

/// An engine with its owner's part: frames, channels, mailbox, sleep.
final class SimulatedEngine {
  var engine: Engine
  let transmit: TransmitQueue
  private let frames: UnsafeMutableRawPointer
  static let frameSize = 2048
  let frameCount: Int
  private var ownFrames: (queue: TransmitQueue, memory: UnsafeMutableRawPointer)?

  /// Frames that have arrived; those of other engines' queues apart.
  var inbox: [[UInt8]] = []
  var handedOver: [[UInt8]] = []
  var applications: [ChannelID: TestApplication] = [:]
  var violations: [(ChannelID, ChannelViolation)] = []
  /// The control plane has asked something of it since the last burst.
  var isControlled = false
  var invariants = Invariants()
  /// It has been woken: a frame, the doorbell, the mailbox or a timer.
  var isDue = true
  /// Times that the doorbell was rung.
  var doorbells = 0
  /// Whether anyone watches, and this engine's number there.
  nonisolated(unsafe) static var border: (any EngineBorder)?
  var core = -1

  /// Runs code of the engine.
  @inline(__always)
  func inside<Result>(_ body: (inout Engine) -> Result) -> Result {
    guard let border = Self.border else { return body(&engine) }
    border.enter(core)
    defer { border.leave(core) }
    return body(&engine)
  }

  /// Makes something that belongs to the engine's core.
  func make<Result>(_ body: () -> Result) -> Result {
    guard let border = Self.border else { return body() }
    return border.make(on: core, body)
  }

  init(_ configuration: EngineConfiguration, frameCount: Int, now: Instant) {
    self.frameCount = frameCount
    engine = Engine(configuration: configuration, now: now)
    frames = .allocate(byteCount: frameCount * Self.frameSize, alignment: 64)
    transmit = TransmitQueue(
      base: frames, frameSize: Self.frameSize,
      frames: (0..<frameCount).map { UInt64($0 * Self.frameSize) })
  }

  deinit {
    transmit.deallocate()
    frames.deallocate()
    ownFrames?.queue.deallocate()
    ownFrames?.memory.deallocate()
  }

  /// Lets connections of the engine reach each other.
  func addLoopback(mtu: Int, frameCount: Int = 64) {
    let size = mtu + 18
    let memory = UnsafeMutableRawPointer.allocate(byteCount: size * frameCount, alignment: 64)
    let queue = TransmitQueue(
      base: memory, frameSize: size, frames: (0..<frameCount).map { UInt64($0 * size) })
    ownFrames = (queue, memory)
    _ = control { $0.addLoopback(mtu: mtu, transmit: queue) }
  }

  /// What the control plane asks, through the mailbox.
  func control<Result>(_ body: (inout Engine) -> Result) -> Result {
    isDue = true
    isControlled = true
    return body(&engine)
  }

  /// Takes the frames that the engine has committed, and makes their memory look used.
  func takeFrames() -> [[UInt8]] {
    var taken: [[UInt8]] = []
    var offsets: [UInt64] = []
    transmit.takePending { offset, length in
      taken.append(
        Array(UnsafeRawBufferPointer(start: frames + Int(offset), count: length)))
      offsets.append(offset)
      return true
    }
    for offset in offsets {
      (frames + Int(offset)).initializeMemory(as: UInt8.self, repeating: 0xa5, count: 128)
      transmit.recycle(offset)
    }
    return taken
  }
}

/// A host with one interface, and an engine for each of its cores.
final class SimulatedHost {
  let name: String
  let macAddress: MACAddress
  /// The same, as it stands in a frame.
  let macBytes: [UInt8]
  let address: IPAddress
  private(set) var engines: [SimulatedEngine] = []
  /// The queue, and so the engine, on which a frame arrives; nil if it is lost before.
  var queue: ([UInt8]) -> Int? = { _ in 0 }
  /// Destinations that its engines have asked the control plane for.
  var pathRequests: [IPAddress] = []
  /// Frames for a host that has no engine: a `ScriptedPeer` reads them.
  var received: [[UInt8]] = []

  init(name: String, number: UInt8, isIPv4: Bool, engineCount: Int, now: Instant, options: Options)
  {
    self.name = name
    macAddress = MACAddress(2, 0, 0, 0, 0, number)
    macBytes = [2, 0, 0, 0, 0, number]
    address =
      isIPv4
      ? IPAddress(v4: 10, 0, 0, number)
      : IPAddress(high: UInt64(0xfd00_0000_0000_0000).bigEndian, low: UInt64(number).bigEndian)
    for index in 0..<engineCount {
      var configuration = EngineConfiguration(
        engineIndex: index, engineCount: engineCount, secret: (1, 2, 3, UInt64(number)))
      configuration.maximumConnections = options.maximumConnections
      configuration.maximumTimeWait = options.maximumTimeWait
      configuration.maximumHalfOpen = options.maximumHalfOpen
      configuration.maximumChannels = 8
      configuration.fewConnections = 0
      configuration.maximumReassembly = options.maximumReassembly
      configuration.maximumOrphans = options.maximumOrphans
      configuration.maximumTransmitRecords = options.maximumTransmitRecords
      configuration.receiveBuffer = options.receiveBuffer
      configuration.softwareSteering = true
      configuration.receiveSideScaling = engineCount > 1 ? options.receiveSideScaling : nil
      configuration.activeSteering = options.activeSteering
      configuration.congestionAlgorithm = options.congestion
      configuration.ecn = options.ecn
      let engine = Self.makeEngine(configuration, frameCount: options.transmitFrames, now: now)
      let interface = InterfaceConfiguration(
        macAddress: macAddress, mtu: options.mtu, isVirtual: false, transmit: engine.transmit)
      engine.make {
        _ = engine.engine.addInterface(interface)
        engine.engine.setLocalAddresses([(interface: 0, address: address)])
      }
      engines.append(engine)
    }
  }

  private static func makeEngine(
    _ configuration: EngineConfiguration, frameCount: Int, now: Instant
  ) -> SimulatedEngine {
    let make = { SimulatedEngine(configuration, frameCount: frameCount, now: now) }
    guard let border = SimulatedEngine.border else { return make() }
    let (engine, core) = border.make(make)
    engine.core = core
    return engine
  }

  /// What differs between tests.
  struct Options: Sendable {
    var maximumConnections = 64
    var maximumTimeWait = 64
    var maximumHalfOpen = 1024
    var receiveBuffer: UInt32 = 1 << 20
    var maximumReassembly = 256
    var maximumOrphans = 64
    var mtu = 1500
    var congestion = CongestionAlgorithm.cubic
    var ecn = ECNPolicy.accept
    /// Frames that one engine may send in one burst.
    var transmitFrames = 256
    var maximumTransmitRecords = 4096
    /// How the card of hosts with several engines spreads passive flows; nil: it is not known.
    var receiveSideScaling: ReceiveSideScaling?
    var activeSteering = ActiveSteering()
  }
}
