import CXDP
import FSStack
import Glibc

/// A network interface as rtnetlink shows it.
public struct Link: Equatable, Sendable {
  /// The kernel's number of it.
  public var index: Int
  /// Its name.
  public var name: String
  /// Whether it is switched on and has a carrier.
  public var isUp: Bool
  /// Bytes of the largest IP packet.
  public var mtu: Int
  /// Its Ethernet address; zero if it has none.
  public var macAddress: MACAddress
  /// What creates its kind: `veth`, `vlan`, `bridge`; empty for hardware.
  public var kind: String
  /// The interface below, of a VLAN and its like.
  public var parent: Int?
  /// The VLAN number, of a VLAN with tags of 802.1Q.
  public var vlan: UInt16?
}

/// How a destination is reached: the answer of the kernel's forwarding table.
public struct Route: Equatable, Sendable {
  /// Number of the interface.
  public var interface: Int
  /// The next hop; nil if the destination is on the link.
  public var gateway: IPAddress?
  /// The source address that the kernel would take.
  public var source: IPAddress?
  /// The path's MTU where the route says one, known from the administrator or from ICMP.
  public var mtu: Int?
}

/// Something that has changed.
public enum NetworkChange: Equatable, Sendable {
  /// An interface is new, or something about it.
  case link(Link)
  /// An interface is gone.
  case linkRemoved(index: Int)
  /// The interface has other addresses: `addresses(on:)` has them.
  case addresses(interface: Int)
  /// The Ethernet address of a neighbour; nil if it is gone, or does not answer.
  case neighbour(interface: Int, address: IPAddress, macAddress: MACAddress?)
  /// Some route may be another: what `route(to:)` has said is void.
  case routes
  /// Notifications were lost and everything was read anew: any of the above.
  case resynchronised
}

/// A neighbour's name in the kernel's table.
struct NeighbourKey: Hashable {
  var interface: Int
  var address: IPAddress
}

/// A neighbour as the kernel knows it.
struct Neighbour: Equatable {
  var key: NeighbourKey
  /// Nil while it is being resolved, or was not.
  var macAddress: MACAddress?
  /// The kernel has given up.
  var isFailed: Bool
  /// Nobody has heard of it for a while.
  var isStale: Bool
}

/// An address of an interface.
struct InterfaceAddress: Equatable {
  var interface: Int
  var address: IPAddress
  /// An interface may have one address with several prefixes, and for several peers.
  var prefixLength: UInt8
  var peer: IPAddress?
  /// Not before duplicate address detection is through.
  var isUsable: Bool
}

extension Link {
  /// 802.1Q. The other, 802.1ad's, is neither read nor written by the stack.
  private static let customerTag: UInt16 = 0x8100

  /// `ifi_family` is not for bridge ports, which are told about in the same messages.
  init?(_ message: NetlinkMessage) {
    guard message.body.load(0, as: UInt8.self) == UInt8(AF_UNSPEC) else { return nil }
    let attributes = message.attributes(after: MemoryLayout<ifinfomsg>.size)
    guard let name = attributes[Int32(IFLA_IFNAME)]?.text else { return nil }
    let flags = message.body.load(8, as: UInt32.self)
    let needed = UInt32(1) | UInt32(1) << 16  // IFF_UP, IFF_LOWER_UP
    index = Int(message.body.load(4, as: Int32.self))
    self.name = name
    isUp = flags & needed == needed
    mtu = Int(attributes[Int32(IFLA_MTU)]?.load(0, as: UInt32.self) ?? 0)
    macAddress = attributes[Int32(IFLA_ADDRESS)].flatMap(MACAddress.init) ?? MACAddress()

    let info = attributes[Int32(IFLA_LINKINFO)]?.attributes(from: 0) ?? [:]
    kind = info[Int32(IFLA_INFO_KIND)]?.text ?? ""
    // That of a veth is its other end, possibly a number of another namespace.
    if kind != "veth", attributes[Int32(IFLA_LINK_NETNSID)] == nil {
      parent = attributes[Int32(IFLA_LINK)].map { Int($0.load(0, as: Int32.self)) }
    }
    if kind == "vlan" {
      let data = info[Int32(IFLA_INFO_DATA)]?.attributes(from: 0) ?? [:]
      // In network order; without it, as before Linux 3.10, there is only that one.
      let tag = data[Int32(IFLA_VLAN_PROTOCOL)]?.load(0, as: UInt16.self).bigEndian
      if tag ?? Self.customerTag == Self.customerTag {
        vlan = data[Int32(IFLA_VLAN_ID)]?.load(0, as: UInt16.self)
      }
    }
  }
}

extension InterfaceAddress {
  /// Whether the kernel has one entry for both.
  func isSameEntry(as other: InterfaceAddress) -> Bool {
    interface == other.interface && address == other.address
      && prefixLength == other.prefixLength && peer == other.peer
  }

  init?(_ message: NetlinkMessage) {
    let attributes = message.attributes(after: MemoryLayout<ifaddrmsg>.size)
    // Of a point-to-point link IFA_ADDRESS is the other end.
    guard let bytes = attributes[Int32(IFA_LOCAL)] ?? attributes[Int32(IFA_ADDRESS)],
      let address = IPAddress(bytes)
    else { return nil }
    let flags =
      attributes[Int32(IFA_FLAGS)]?.load(0, as: UInt32.self)
      ?? UInt32(message.body.load(2, as: UInt8.self))
    let isTentative =
      flags & UInt32(IFA_F_TENTATIVE) != 0 && flags & UInt32(IFA_F_OPTIMISTIC) == 0
    interface = Int(message.body.load(4, as: UInt32.self))
    self.address = address
    prefixLength = message.body.load(1, as: UInt8.self)
    peer = attributes[Int32(IFA_ADDRESS)].flatMap(IPAddress.init)
    isUsable = !isTentative && flags & UInt32(IFA_F_DADFAILED) == 0
  }
}

extension Neighbour {
  init?(_ message: NetlinkMessage) {
    let family = Int32(message.body.load(0, as: UInt8.self))
    let flags = Int32(message.body.load(10, as: UInt8.self))
    let attributes = message.attributes(after: MemoryLayout<ndmsg>.size)
    guard family == AF_INET || family == AF_INET6, flags & NTF_PROXY == 0,
      let address = attributes[Int32(NDA_DST)].flatMap(IPAddress.init)
    else { return nil }
    let state = Int32(message.body.load(8, as: UInt16.self))
    let usable =
      NUD_PERMANENT | NUD_NOARP | NUD_REACHABLE | NUD_PROBE | NUD_STALE | NUD_DELAY
    key = NeighbourKey(
      interface: Int(message.body.load(4, as: Int32.self)), address: address)
    macAddress =
      state & usable != 0 ? attributes[Int32(NDA_LLADDR)].flatMap(MACAddress.init) : nil
    isFailed = state & NUD_FAILED != 0
    isStale = state & NUD_STALE != 0
  }
}

extension Route {
  /// Nil for what is not a unicast route of this host: local, broadcast, unreachable and the like.
  init?(_ message: NetlinkMessage) {
    let attributes = message.attributes(after: MemoryLayout<rtmsg>.size)
    guard message.body.load(7, as: UInt8.self) == UInt8(RTN_UNICAST),
      let output = attributes[Int32(RTA_OIF.rawValue)]
    else { return nil }
    interface = Int(output.load(0, as: Int32.self))
    gateway = attributes[Int32(RTA_GATEWAY.rawValue)].flatMap(IPAddress.init)
    // An IPv4 route by way of an IPv6 neighbour: the family stands before the address.
    if let via = attributes[Int32(RTA_VIA.rawValue)] {
      gateway = IPAddress(ByteView(bytes: via.bytes.dropFirst(2)))
    }
    source = attributes[Int32(RTA_PREFSRC.rawValue)].flatMap(IPAddress.init)
    let metrics = attributes[Int32(RTA_METRICS.rawValue)]?.attributes(from: 0) ?? [:]
    mtu = metrics[Int32(RTAX_MTU)].map { Int($0.load(0, as: UInt32.self)) }
  }
}

extension IPAddress {
  /// The address in an attribute; nil if it is of no known length.
  init?(_ view: ByteView) {
    guard view.count == 4 || view.count == 16 else { return nil }
    self = unsafe view.bytes.withUnsafeBytes { unsafe IPAddress(bytes: $0) }
  }

  /// The 4 or 16 bytes for an attribute.
  var attributeBytes: [UInt8] { unsafe withBytes { unsafe Array($0) } }

  /// AF_INET or AF_INET6.
  var family: UInt8 { UInt8(isIPv4 ? AF_INET : AF_INET6) }
}

extension MACAddress {
  /// The address in an attribute; nil if it is not an Ethernet address.
  init?(_ view: ByteView) {
    guard view.count == 6 else { return nil }
    self = unsafe view.bytes.withUnsafeBytes { unsafe MACAddress(bytes: $0) }
  }
}
