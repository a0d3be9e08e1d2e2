import CXDP
import FSStack
import Glibc

/// What there is to know of a network interface before its packets are taken.
public struct NetworkInterface: Sendable {
  /// Its name.
  public let name: String
  /// The kernel's number of it.
  public let index: Int
  /// The driver's name; empty if it has none.
  public let driver: String
  /// Receive queues, each of which takes one AF_XDP socket.
  public let queueCount: Int
  /// Receive queues that it can have (`ethtool -L`); not fewer than it has.
  public let maximumQueueCount: Int
  /// Whether packets may arrive that never were on a wire, so that their checksums may be partial:
  /// just the sum of the pseudo-header, left for a network card to complete.
  public let isVirtual: Bool
  /// Its Ethernet address.
  public let macAddress: MACAddress
  /// Bytes of the largest IP packet.
  public let mtu: Int

  /// Whether its queues receive and transmit, and so can be counted to be as many as there are engines.
  public let hasCombinedQueues: Bool

  /// Whether the receive queue of a packet follows from its addresses and ports alone. Virtual
  /// interfaces take the queue of the sender's choice.
  public var followsFlowHash: Bool { !isVirtual }

  /// Looks up an interface in the calling thread's network namespace.
  public init(named name: String) throws(DeviceError) {
    let number = unsafe if_nametoindex(name)
    guard number > 0 else { throw .noSuchInterface(name) }
    let ethtool = Ethtool(name)
    let driver = ethtool.driver()

    self.name = name
    index = Int(number)
    self.driver = driver.name
    let channels = ethtool.channels()
    let queues = channels.map { $0.receive + $0.combined } ?? 0
    queueCount = queues > 0 ? queues : NetworkInterface.queuesInSysfs(name)
    hasCombinedQueues = (channels?.combined ?? 0) > 0
    // Only those that receive and transmit: the queues of an interface that has separate ones, as veth,
    // depend on those of its peer.
    maximumQueueCount =
      channels.map { $0.combined > 0 ? $0.maximumCombined + $0.receive : queues } ?? queueCount
    isVirtual = NetworkInterface.isVirtual(driver: driver.name, bus: driver.bus)
    (macAddress, mtu) = try NetworkInterface.addressAndMTU(name)
  }

  /// Features with which XDP does not work or the program would not see the packet as it came: a
  /// merged segment is larger than a frame, a stripped VLAN tag would be lost.
  static let featuresInTheWay = ["rx-lro", "rx-gro-hw", "rx-vlan-hw-parse"]

  /// Switches those features off, recording each in `journal`.
  public func prepareForXDP(journal: RestoreJournal) throws(DeviceError) {
    let ethtool = Ethtool(name)
    for feature in ethtool.features()
    where feature.isActive && feature.isChangeable
      && NetworkInterface.featuresInTheWay.contains(feature.name)
    {
      try journal.record(.feature(interface: name, name: feature.name, wasOn: true))
      try ethtool.setFeature(feature.name, on: false)
    }
  }

  /// Sets the number of queues, recording the old one. `NetworkInterface(named:)` then tells the new one.
  public func setQueueCount(_ count: Int, journal: RestoreJournal) throws(DeviceError) {
    let ethtool = Ethtool(name)
    guard let channels = ethtool.channels(), channels.combined > 0 else {
      throw .unsupported("\(name) has no queues that can be counted")
    }
    let combined = count - channels.receive
    guard combined > 0, combined <= channels.maximumCombined else {
      throw .unsupported(
        "\(name) cannot have \(count) queues; at most \(maximumQueueCount) are possible")
    }
    guard combined != channels.combined else { return }
    try journal.record(.channels(interface: name, count: channels.combined))
    try ethtool.setCombinedChannels(combined)
  }

  /// Sets the descriptors of each ring, as far as the card has them, recording what they were.
  public func setRingSize(_ size: Int, journal: RestoreJournal) throws(DeviceError) {
    let ethtool = Ethtool(name)
    guard let rings = ethtool.ringSizes() else {
      throw .unsupported("the ring sizes of \(name) cannot be set")
    }
    let receive = min(size, rings.maximumReceive)
    let transmit = min(size, rings.maximumTransmit)
    guard receive != rings.receive || transmit != rings.transmit else { return }
    try journal.record(
      .rings(interface: name, receive: rings.receive, transmit: rings.transmit))
    try ethtool.setRingSizes(receive: receive, transmit: transmit)
  }

  /// How the card spreads flows over the engines, queue n being engine n's, modulo their number; nil if
  /// that cannot be computed here.
  public func receiveSideScaling(engineCount: Int) -> ReceiveSideScaling? {
    Ethtool(name).receiveSideScaling(engineCount: engineCount)
  }

  /// Whether the card's hash is of the ports, too, over IPv6.
  public func hashesPortsOverIPv6() -> Bool { Ethtool(name).hashesPorts(isIPv6: true) }

  /// What the driver counts under these names, the sum where several queues do. Absent names are left out.
  public func statistics(named names: [String]) -> [(name: String, value: UInt64)] {
    let all = Ethtool(name).statistics()
    return names.compactMap { name in
      all.first { $0.name == name }.map { (name, $0.value) }
    }
  }

  /// A device that is on no bus exists in this kernel only. virtio and the Xen backend are on one,
  /// and yet carry the packets of neighbours on the same host.
  private static func isVirtual(driver: String, bus: String) -> Bool {
    ["", "N/A", "tun", "tap"].contains(bus) || ["virtio_net", "vif"].contains(driver)
  }

  private static func queuesInSysfs(_ name: String) -> Int {
    guard let directory = unsafe opendir("/sys/class/net/\(name)/queues") else { return 1 }
    defer { unsafe closedir(directory) }
    var count = 0
    while let entry = unsafe readdir(directory) {
      let isReceive = unsafe withUnsafeBytes(of: &entry.pointee.d_name) { name in
        unsafe name.starts(with: "rx-".utf8)
      }
      if isReceive { count += 1 }
    }
    return max(count, 1)
  }

  /// ARPHRD_ETHER, the hardware type of Ethernet.
  private static let ethernet: UInt16 = 1

  private static func addressAndMTU(
    _ name: String
  ) throws(DeviceError) -> (MACAddress, Int) {
    let socket = Glibc.socket(AF_INET, Int32(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
    guard socket >= 0 else { throw .last("open a socket for", name) }
    defer { close(socket) }
    var request = unsafe ifreq.named(name)
    guard unsafe ioctl(socket, UInt(SIOCGIFMTU), &request) == 0 else {
      throw .last("read the MTU of", name)
    }
    let mtu = unsafe Int(request.ifr_ifru.ifru_mtu)
    unsafe request = ifreq.named(name)
    guard unsafe ioctl(socket, UInt(SIOCGIFHWADDR), &request) == 0 else {
      throw .last("read the Ethernet address of", name)
    }
    guard unsafe request.ifr_ifru.ifru_hwaddr.sa_family == NetworkInterface.ethernet else {
      throw .unsupported("\(name) is not an Ethernet interface")
    }
    let address = unsafe withUnsafeBytes(of: &request.ifr_ifru.ifru_hwaddr.sa_data) { bytes in
      unsafe MACAddress(bytes: UnsafeRawBufferPointer(rebasing: bytes[..<6]))
    }
    return (address, mtu)
  }
}
