import FSDevice
import FSStack
import Foundation
import Laboratory

/// The interface from whose first queue the load goes out, and the way to the server.
///
/// As for fsd, the kernel keeps ARP, routes and addresses; the XDP program takes the answers to the
/// generator's ports before the kernel, which knows no such connections, can reset them.
final class ClientDevice {
  /// Source ports of the load: nobody else in its namespace connects.
  static let ports: ClosedRange<UInt16> = 16384...65535

  let interface: NetworkInterface
  let socket: XDPSocket
  /// Source addresses.
  let addresses: [IPAddress]
  let path: PathConfiguration
  private let program: XDPProgram

  init(_ name: String, destination: IPAddress) throws {
    interface = try NetworkInterface(named: name)
    guard interface.queueCount == 1 else {
      throw LaboratoryError(
        "\(name) has \(interface.queueCount) queues; the load needs exactly one")
    }
    let network = try NetworkMirror()
    addresses = network.addresses(on: interface.index).filter {
      $0.isIPv4 == destination.isIPv4 && !$0.isLinkLocal
    }
    path = try Self.path(to: destination, interface, network)
    program = try XDPProgram(interface: interface)
    socket = try XDPSocket(
      interface: interface, queue: 0, attachMode: program.attachMode,
      configuration: XDPSocket.Configuration(for: interface))
    for address in addresses { try program.addAddress(address) }
    program.setActiveRange(Self.ports)
    try program.setSocket(queue: 0, descriptor: socket.descriptor)
  }

  /// Asks the kernel for the next hop, for some seconds at most.
  private static func path(
    to destination: IPAddress, _ interface: NetworkInterface, _ network: NetworkMirror
  ) throws -> PathConfiguration {
    guard let route = network.route(to: destination), route.interface == interface.index else {
      throw LaboratoryError("\(destination) is not behind \(interface.name)")
    }
    let source =
      route.source
      ?? network.addresses(on: interface.index).first { $0.isIPv4 == destination.isIPv4 }
    let nextHop = route.gateway ?? destination
    var macAddress: MACAddress?
    waitUntil(seconds: 5) {
      macAddress = network.resolveNeighbour(interface: interface.index, address: nextHop)
      _ = network.processNotifications()
      return macAddress != nil
    }
    guard let source, let macAddress else {
      throw LaboratoryError("nobody answers for \(nextHop) on \(interface.name)")
    }
    return PathConfiguration(
      destination: destination, interface: 0, source: source, nextHop: macAddress,
      mtu: min(route.mtu ?? .max, interface.mtu))
  }

  /// Takes a port on which connections are accepted, too.
  func take(port: UInt16) throws {
    try program.setPort(
      path.destination.isIPv4 ? XDPProgram.anyIPv4 : XDPProgram.anyIPv6, port, flags: [])
  }

  /// Gives the interface back to the kernel.
  func close() {
    program.clearSocket(queue: 0)
    socket.close()
    program.close()
  }
}
