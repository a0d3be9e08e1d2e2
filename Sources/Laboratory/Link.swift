import Foundation

/// How a link between two hosts is made.
public struct LinkOptions: Sendable {
  /// Receive and transmit queues of either end.
  public var queues = 1
  /// Maximum transmission unit.
  public var mtu = 1500
  /// Whether the kernel may exchange packets larger than the MTU, as it does between virtual
  /// interfaces. Off, each packet is what it would be on a wire.
  public var segmentationOffload = true
  /// Whether the kernel may leave the checksums to the hardware, which a virtual link does not have.
  public var checksumOffload = true

  /// The options of an ordinary virtual link.
  public init(
    queues: Int = 1, mtu: Int = 1500, segmentationOffload: Bool = true,
    checksumOffload: Bool = true
  ) {
    self.checksumOffload = checksumOffload
    self.queues = queues
    self.mtu = mtu
    self.segmentationOffload = segmentationOffload
  }
}

/// One end of a link: an interface of a host.
public struct LinkEnd: Sendable {
  /// The host.
  public let host: NetworkHost
  /// Name of the interface there.
  public let interface: String
  /// Its IPv4 address.
  public let address4: String
  /// Its IPv6 address.
  public let address6: String

  /// Its address of one family, as it stands in a URL.
  public func urlAddress(_ family: AddressFamily) -> String {
    family == .ipv4 ? address4 : "[\(address6)]"
  }

  /// Its address of one family.
  public func address(_ family: AddressFamily) -> String {
    family == .ipv4 ? address4 : address6
  }

  /// Gives the interface further IPv4 addresses, so that a client can open more connections than
  /// one address has ports, and returns all of them.
  public func addSourceAddresses(_ count: Int) throws -> [String] {
    var addresses = [address4]
    let network = address4.split(separator: ".").dropLast().joined(separator: ".")
    for number in 0..<count {
      let address = "\(network).\(100 + number)"
      try host.laboratory.run(
        ["ip", "-n", host.name, "address", "add", "\(address)/24", "dev", interface])
      addresses.append(address)
    }
    return addresses
  }

  /// Lets a kernel thread, pinned to `core`, do the receive work of the interface, whichever core the sender
  /// runs on: that of NAPI, which an XDP program's is, too. Returns how many threads there are: none on a
  /// virtual interface that has neither such a program nor receive offload.
  @discardableResult
  public func receiveByThread(onCore core: Int) throws -> Int {
    try write("1", to: "threaded")
    var count = 0
    let names = try FileManager.default.contentsOfDirectory(atPath: "/proc")
    for name in names where pid_t(name) != nil {
      let command = try? String(contentsOfFile: "/proc/\(name)/comm", encoding: .utf8)
      guard command?.hasPrefix("napi/\(interface)-") == true else { continue }
      try host.laboratory.run(["taskset", "-pc", "\(core)", name])
      count += 1
    }
    return count
  }

  /// Lets the kernel put together what it receives of a stream (GRO), as it does on network cards. A virtual
  /// interface then has NAPI instances even without an XDP program.
  public func allowReceiveOffload() throws {
    try host.run(["ethtool", "-K", interface, "gro", "on"])
  }

  /// Lets packets gather for this time, as cards do, before the kernel looks at the next.
  public func coalesceInterrupts(microseconds: Int) throws {
    try write("\(microseconds * 1000)", to: "gro_flush_timeout")
    try write(microseconds > 0 ? "1" : "0", to: "napi_defer_hard_irqs")
  }

  private func write(_ value: String, to attribute: String) throws {
    let file = try host.laboratory.makeFile("attribute-\(host.laboratory.nextNumber())", value)
    try host.run(["tee", "/sys/class/net/\(interface)/\(attribute)"], inputPath: file)
  }
}

/// The IP versions.
public enum AddressFamily: String, Sendable, CaseIterable {
  /// IP version 4.
  case ipv4 = "IPv4"
  /// IP version 6.
  case ipv6 = "IPv6"
}

extension Laboratory {
  /// Joins two hosts by a pair of virtual interfaces in subnet number `subnet`; the first host is
  /// number 1 there, the second number 2.
  public func link(
    _ first: NetworkHost, _ firstName: String, _ second: NetworkHost, _ secondName: String,
    subnet: Int,
    options: LinkOptions = LinkOptions()
  ) throws -> (LinkEnd, LinkEnd) {
    let queues = ["numrxqueues", "\(options.queues)", "numtxqueues", "\(options.queues)"]
    try run(
      ["ip", "link", "add", firstName, "netns", first.name] + queues
        + ["type", "veth", "peer", "name", secondName, "netns", second.name] + queues)
    let ends = [(first, firstName), (second, secondName)].enumerated().map { index, end in
      LinkEnd(
        host: end.0, interface: end.1, address4: "10.77.\(subnet).\(index + 1)",
        address6: "fd77:0:0:\(subnet)::\(index + 1)")
    }
    for end in ends {
      let prefix = ["ip", "-n", end.host.name]
      try run(prefix + ["link", "set", end.interface, "mtu", "\(options.mtu)"])
      try run(prefix + ["address", "add", "\(end.address4)/24", "dev", end.interface])
      try run(prefix + ["address", "add", "\(end.address6)/64", "dev", end.interface, "nodad"])
      if !options.segmentationOffload {
        try end.host.run(
          ["ethtool", "-K", end.interface, "tso", "off", "gso", "off", "gro", "off"])
      }
      if !options.checksumOffload {
        try end.host.run(["ethtool", "-K", end.interface, "tx", "off"])
      }
    }
    for end in ends { try run(["ip", "-n", end.host.name, "link", "set", end.interface, "up"]) }
    return (ends[0], ends[1])
  }
}
