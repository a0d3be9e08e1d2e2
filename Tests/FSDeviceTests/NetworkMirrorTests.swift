import CXDP
import FSStack
import Foundation
import Testing

@testable import FSDevice

/// The kernel's tables, followed live.
@Suite(.serialized) struct NetworkMirrorTests {
  /// Collects changes until one satisfies the condition.
  private func waits(
    _ mirror: NetworkMirror, within seconds: Double = 3, for expected: (NetworkChange) -> Bool
  ) -> Bool {
    eventually(within: seconds) { mirror.processNotifications().contains(where: expected) }
  }

  @Test func linksAndAddresses() throws {
    let network = try TestNetwork()
    let mirror = try network.host { try NetworkMirror() }
    let link = try #require(mirror.link(named: "fsdev0"))
    #expect(link.isUp && link.mtu == 1500 && link.kind == "veth" && link.parent == nil)
    #expect(link.macAddress == TestNetwork.hostMAC)
    #expect(mirror.links[link.index] == link)
    #expect(mirror.addresses(on: link.index).contains(TestNetwork.hostAddress))
    #expect(mirror.addresses(on: link.index).contains(TestNetwork.hostAddress6))
    #expect(mirror.processNotifications() == [])

    let added = NetworkChange.addresses(interface: link.index)
    try network.ip("addr add 10.77.5.1/32 dev fsdev0")
    #expect(mirror.processNotifications() == [added, .routes])
    #expect(mirror.addresses(on: link.index).contains(IPAddress(v4: 10, 77, 5, 1)))
    try network.ip("addr del 10.77.5.1/32 dev fsdev0")
    #expect(mirror.processNotifications() == [added, .routes])
    #expect(!mirror.addresses(on: link.index).contains(IPAddress(v4: 10, 77, 5, 1)))

    try network.ip("link set fsdev0 mtu 1400")
    #expect(waits(mirror) { if case .link(let new) = $0 { new.mtu == 1400 } else { false } })
    try network.ip("link set fsdev0 down")
    #expect(waits(mirror) { if case .link(let new) = $0 { !new.isUp } else { false } })
    #expect(mirror.link(named: "fsdev0")?.isUp == false)
    try network.ip("link set fsdev0 address 02:77:00:00:00:99")
    #expect(waits(mirror) { $0 != .routes })
    #expect(mirror.link(named: "fsdev0")?.macAddress == MACAddress(2, 0x77, 0, 0, 0, 0x99))
    try network.ip("link del fsdev0")
    #expect(waits(mirror) { $0 == .linkRemoved(index: link.index) })
    #expect(mirror.link(named: "fsdev0") == nil)
    #expect(mirror.addresses(on: link.index) == [])
  }

  /// As a mask is changed: the address is there with both prefixes for a moment.
  @Test func anAddressMayHaveTwoPrefixes() throws {
    let network = try TestNetwork()
    let mirror = try network.host { try NetworkMirror() }
    let index = try #require(mirror.link(named: "fsdev0")?.index)
    let address = IPAddress(v4: 10, 9, 9, 7)
    for (command, isThere) in [
      ("add 10.9.9.7/24", true), ("add 10.9.9.7/16", true), ("del 10.9.9.7/24", true),
      ("del 10.9.9.7/16", false),
    ] {
      try network.ip("addr \(command) dev fsdev0")
      _ = mirror.processNotifications()
      let found = mirror.addresses(on: index).filter { $0 == address }
      #expect(found.count == (isThere ? 1 : 0), "\(command)")
    }
  }

  /// What the kernel tells of VLANs, which it may have been built without.
  @Test func onlyTagsOf8021QAreVLANs() throws {
    func attribute(_ type: some BinaryInteger, _ value: [UInt8]) -> [UInt8] {
      let padding = [UInt8](repeating: 0, count: (4 - value.count % 4) % 4)
      return UInt16(4 + value.count).nativeBytes + UInt16(type).nativeBytes + value + padding
    }
    func vlan(_ tag: [UInt8]?) throws -> UInt16? {
      var data = attribute(IFLA_VLAN_ID, UInt16(6).nativeBytes)
      if let tag { data += attribute(IFLA_VLAN_PROTOCOL, tag) }
      var request = NetlinkRequest(
        type: Int32(RTM_NEWLINK), flags: 0,
        fixedPart: [UInt8](repeating: 0, count: MemoryLayout<ifinfomsg>.size))
      request.attribute(IFLA_IFNAME, Array("eth0.6".utf8) + [0])
      request.attribute(
        IFLA_LINKINFO,
        attribute(IFLA_INFO_KIND, Array("vlan".utf8) + [0]) + attribute(IFLA_INFO_DATA, data))
      let message = try #require(NetlinkMessage.split(request.finished(sequence: 1)[...]).first)
      return try #require(Link(message)).vlan
    }
    #expect(try vlan([0x81, 0x00]) == 6)
    #expect(try vlan([0x88, 0xa8]) == nil)
    #expect(try vlan(nil) == 6)
  }

  @Test func aTentativeAddressIsNotYetUsable() throws {
    let network = try TestNetwork()
    let setting = "net.ipv6.conf.fsdev0.accept_dad=1"
    try run("ip netns exec \(network.host.name) sysctl -q \(setting)")
    let mirror = try network.host { try NetworkMirror() }
    let link = try #require(mirror.link(named: "fsdev0"))
    let address = TestNetwork.address("fd77::5")
    try network.ip("addr add fd77::5/64 dev fsdev0")
    _ = mirror.processNotifications()
    #expect(!mirror.addresses(on: link.index).contains(address))
    #expect(waits(mirror) { $0 == .addresses(interface: link.index) })
    #expect(mirror.addresses(on: link.index).contains(address))
  }

  @Test func routesAreTheKernels() throws {
    let network = try TestNetwork()
    for command in [
      "route add 192.0.2.0/24 via 10.77.0.2 mtu 1280", "route add blackhole 198.51.100.0/24",
      "route add 203.0.113.0/24 dev fsdev0 src 10.77.0.1", "route add unreachable 2001:db8:1::/48",
      "route add 2001:db8::/48 via fd77::2", "route add 192.0.3.0/24 via inet6 fd77::2",
      "addr add 10.77.9.1/32 dev fsdev0",
    ] { try network.ip(command) }
    let mirror = try network.host { try NetworkMirror() }
    let index = try #require(mirror.link(named: "fsdev0")?.index)
    let route = { (text: String) in mirror.route(to: TestNetwork.address(text)) }
    let host = TestNetwork.hostAddress
    let host6 = TestNetwork.hostAddress6
    let peer = TestNetwork.peerAddress
    let peer6 = TestNetwork.peerAddress6

    let cases: [(String, Route?)] = [
      ("10.77.0.2", Route(interface: index, gateway: nil, source: host, mtu: nil)),
      ("192.0.2.9", Route(interface: index, gateway: peer, source: host, mtu: 1280)),
      ("192.0.3.9", Route(interface: index, gateway: peer6, source: host, mtu: nil)),
      ("203.0.113.9", Route(interface: index, gateway: nil, source: host, mtu: nil)),
      ("fd77::2", Route(interface: index, gateway: nil, source: host6, mtu: nil)),
      ("2001:db8::9", Route(interface: index, gateway: peer6, source: host6, mtu: nil)),
      ("198.51.100.1", nil), ("2001:db8:1::1", nil), ("8.8.8.8", nil), ("10.77.0.1", nil),
      ("127.0.0.1", nil), ("10.77.0.255", nil), ("224.0.0.5", nil), ("::1", nil),
      ("fd77::1", nil),
    ]
    for (text, expected) in cases { #expect(route(text) == expected, "\(text)") }
    let other = IPAddress(v4: 10, 77, 9, 1)
    #expect(mirror.route(to: peer, from: other)?.source == other)

    // A policy rule takes part, and so does what changes afterwards.
    _ = mirror.processNotifications()
    try network.ip("route add blackhole default table 77")
    try network.ip("rule add to 192.0.2.0/25 table 77")
    #expect(waits(mirror) { $0 == .routes })
    #expect(route("192.0.2.9") == nil)
    #expect(route("192.0.2.200") != nil)
    try network.ip("route del 192.0.2.0/24")
    #expect(mirror.processNotifications() == [.routes])
    #expect(route("192.0.2.200") == nil)
  }

  @Test func neighbours() throws {
    let network = try TestNetwork()
    try run(
      "ip netns exec \(network.host.name) sysctl -q net.ipv4.neigh.fsdev0.retrans_time_ms=20")
    let mirror = try network.host { try NetworkMirror() }
    let index = try #require(mirror.link(named: "fsdev0")?.index)
    let change = { (address: IPAddress, macAddress: MACAddress?) in
      NetworkChange.neighbour(interface: index, address: address, macAddress: macAddress)
    }
    for address in [TestNetwork.peerAddress, TestNetwork.peerAddress6] {
      #expect(mirror.resolveNeighbour(interface: index, address: address) == nil)
      #expect(waits(mirror) { $0 == change(address, TestNetwork.peerMAC) })
      #expect(
        mirror.resolveNeighbour(interface: index, address: address) == TestNetwork.peerMAC)
    }
    // Nobody is there: that is an answer too, each time.
    let nobody = IPAddress(v4: 10, 77, 0, 200)
    for _ in 0..<2 {
      #expect(mirror.resolveNeighbour(interface: index, address: nobody) == nil)
      #expect(waits(mirror) { $0 == change(nobody, nil) })
    }
    // The administrator knows better, and forgets.
    let other = MACAddress(2, 0x77, 0, 0, 0, 0x42)
    try network.ip("neigh replace 10.77.0.2 lladdr 02:77:00:00:00:42 dev fsdev0 nud permanent")
    #expect(mirror.processNotifications() == [change(TestNetwork.peerAddress, other)])
    try network.ip("neigh del 10.77.0.2 dev fsdev0")
    #expect(waits(mirror) { $0 == change(TestNetwork.peerAddress, nil) })
    // A stale entry serves, and the kernel confirms it without a change to report.
    try network.ip("neigh replace 10.77.0.2 lladdr 02:77:00:00:00:02 dev fsdev0 nud stale")
    #expect(waits(mirror) { $0 == change(TestNetwork.peerAddress, TestNetwork.peerMAC) })
    #expect(
      mirror.resolveNeighbour(interface: index, address: TestNetwork.peerAddress)
        == TestNetwork.peerMAC)
    #expect(try !network.ip("neigh show 10.77.0.2").contains("STALE"))
  }

  @Test func readsAnewWhenNotificationsAreLost() throws {
    let network = try TestNetwork()
    let mirror = try network.host { try NetworkMirror() }
    let index = try #require(mirror.link(named: "fsdev0")?.index)
    let file = NSTemporaryDirectory() + "fsdev-routes-\(getpid())"
    defer { unlink(file) }
    let routes = (0..<16384).map { "route add 100.64.\($0 / 256).\($0 % 256) dev fsdev0\n" }
    try routes.joined().write(toFile: file, atomically: true, encoding: .utf8)
    try network.ip("-batch \(file)")
    try network.ip("addr add 10.77.6.1/32 dev fsdev0")
    #expect(mirror.processNotifications().contains(.resynchronised))
    #expect(mirror.addresses(on: index).contains(IPAddress(v4: 10, 77, 6, 1)))
    #expect(mirror.processNotifications() == [])

    // What waits before the loss is older than what is read after it.
    try network.ip("addr add 10.77.6.2/32 dev fsdev0")
    try network.ip("route flush root 100.64.0.0/10")
    try network.ip("addr del 10.77.6.2/32 dev fsdev0")
    #expect(mirror.processNotifications().contains(.resynchronised))
    #expect(!mirror.addresses(on: index).contains(IPAddress(v4: 10, 77, 6, 2)))
  }
}
