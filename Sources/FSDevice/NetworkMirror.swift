import CXDP
import FSStack
import Glibc

/// The kernel's view of the network, followed by rtnetlink: interfaces, addresses, neighbours. Routes
/// are not copied, they are asked for, so that policy rules and caches are the kernel's own.
///
/// Belongs to the network namespace of the thread that makes it. For one thread at a time.
public final class NetworkMirror: @unchecked Sendable {
  /// Readable when `processNotifications` has something to do.
  public let descriptor: Int32
  /// The interfaces by number.
  public private(set) var links: [Int: Link] = [:]

  private let notifications: NetlinkSocket
  private let requests: NetlinkSocket
  private var addresses: [InterfaceAddress] = []
  private var neighbours: [NeighbourKey: MACAddress] = [:]

  /// Subscribes, then reads everything.
  public init() throws(DeviceError) {
    notifications = try NetlinkSocket(protocol: NETLINK_ROUTE, subject: "the network")
    requests = try NetlinkSocket(protocol: NETLINK_ROUTE, subject: "the network")
    descriptor = notifications.descriptor
    let groups = [
      RTNLGRP_LINK, RTNLGRP_NEIGH, RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR,
      RTNLGRP_IPV4_ROUTE, RTNLGRP_IPV6_ROUTE, RTNLGRP_IPV4_RULE, RTNLGRP_IPV6_RULE,
    ]
    try notifications.join(groups.map { UInt32($0.rawValue) })
    try readAll()
  }

  /// The interface of a name.
  public func link(named name: String) -> Link? {
    links.values.first { $0.name == name }
  }

  /// The addresses of an interface that can be used: not those whose uniqueness is being checked.
  public func addresses(on interface: Int) -> [IPAddress] {
    var found: [IPAddress] = []
    for entry in addresses where entry.interface == interface && entry.isUsable {
      if !found.contains(entry.address) { found.append(entry.address) }
    }
    return found
  }

  /// Takes in what the kernel has told since the last time. Never waits.
  public func processNotifications() -> [NetworkChange] {
    var changes: [NetworkChange] = []
    while true {
      switch notifications.receiveWaiting() {
      case .messages(let messages):
        for message in messages { apply(message, &changes) }
      case .nothing:
        return NetworkMirror.withRoutesOnce(changes)
      case .overrun:
        discardNotifications()
        // If this fails too, the old state stands, and the next notification tries again.
        try? readAll()
        changes.append(.resynchronised)
      }
    }
  }

  /// Asks the kernel's forwarding table. Nil: the kernel would not send it out by a unicast route, so
  /// it is not a destination for the stack.
  public func route(to destination: IPAddress, from source: IPAddress? = nil) -> Route? {
    let bits = UInt8(destination.isIPv4 ? 32 : 128)
    // struct rtmsg: family, dst_len, src_len, tos, table, protocol, scope, type, flags.
    var request = NetlinkRequest(
      type: Int32(RTM_GETROUTE), flags: 0,
      fixedPart: [destination.family, bits, source == nil ? 0 : bits, 0, 0, 0, 0, 0, 0, 0, 0, 0])
    request.attribute(RTA_DST.rawValue, destination.attributeBytes)
    if let source { request.attribute(RTA_SRC.rawValue, source.attributeBytes) }
    guard let answer = try? requests.request(request).first else { return nil }
    var route = Route(answer)
    // The kernel does not repeat a source address that it was given.
    if route?.source == nil { route?.source = source }
    return route
  }

  /// The Ethernet address of a neighbour. Nil: the kernel was asked to resolve it, and the answer
  /// comes as a notification.
  ///
  /// An address nobody has heard of lately is used, and the kernel is asked to check it: it does not
  /// see the stack's traffic and would let the entry go.
  public func resolveNeighbour(interface: Int, address: IPAddress) -> MACAddress? {
    let key = NeighbourKey(interface: interface, address: address)
    let known = neighbour(key)
    neighbours[key] = known?.macAddress
    if known?.macAddress == nil || known?.isStale == true { useNeighbour(key) }
    return known?.macAddress
  }
}

// MARK: Neighbours

extension NetworkMirror {
  /// Asks for one entry of the neighbour table.
  private func neighbour(_ key: NeighbourKey) -> Neighbour? {
    let request = neighbourRequest(key, type: Int32(RTM_GETNEIGH), flags: 0, use: false)
    return (try? requests.request(request).first).flatMap(Neighbour.init)
  }

  /// Has the kernel resolve or confirm an entry, as if it had a packet to send.
  private func useNeighbour(_ key: NeighbourKey) {
    let request = neighbourRequest(
      key, type: Int32(RTM_NEWNEIGH), flags: NLM_F_CREATE | NLM_F_ACK, use: true)
    // What cannot be resolved is answered by no notification; the caller's own time limit is.
    _ = try? requests.request(request)
  }

  private func neighbourRequest(
    _ key: NeighbourKey, type: Int32, flags: Int32, use: Bool
  ) -> NetlinkRequest {
    // struct ndmsg: family, padding, ifindex, state (16 bits), flags, type.
    var request = NetlinkRequest(
      type: type, flags: flags,
      fixedPart: [key.address.family, 0, 0, 0] + Int32(key.interface).nativeBytes
        + [0, 0, use ? UInt8(NTF_USE) : 0, 0])
    request.attribute(NDA_DST, key.address.attributeBytes)
    return request
  }
}

// MARK: Following

extension NetworkMirror {
  /// Those that wait are older than what is read now; and until they are gone the kernel has no room for others,
  /// and says so only once.
  private func discardNotifications() {
    while true {
      switch notifications.receiveWaiting() {
      case .messages, .overrun: continue
      case .nothing: return
      }
    }
  }

  /// Reads all tables.
  private func readAll() throws(DeviceError) {
    let links = try dump(RTM_GETLINK, fixedPart: MemoryLayout<ifinfomsg>.size)
      .compactMap(Link.init)
    let addresses = try dump(RTM_GETADDR, fixedPart: MemoryLayout<ifaddrmsg>.size)
      .compactMap(InterfaceAddress.init)
    let neighbours = try dump(RTM_GETNEIGH, fixedPart: MemoryLayout<ndmsg>.size)
      .compactMap(Neighbour.init)
    self.links = Dictionary(links.map { ($0.index, $0) }) { _, later in later }
    self.addresses = addresses
    self.neighbours = [:]
    for neighbour in neighbours { self.neighbours[neighbour.key] = neighbour.macAddress }
  }

  private func dump(_ type: Int, fixedPart: Int) throws(DeviceError) -> [NetlinkMessage] {
    try requests.request(
      NetlinkRequest(
        type: Int32(type), flags: NLM_F_DUMP, fixedPart: [UInt8](repeating: 0, count: fixedPart)))
  }

  private func apply(_ message: NetlinkMessage, _ changes: inout [NetworkChange]) {
    switch Int(message.type) {
    case RTM_NEWLINK, RTM_DELLINK:
      if let link = Link(message) { apply(link, Int(message.type) == RTM_NEWLINK, &changes) }
    case RTM_NEWADDR, RTM_DELADDR:
      guard let address = InterfaceAddress(message) else { return }
      apply(address, Int(message.type) == RTM_NEWADDR, &changes)
    case RTM_NEWNEIGH, RTM_DELNEIGH:
      guard let neighbour = Neighbour(message) else { return }
      apply(neighbour, Int(message.type) == RTM_NEWNEIGH, &changes)
    case RTM_NEWROUTE, RTM_DELROUTE, RTM_NEWRULE, RTM_DELRULE:
      changes.append(.routes)
    default:
      break
    }
  }

  /// The kernel drops and revives routes with their interface, without a word about each.
  private func apply(_ link: Link, _ isThere: Bool, _ changes: inout [NetworkChange]) {
    if isThere {
      guard links[link.index] != link else { return }
      links[link.index] = link
      changes += [.link(link), .routes]
    } else if links.removeValue(forKey: link.index) != nil {
      addresses.removeAll { $0.interface == link.index }
      neighbours = neighbours.filter { $0.key.interface != link.index }
      changes += [.linkRemoved(index: link.index), .routes]
    }
  }

  private func apply(
    _ address: InterfaceAddress, _ isThere: Bool, _ changes: inout [NetworkChange]
  ) {
    let position = addresses.firstIndex {
      $0.isSameEntry(as: address)
    }
    if isThere {
      if let position {
        guard addresses[position] != address else { return }
        addresses[position] = address
      } else {
        addresses.append(address)
      }
    } else {
      guard let position else { return }
      addresses.remove(at: position)
    }
    changes += [.addresses(interface: address.interface), .routes]
  }

  private func apply(
    _ neighbour: Neighbour, _ isThere: Bool, _ changes: inout [NetworkChange]
  ) {
    let address = isThere ? neighbour.macAddress : nil
    let before = neighbours[neighbour.key]
    neighbours[neighbour.key] = address
    // That resolving goes on is no news, that it has failed is, also the second time.
    guard address != before || isThere && neighbour.isFailed else { return }
    changes.append(
      .neighbour(
        interface: neighbour.key.interface, address: neighbour.key.address,
        macAddress: address))
  }

  /// One change of an address is many of routes.
  private static func withRoutesOnce(_ changes: [NetworkChange]) -> [NetworkChange] {
    guard changes.contains(.routes) else { return changes }
    return changes.filter { $0 != .routes } + [.routes]
  }
}
