import FSDevice
import FSStack

/// The paths to destinations that applications have asked for, as every engine has them.
///
/// The kernel decides: its route says whether a destination is behind a managed interface, its
/// neighbour table knows the next hop. Whatever changes there is looked up again.
final class PathDirectory {
  private struct Entry {
    var path: PathConfiguration
    /// Where the next hop's address is looked up.
    var link: Int
    var nextHop: IPAddress
    /// `requests` when it was last asked for.
    var request: UInt64
  }

  /// Paths that are remembered. When there are more, an eighth is forgotten, those that nobody has asked for longest.
  static let limit = 32768

  private let engines: [any EngineControl]
  private let network: any NetworkView
  private var entries: [IPAddress: Entry] = [:]
  private var requests: UInt64 = 0
  private(set) var interfaces: [ManagedInterface]
  /// Answers given under an older generation are void.
  private(set) var generation: UInt32 = 1

  init(
    engines: [any EngineControl], network: any NetworkView, interfaces: [ManagedInterface]
  ) {
    self.engines = engines
    self.network = network
    self.interfaces = interfaces
  }

  /// Paths known.
  var count: Int { entries.count }

  /// Whether a connection to `destination` goes through an engine. If so, every engine has the path
  /// when this returns, perhaps still without the next hop's address. `local` is the address to which the application has
  /// bound its socket: what comes back for one of another interface would not reach the engine.
  func accelerate(_ destination: IPAddress, from local: IPAddress = .anyIPv6) -> Bool {
    install([destination])
    guard let entry = entries[destination] else { return false }
    if local.isUnspecified { return true }
    // By the rules there may be another way from there.
    guard network.addresses(on: entry.link).contains(local),
      let route = network.route(to: destination, from: local)
    else { return false }
    return route.interface == entry.link && route.gateway ?? destination == entry.nextHop
  }

  /// Whether an address is this host's own, of a managed interface or not.
  func isOwn(_ address: IPAddress) -> Bool {
    address.isLoopback
      || network.links.keys.contains { network.addresses(on: $0).contains(address) }
  }

  /// Lets every engine reach one of this host's own addresses through itself.
  func installLoopback(_ destination: IPAddress) {
    let path = PathConfiguration(
      destination: destination, interface: interfaces.count, source: destination,
      nextHop: MACAddress(), mtu: LoopbackFrames.mtu)
    for engine in engines { engine.setPaths([path]) }
  }

  /// Answers to applications are void: a listener within this host has come or gone.
  func loopbackChanged() { voidAnswers() }

  private func voidAnswers() {
    generation &+= 1
    for engine in engines { engine.advanceRouteGeneration() }
  }

  /// Looks the destinations up, and tells the engines of those that are accelerated.
  func install(_ destinations: [IPAddress]) {
    requests += 1
    forgetOldest(toHold: destinations.count { entries[$0] == nil })
    var found: [PathConfiguration] = []
    var lost: [IPAddress] = []
    for destination in destinations {
      if let entry = look(destination) {
        entries[destination] = entry
        found.append(entry.path)
      } else if entries.removeValue(forKey: destination) != nil {
        lost.append(destination)
      }
    }
    for engine in engines {
      if !lost.isEmpty { engine.removePaths(lost) }
      if !found.isEmpty { engine.setPaths(found) }
    }
  }

  private func look(_ destination: IPAddress) -> Entry? {
    guard !destination.isUnspecified, !destination.isMulticast, !destination.isLoopback,
      let route = network.route(to: destination, from: nil),
      let place = managed(route.interface),
      let source = route.source ?? source(for: destination, on: route.interface)
    else { return nil }
    let nextHop = route.gateway ?? destination
    let path = PathConfiguration(
      destination: destination, interface: place.interface.number, source: source,
      nextHop: network.resolveNeighbour(interface: route.interface, address: nextHop),
      mtu: min(route.mtu ?? .max, network.links[route.interface]?.mtu ?? place.interface.mtu),
      vlan: place.vlan)
    return Entry(path: path, link: route.interface, nextHop: nextHop, request: requests)
  }

  /// The managed interface behind a link: itself, or the one that carries its VLAN.
  private func managed(_ index: Int) -> (interface: ManagedInterface, vlan: UInt16?)? {
    if let interface = interfaces.first(where: { $0.index == index }) { return (interface, nil) }
    guard let link = network.links[index], let vlan = link.vlan,
      let interface = interfaces.first(where: { $0.index == link.parent })
    else { return nil }
    return (interface, vlan)
  }

  private func source(for destination: IPAddress, on link: Int) -> IPAddress? {
    network.addresses(on: link).first {
      $0.isIPv4 == destination.isIPv4 && $0.isLinkLocal == destination.isLinkLocal
    }
  }

  /// Addresses of the managed interfaces and of the VLANs on them.
  func localAddresses() -> [LocalAddress] {
    var found: [LocalAddress] = []
    for interface in interfaces {
      let children = network.links.values.filter {
        $0.parent == interface.index && $0.vlan != nil
      }
      for link in [interface.index] + children.map(\.index).sorted() {
        for address in network.addresses(on: link) {
          let local = LocalAddress(interface: interface.number, address: address)
          if !found.contains(local) { found.append(local) }
        }
      }
    }
    return found
  }

  /// A neighbour's address became known, changed, or was lost (nil). A lost one is not asked for
  /// here: an engine that has something to send asks.
  func neighbourChanged(interface: Int, address: IPAddress, macAddress: MACAddress?) {
    var changed: [PathConfiguration] = []
    for (destination, entry) in entries
    where entry.link == interface && entry.nextHop == address && entry.path.nextHop != macAddress {
      var path = entry.path
      path.nextHop = macAddress
      entries[destination]?.path = path
      changed.append(path)
    }
    guard !changed.isEmpty else { return }
    for engine in engines { engine.setPaths(changed) }
  }

  /// Routes or addresses changed: all paths are looked up anew, and all answers to applications are
  /// void.
  func routesChanged() {
    generation &+= 1
    install(Array(entries.keys))
    for engine in engines { engine.advanceRouteGeneration() }
  }

  /// A managed interface's own address or MTU may have changed.
  func linkChanged(_ link: Link) {
    guard let position = interfaces.firstIndex(where: { $0.index == link.index }) else { return }
    let before = interfaces[position]
    guard before.macAddress != link.macAddress || before.mtu != link.mtu else { return }
    interfaces[position].macAddress = link.macAddress
    interfaces[position].mtu = link.mtu
    for engine in engines {
      engine.updateInterface(position, macAddress: link.macAddress, mtu: link.mtu)
    }
    install(entries.filter { $0.value.link == link.index }.map(\.key))
  }

  /// Makes room for so many new paths. What applications believe of those that go is void, so that they ask again
  /// before they connect.
  private func forgetOldest(toHold count: Int) {
    guard entries.count + count > Self.limit else { return }
    let forgotten = entries.sorted { $0.value.request < $1.value.request }
      .prefix(max(Self.limit / 8, count)).map(\.key)
    for destination in forgotten { entries[destination] = nil }
    for engine in engines { engine.removePaths(forgotten) }
    voidAnswers()
  }
}
