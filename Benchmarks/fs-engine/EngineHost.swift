import CLinux
import FSRing
import FSStack

/// An engine with frames in memory and one interface, and what its calls have cost.
@safe
struct EngineHost: ~Copyable {
  var engine: Engine
  let address: IPAddress
  let macAddress: MACAddress
  private let transmit: TransmitQueue
  private let frames: UnsafeMutableRawPointer
  /// Time-stamp counts spent in the engine: receiving, commands, timers, sending and posting.
  private(set) var cycles: UInt64 = 0

  private var burst: [(UInt64, Int)] = []

  private static let frameSize = 2048
  private static let frameCount = 1024

  init(number: UInt8, connections: Int, ports: ClosedRange<UInt16> = 1024...65535, now: Instant) {
    var configuration = EngineConfiguration(
      engineIndex: 0, engineCount: 1, secret: (1, 2, 3, UInt64(number)))
    configuration.maximumConnections = connections
    configuration.activePorts = ports
    configuration.maximumTransmitRecords = max(262_144, connections)
    configuration.maximumOrphans = connections
    engine = Engine(configuration: configuration, now: now)
    address = IPAddress(v4: 10, 0, 0, number)
    macAddress = MACAddress(2, 0, 0, 0, 0, number)
    unsafe frames = .allocate(byteCount: Self.frameCount * Self.frameSize, alignment: 4096)
    unsafe transmit = TransmitQueue(
      base: frames, frameSize: Self.frameSize,
      frames: (0..<Self.frameCount).map { UInt64($0 * Self.frameSize) })
    _ = engine.addInterface(
      InterfaceConfiguration(
        macAddress: macAddress, mtu: 1500, isVirtual: false, transmit: transmit))
    engine.setLocalAddresses([(interface: 0, address: address)])
  }

  deinit {
    transmit.deallocate()
    unsafe frames.deallocate()
  }

  /// Lets the engine reach a peer on the same link.
  mutating func addPath(to peer: IPAddress, _ peerMAC: MACAddress) {
    engine.setPath(
      PathConfiguration(
        destination: peer, interface: 0, source: address, nextHop: peerMAC, mtu: 1500))
  }

  /// Takes up an application.
  mutating func attach(_ channel: ChannelEnd) -> ChannelID {
    let id = unsafe engine.attachChannel(memory: channel.memory, geometry: channel.geometry)
    guard let id else { fatalError("no room for a channel") }
    return id
  }

  /// Connections to a port go to a channel, besides others.
  mutating func listen(on port: UInt16, _ channel: ChannelID, now: Instant) {
    engine.addListener(
      UInt32(port), address: address, port: port, ipv6Only: false, backlog: 65535)
    guard engine.joinListener(UInt32(port), channel: channel, remote: false, now: now) else {
      fatalError("nobody may listen")
    }
  }

  /// Frames sent since the start.
  var framesSent: UInt64 { engine.statistics().counters.framesSent }

  /// Up to `limit` frames of this host arrive at another: one burst.
  mutating func deliver(to other: inout EngineHost, limit: Int, now: Instant) -> Int {
    let frames = unsafe self.frames
    burst.removeAll(keepingCapacity: true)
    transmit.takePending { offset, length in
      guard burst.count < limit else { return false }
      burst.append((offset, length))
      return true
    }
    let begin = fs_cycles()
    for (offset, length) in burst {
      unsafe other.engine.announce(
        UnsafeRawBufferPointer(start: frames + Int(offset), count: length))
    }
    for (offset, length) in burst {
      let frame = unsafe UnsafeRawBufferPointer(start: frames + Int(offset), count: length)
      _ = unsafe other.engine.receive(frame, interface: 0, now: now)
      transmit.recycle(offset)
    }
    other.cycles &+= fs_cycles() &- begin
    return burst.count
  }

  /// The rest of the engine's turn: commands, timers, output and events.
  mutating func finishTurn(now: Instant) {
    let begin = fs_cycles()
    _ = engine.serviceChannels(now: now)
    engine.advance(to: now)
    engine.finishBurst(now: now)
    cycles &+= fs_cycles() &- begin
    engine.drainWakeups { _ in }
  }
}
