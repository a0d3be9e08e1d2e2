import FSRing

@testable import FSDevice
@testable import FSStack
@testable import fsd

/// An engine that does nothing and remembers what it was asked.
final class ImitationEngine: EngineControl {
  let index: Int
  let processor: Int
  var listeners: [UInt32: ListenerDescription] = [:]
  var acceptors: [UInt32: [ChannelID]] = [:]
  var remoteAcceptors = 0
  var channels: [ChannelID: Channel] = [:]
  var detached: [(channel: ChannelID, end: Engine.ApplicationEnd)] = []
  var connections: [UInt16: Int] = [:]
  var paths: [IPAddress: PathConfiguration] = [:]
  var addresses: [LocalAddress] = []
  var interfaces: [Int: (MACAddress, Int)] = [:]
  var routeGeneration = 1
  var hasRoom = true
  private var nextChannel: UInt32 = 0

  init(index: Int, processor: Int) {
    self.index = index
    self.processor = processor
  }

  func attach(_ channel: Channel) -> ChannelID? {
    guard hasRoom else { return nil }
    let id = ChannelID(raw: nextChannel)
    nextChannel += 1
    channels[id] = channel
    return id
  }

  func detach(_ channel: ChannelID, _ end: Engine.ApplicationEnd) {
    channels[channel] = nil
    detached.append((channel, end))
  }

  var freed: [ChannelID] = []
  func free(_ channel: ChannelID) { freed.append(channel) }

  /// Connections that can be exported, and their channels.
  var exportable: [FlowAddress: ExportedConnection] = [:]
  var catchUps = 0

  func catchUp(_ channel: ChannelID) { catchUps += 1 }

  func isClaimed(_ flow: FlowAddress, by claims: [Engine.ExportClaim]) -> Bool {
    exportable[flow].map { found in claims.contains { isOn($0, found) } } ?? false
  }

  func exportConnection(
    _ flow: FlowAddress, _ claims: [Engine.ExportClaim]
  ) -> Result<ExportedConnection, Engine.ExportRefusal> {
    guard isClaimed(flow, by: claims), let found = exportable[flow] else {
      return .failure(.unknown)
    }
    exportable[flow] = nil
    return .success(found)
  }

  func exportableConnections(_ claim: Engine.ExportClaim) -> [FlowAddress] {
    exportable.values.filter { isOn(claim, $0) }.map(\.address)
  }

  private func isOn(_ claim: Engine.ExportClaim, _ connection: ExportedConnection) -> Bool {
    claim.channel == connection.channel && connection.ownedSince <= claim.before
  }

  var listenerRoom = Int.max
  var acceptorRoom = Int.max

  func addListener(_ listener: ListenerDescription) -> Bool {
    guard listeners.count < listenerRoom else { return false }
    listeners[listener.number] = listener
    return true
  }
  func updateListener(_ listener: ListenerDescription) { listeners[listener.number] = listener }
  func removeListener(_ number: UInt32) { listeners[number] = nil }

  func join(_ number: UInt32, channel: ChannelID, remote: Bool) -> Bool {
    guard listeners[number] != nil, channels[channel] != nil,
      acceptors.values.reduce(0, { $0 + $1.count }) < acceptorRoom
    else { return false }
    acceptors[number, default: []].append(channel)
    if remote { remoteAcceptors += 1 }
    return true
  }

  func leave(_ number: UInt32, channel: ChannelID) {
    acceptors[number]?.removeAll { $0 == channel }
  }

  func connectionCount(onPort port: UInt16) -> Int { connections[port] ?? 0 }
  func setLocalAddresses(_ addresses: [LocalAddress]) { self.addresses = addresses }

  func updateInterface(_ interface: Int, macAddress: MACAddress, mtu: Int) {
    interfaces[interface] = (macAddress, mtu)
  }

  func setPaths(_ paths: [PathConfiguration]) {
    for path in paths { self.paths[path.destination] = path }
  }

  func removePaths(_ destinations: [IPAddress]) {
    for destination in destinations { paths[destination] = nil }
  }

  func advanceRouteGeneration() { routeGeneration += 1 }

  func snapshot() -> EngineSnapshot {
    EngineSnapshot(
      index: index, processor: processor,
      engine: EngineStatistics(
        counters: EngineCounters(), drops: [:], connections: [:], channels: channels.count,
        receiveChunksInUse: 0, sendChunksInUse: 0, reassemblySegments: 0, freeTransmitFrames: []),
      loop: LoopCounters(), sockets: [])
  }
}

/// The XDP programs' port maps, as a dictionary.
final class ImitationSteering: PortSteering {
  var ports: [SteeredPorts.Key: PortTreatment] = [:]
  var kernelPorts: Set<UInt16> = []
  var room = Int.max

  struct Full: Error {}

  func setPort(_ address: IPAddress, _ port: UInt16, _ treatment: PortTreatment) throws {
    let key = SteeredPorts.Key(address: address, port: port)
    guard ports[key] != nil || ports.count < room else { throw Full() }
    ports[key] = treatment
  }

  func removePort(_ address: IPAddress, _ port: UInt16) {
    ports[SteeredPorts.Key(address: address, port: port)] = nil
  }

  func kernelHasFlows(onPorts ports: ClosedRange<UInt16>) -> Bool {
    kernelPorts.contains { ports.contains($0) }
  }

  /// The treatment of a port, by text.
  subscript(_ address: String, _ port: UInt16) -> PortTreatment? {
    IPAddress(address).flatMap { ports[SteeredPorts.Key(address: $0, port: port)] }
  }
}

/// A host with one interface, index 7, of 10.0.0.1/24 and fd00::1/64, and a default route by
/// 10.0.0.254.
final class ImitationNetwork: NetworkView {
  static let interfaceMAC = MACAddress(2, 0, 0, 0, 0, 1)
  static let gatewayMAC = MACAddress(2, 0, 0, 0, 0, 254)

  var links: [Int: Link] = [
    7: Link(
      index: 7, name: "test0", isUp: true, mtu: 1500, macAddress: interfaceMAC, kind: "veth")
  ]
  var addressesByLink = [7: [IPAddress(v4: 10, 0, 0, 1)]]
  var routes: [IPAddress: Route] = [:]
  var neighbours: [IPAddress: MACAddress] = [IPAddress(v4: 10, 0, 0, 254): gatewayMAC]
  var resolutions = 0

  func addresses(on interface: Int) -> [IPAddress] { addressesByLink[interface] ?? [] }

  func route(to destination: IPAddress, from source: IPAddress?) -> Route? {
    routes[destination]
  }

  func resolveNeighbour(interface: Int, address: IPAddress) -> MACAddress? {
    resolutions += 1
    return neighbours[address]
  }

  static var interface: ManagedInterface {
    ManagedInterface(
      number: 0, name: "test0", index: 7, macAddress: interfaceMAC, mtu: 1500)
  }
}
