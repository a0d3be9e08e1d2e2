import FSRing
import Synchronization

@testable import FSStack

/// An engine with everything that surrounds one: an interface, applications, and peers that know the
/// numbers of their connections, so that a fuzzer's segments come near enough to the truth.
final class FuzzHost {
  var engine: Engine
  private(set) var now = Instant(nanoseconds: 1_000_000_000)
  private(set) var applications: [FuzzApplication] = []
  var peers: [FuzzPeer]
  let address = IPAddress(v4: 10, 0, 0, 1)
  let address6 = IPAddress(high: UInt64(0xfd00_0000_0000_0000).bigEndian, low: UInt64(1).bigEndian)
  private let frames: UnsafeMutableRawPointer
  private let transmit: TransmitQueue
  private static let frameSize = 2048
  private static let frameCount = 64
  /// The segments sent since the last call of `takeSent`.
  private var sent: [Segment] = []

  init() {
    var configuration = EngineConfiguration(
      engineIndex: 0, engineCount: 1, secret: (1, 2, 3, 4))
    configuration.maximumConnections = 8
    configuration.maximumTimeWait = 4
    configuration.maximumChannels = 4
    configuration.fewConnections = 0
    configuration.maximumReassembly = 16
    // Small tables also because each input makes an engine of its own: what is not used costs time, too.
    configuration.maximumHalfOpen = 8
    configuration.maximumTransmitRecords = 64
    configuration.maximumListeners = 4
    configuration.maximumAcceptors = 8
    configuration.maximumPaths = 8
    configuration.receiveBuffer = 60_000
    engine = Engine(configuration: configuration, now: now)
    frames = .allocate(byteCount: Self.frameCount * Self.frameSize, alignment: 64)
    frames.initializeMemory(
      as: UInt8.self, repeating: 0xa5, count: Self.frameCount * Self.frameSize)
    transmit = TransmitQueue(
      base: frames, frameSize: Self.frameSize,
      frames: (0..<Self.frameCount).map { UInt64($0 * Self.frameSize) })
    peers = (0..<5).map { FuzzPeer(port: 1000 + $0, localPort: 80, isIPv4: $0 != 4) }
    // The last plays the server of a connection that the application opens.
    peers.append(FuzzPeer(port: 2000, localPort: 40_000, isIPv4: true))
    _ = engine.addInterface(
      InterfaceConfiguration(
        macAddress: MACAddress(2, 0, 0, 0, 0, 1), mtu: 1500, isVirtual: false, transmit: transmit))
    engine.setLocalAddresses([(interface: 0, address: address), (interface: 0, address: address6)])
    for peer in [peers[0], peers[4]] {
      engine.setPath(
        PathConfiguration(
          destination: peer.address, interface: 0, source: peer.isIPv4 ? address : address6,
          nextHop: MACAddress(2, 0, 0, 0, 0, 2), mtu: 1500))
    }
  }

  deinit {
    transmit.deallocate()
    frames.deallocate()
  }

  /// Adds an application that listens on a port.
  func addApplication(port: UInt16) -> FuzzApplication {
    let application = FuzzApplication(in: &engine, listener: UInt32(port))
    engine.addListener(
      UInt32(port), address: .unspecified, port: port, ipv6Only: false, backlog: 4)
    _ = engine.joinListener(UInt32(port), channel: application.channel, remote: false, now: now)
    applications.append(application)
    return application
  }

  /// A frame arrives.
  func receive(_ frame: [UInt8]) {
    frame.withUnsafeBytes {
      engine.announce($0)
      _ = engine.receive($0, interface: 0, now: now)
    }
  }

  /// One round of the engine's loop, as the daemon runs it; what it sends must be well-formed.
  func burst() {
    engine.endSleep()
    _ = engine.serviceChannels(now: now)
    engine.advance(to: now)
    engine.finishBurst(now: now)
    takeFrames()
    engine.drainPathRequests { _ in }
    engine.drainViolations { channel, violation in
      for application in applications where application.channel == channel {
        application.violation = violation
      }
    }
    engine.drainWakeups { _ in }
    var released: [ChannelID] = []
    engine.drainReleasedChannels { released.append($0) }
    for channel in released {
      for application in applications where application.channel == channel {
        application.isReleased = true
      }
      engine.freeChannel(channel)
    }
    _ = engine.prepareSleep()
    for application in applications where !application.isViolated { application.takeEvents() }
  }

  private func takeFrames() {
    transmit.takePending { offset, length in
      let frame = UnsafeRawBufferPointer(start: frames + Int(offset), count: length)
      var segment = Segment()
      guard segment.parse(frame, acceptPartialChecksum: false) == .segment else {
        fatalError("the engine sent what it would not receive: \(Array(frame))")
      }
      check(!segment.options.malformed && length <= 1514)
      sent.append(segment)
      for index in peers.indices { peers[index].note(segment) }
      transmit.recycle(offset)
      return true
    }
  }

  /// What the engine has sent since the last call.
  func takeSent() -> [Segment] {
    defer { sent = [] }
    return sent
  }

  /// Lets time pass, timer by timer, in a bounded number of steps.
  func pass(_ span: Interval) {
    let end = now + span
    for _ in 0..<2000 {
      guard let deadline = engine.nextDeadline(), deadline <= end else { break }
      now = max(now, deadline)
      burst()
    }
    now = max(now, end)
    burst()
  }

  /// Ends everything; what is left afterwards is a leak. TCP_USER_TIMEOUT, up to 25 days, also holds for what a killed
  /// application has written.
  func end() {
    for application in applications {
      engine.removeListener(application.listener)
      engine.detachChannel(application.channel, .killed, now: now)
    }
    for _ in 0..<10 { pass(.seconds(240_000)) }
    let statistics = engine.statistics()
    for (state, count) in statistics.connections where state != .listen {
      check(count == 0, "\(count) connections in \(state)")
    }
    check(statistics.receiveChunksInUse == 0 && statistics.sendChunksInUse == 0)
    check(statistics.reassemblySegments == 0)
    check(statistics.freeTransmitFrames == [Self.frameCount])
    for application in applications { check(application.isReleased) }
  }
}

/// The other end of one flow.
struct FuzzPeer {
  let port: UInt16
  let localPort: UInt16
  let isIPv4: Bool
  /// The next number of the peer's stream that the engine expects, as it has said itself.
  var sequence = SequenceNumber(0x7fff_ff00)
  /// One past the highest number that the engine has sent.
  var acknowledgement = SequenceNumber(0)
  /// The newest timestamp value of the engine.
  var timestamp: UInt32 = 0

  var address: IPAddress {
    isIPv4
      ? IPAddress(v4: 10, 0, 0, 2)
      : IPAddress(high: UInt64(0xfd00_0000_0000_0000).bigEndian, low: UInt64(2).bigEndian)
  }

  /// Learns from a segment, if it is for this flow.
  mutating func note(_ segment: Segment) {
    guard segment.destinationPort == port, segment.sourcePort == localPort,
      segment.source.isIPv4 == isIPv4
    else { return }
    var end = segment.sequence + UInt32(segment.payloadLength)
    if segment.flags.contains(.syn) { end += 1 }
    if segment.flags.contains(.fin) { end += 1 }
    if segment.flags.contains(.syn) || end - acknowledgement > 0 { acknowledgement = end }
    if segment.flags.contains(.ack) { sequence = segment.acknowledgement }
    if segment.options.hasTimestamp { timestamp = segment.options.timestampValue }
  }

  /// A header of this flow, with the numbers that the engine expects.
  func header(to host: FuzzHost) -> OutgoingHeader {
    var header = OutgoingHeader()
    header.sourceMAC = MACAddress(2, 0, 0, 0, 0, 2)
    header.destinationMAC = MACAddress(2, 0, 0, 0, 0, 1)
    header.source = address
    header.destination = isIPv4 ? host.address : host.address6
    header.sourcePort = port
    header.destinationPort = localPort
    header.sequence = sequence
    header.acknowledgement = acknowledgement
    header.window = 65535
    return header
  }
}

extension OutgoingHeader {
  /// The whole frame with a payload.
  func fuzzFrame(_ payload: [UInt8] = []) -> [UInt8] {
    var frame = [UInt8](repeating: 0, count: length) + payload
    let sum = payload.withUnsafeBytes { Checksum.add($0, to: 0) }
    frame.withUnsafeMutableBytes { bytes in
      guard let base = bytes.baseAddress else { return }
      write(to: base, payloadLength: payload.count, payloadSum: sum)
    }
    return frame
  }
}
