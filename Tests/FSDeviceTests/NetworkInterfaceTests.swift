import FSStack
import Foundation
import Testing

@testable import FSDevice

/// What is asked of an interface and changed on the system, and that it is changed back.
@Suite(.serialized) struct NetworkInterfaceTests {
  private func temporaryFile() -> String {
    NSTemporaryDirectory() + "fsdev-journal-\(getpid())-\(UInt32.random(in: 0...UInt32.max))"
  }

  @Test func looksUpAnInterface() throws {
    let network = try TestNetwork(queues: 3)
    let interface = try network.interface()
    #expect(interface.name == "fsdev0" && interface.driver == "veth" && interface.mtu == 1500)
    #expect(interface.queueCount == 3 && interface.isVirtual && !interface.followsFlowHash)
    #expect(interface.macAddress == TestNetwork.hostMAC)
    #expect(throws: DeviceError.noSuchInterface("fsdev7")) {
      try network.host { try NetworkInterface(named: "fsdev7") }
    }
    #expect(throws: DeviceError.unsupported("lo is not an Ethernet interface")) {
      try network.host { try NetworkInterface(named: "lo") }
    }
  }

  @Test func featuresInTheWayAreOffForTheTime() throws {
    let network = try TestNetwork()
    let path = temporaryFile()
    let stripping = { () throws -> Bool in
      try network.host {
        let features = Ethtool("fsdev0").features()
        return features.contains { $0.name == "rx-vlan-hw-parse" && $0.isActive }
      }
    }
    try #require(try stripping())
    try network.host {
      let journal = RestoreJournal(path: path)
      try NetworkInterface(named: "fsdev0").prepareForXDP(journal: journal)
      #expect(try !stripping())
      #expect(try String(contentsOfFile: path, encoding: .utf8).contains("rx-vlan-hw-parse"))
      #expect(journal.undo() == [])
    }
    #expect(try stripping())
    #expect(access(path, F_OK) != 0)

    // Changed by a daemon that crashed, changed back by the next.
    try network.host {
      try NetworkInterface(named: "fsdev0").prepareForXDP(journal: RestoreJournal(path: path))
      #expect(try !stripping())
      let sentences = try RestoreJournal(path: path).undoStale()
      #expect(
        sentences == [
          "undid what an earlier daemon left: feature-off fsdev0 rx-vlan-hw-parse"
        ])
      #expect(try RestoreJournal(path: path).undoStale() == [])
    }
    #expect(try stripping())
  }

  @Test func reservedPortsOfOthersStay() throws {
    let network = try TestNetwork()
    let path = temporaryFile()
    try run(
      "ip netns exec \(network.host.name) sysctl -q"
        + " net.ipv4.ip_local_reserved_ports=8080,40000-40010")
    try network.host {
      #expect(try ReservedPorts.current() == [8080...8080, 40000...40010])
      let journal = RestoreJournal(path: path)
      try ReservedPorts.reserve(36864...57343, journal: journal)
      #expect(try ReservedPorts.current() == [8080...8080, 36864...57343])
      #expect(journal.undo() == [])
      #expect(try ReservedPorts.current() == [8080...8080, 40000...40010])

      try ReservedPorts.reserve(36864...57343, journal: RestoreJournal(path: path))
      #expect(try RestoreJournal(path: path).undoStale().count == 1)
      #expect(try ReservedPorts.current() == [8080...8080, 40000...40010])
    }
    try run(
      "ip netns exec \(network.host.name) sysctl -q net.ipv4.ip_local_reserved_ports=")
    try network.host {
      let journal = RestoreJournal(path: path)
      try ReservedPorts.reserve(36864...57343, journal: journal)
      #expect(journal.undo() == [])
      #expect(try ReservedPorts.current() == [])
    }
  }

  @Test func portSetNotation() {
    for (text, normal) in [
      ("", ""), ("\n", ""), ("1", "1"), ("1,2,3", "1-3"), ("3-1", ""), ("0-65535", "0-65535"),
      ("65535", "65535"), ("5-7,6-9 , 11\n", "5-9,11"), ("x,70000,12", "12"),
    ] { #expect(PortSet(text: text).text == normal, "\(text)") }
    let set = PortSet(text: "10-20")
    #expect(set.subtracting(PortSet(text: "12,15-30")).text == "10-11,13-14")
    #expect(set.union(PortSet(text: "21,8")).text == "8,10-21")
  }

  @Test func netlinkMessages() {
    var request = NetlinkRequest(type: 18, flags: 0x300, fixedPart: [1, 2, 3, 4, 5])
    request.attribute(3, Array("eth0\0".utf8))
    request.attribute(4, UInt32(1500).nativeBytes)
    let bytes = request.finished(sequence: 7)
    #expect(bytes.count == 16 + 8 + 12 + 8)
    let messages = NetlinkMessage.split((bytes + bytes)[...])
    #expect(messages.count == 2)
    for message in messages {
      #expect(message.type == 18 && message.flags == 0x301 && message.sequence == 7)
      let attributes = message.attributes(after: 5)
      #expect(attributes[3]?.text == "eth0")
      #expect(attributes[4]?.load(0, as: UInt32.self) == 1500)
      #expect(attributes[4]?.load(2, as: UInt32.self) == 0, "beyond the end there are zeros")
      #expect(attributes[5] == nil)
    }
    // Whatever is cut off or lies about its length ends the reading, without a trap.
    for length in 0..<bytes.count {
      #expect(NetlinkMessage.split(bytes.prefix(length)).isEmpty)
    }
    for position in bytes.indices {
      for value: UInt8 in [0, 1, 3, 255] {
        var broken = bytes
        broken[position] = value
        for message in NetlinkMessage.split(broken[...]) {
          _ = message.attributes(after: 5)
          _ = Link(message)
          _ = Neighbour(message)
          _ = InterfaceAddress(message)
          _ = Route(message)
        }
      }
    }
  }
}
