import FSDevice
import FSStack
import Foundation
import Glibc
import Testing

/// What the program does with packets, on a real interface.
@Suite(.serialized) struct XDPProgramTests {
  /// A frame and what is to become of it.
  struct Case {
    var name: String
    var frame: [UInt8]
    var outcome: KeyPath<XDPCounters, UInt64>
  }

  static let listening: UInt16 = 8080
  static let draining: UInt16 = 8081
  /// Owned on all IPv6 addresses, and on no IPv4 address.
  static let wildcard6: UInt16 = 8082
  /// Draining on the host's address, owned elsewhere.
  static let specific: UInt16 = 8083
  static let range: ClosedRange<UInt16> = 36864...57343

  /// IPv4 and VLAN.
  static var frames4: [Case] {
    let toPort = { (port: UInt16) in Frame.ethernet(0x0800, Frame.ipv4(Frame.tcp(to: port))) }
    let owned = Frame.tcp(to: listening)
    let elsewhere = IPAddress(v4: 10, 77, 0, 9)
    return [
      Case(name: "IPv4", frame: toPort(listening), outcome: \.redirectedTCP),
      Case(
        name: "IPv4 options",
        frame: Frame.ethernet(0x0800, Frame.ipv4(options: [1, 1, 1, 0], owned)),
        outcome: \.redirectedTCP),
      Case(
        name: "VLAN", frame: Frame.ethernet(0x0800, tags: [5], Frame.ipv4(owned)),
        outcome: \.redirectedTCP),
      Case(
        name: "two VLAN tags", frame: Frame.ethernet(0x0800, tags: [5, 6], Frame.ipv4(owned)),
        outcome: \.passedNotIP),
      Case(name: "port below the range", frame: toPort(36863), outcome: \.passedOtherPort),
      Case(name: "first of the range", frame: toPort(36864), outcome: \.redirectedTCP),
      Case(name: "last of the range", frame: toPort(57343), outcome: \.redirectedTCP),
      Case(name: "port above the range", frame: toPort(57344), outcome: \.passedOtherPort),
      Case(name: "other port", frame: toPort(22), outcome: \.passedOtherPort),
      Case(name: "IPv6 wildcard by IPv4", frame: toPort(wildcard6), outcome: \.passedOtherPort),
      Case(
        name: "other address",
        frame: Frame.ethernet(0x0800, Frame.ipv4(to: elsewhere, owned)),
        outcome: \.passedOtherAddress),
      Case(
        name: "first fragment",
        frame: Frame.ethernet(0x0800, Frame.ipv4(fragment: 0x2000, owned)),
        outcome: \.redirectedTCP),
      Case(
        name: "first fragment with eight bytes",
        frame: Frame.ethernet(0x0800, Frame.ipv4(fragment: 0x2000, Array(owned.prefix(8)))),
        outcome: \.redirectedTCP),
      Case(
        name: "first fragment, the kernel's",
        frame: Frame.ethernet(0x0800, Frame.ipv4(fragment: 0x2000, Frame.tcp(to: 22))),
        outcome: \.passedOtherPort),
      Case(
        name: "first fragment of ICMP",
        frame: Frame.ethernet(
          0x0800,
          Frame.ipv4(protocol: 1, fragment: 0x2000, Frame.icmp(3, 4, Frame.quoted(from: listening)))
        ),
        outcome: \.passedFragment),
      Case(
        name: "last fragment",
        frame: Frame.ethernet(0x0800, Frame.ipv4(fragment: 0x0010, owned)),
        outcome: \.passedFragment),
      Case(
        name: "UDP", frame: Frame.ethernet(0x0800, Frame.ipv4(protocol: 17, owned)),
        outcome: \.passedOtherProtocol),
      Case(
        name: "ARP", frame: Frame.ethernet(0x0806, [UInt8](repeating: 0, count: 28)),
        outcome: \.passedNotIP),
      Case(name: "SYN, draining", frame: toPort(draining), outcome: \.passedDraining),
      Case(
        name: "ACK, draining",
        frame: Frame.ethernet(0x0800, Frame.ipv4(Frame.tcp(to: draining, flags: Frame.ack))),
        outcome: \.redirectedTCP),
      Case(
        name: "SYN-ACK, draining",
        frame: Frame.ethernet(
          0x0800, Frame.ipv4(Frame.tcp(to: draining, flags: Frame.syn | Frame.ack))),
        outcome: \.redirectedTCP),
      Case(name: "specific before wildcard", frame: toPort(specific), outcome: \.passedDraining),
    ]
  }

  /// TCP for an owned port behind extension headers, of which the first has number `first`.
  static func extended(
    _ name: String, _ first: UInt8, _ headers: [UInt8], _ outcome: KeyPath<XDPCounters, UInt64>
  ) -> Case {
    let payload = headers + Frame.tcp(to: wildcard6)
    return Case(
      name: name, frame: Frame.ethernet(0x86dd, Frame.ipv6(next: first, payload)),
      outcome: outcome)
  }

  /// IPv6, ICMP and what is broken.
  static var others: [Case] {
    let toPort6 = { (port: UInt16) in Frame.ethernet(0x86dd, Frame.ipv6(Frame.tcp(to: port))) }
    let icmp = { (payload: [UInt8]) in
      Frame.ethernet(0x0800, Frame.ipv4(protocol: 1, payload))
    }
    let icmp6 = { (payload: [UInt8]) in Frame.ethernet(0x86dd, Frame.ipv6(next: 58, payload)) }
    let owned = Frame.tcp(to: listening)
    return [
      Case(name: "IPv6, IPv4 wildcard", frame: toPort6(listening), outcome: \.passedOtherPort),
      Case(name: "IPv6", frame: toPort6(wildcard6), outcome: \.redirectedTCP),
      Case(name: "IPv6 range", frame: toPort6(40000), outcome: \.redirectedTCP),
      Case(
        name: "IPv6 VLAN",
        frame: Frame.ethernet(0x86dd, tags: [7], Frame.ipv6(Frame.tcp(to: wildcard6))),
        outcome: \.redirectedTCP),
      Case(
        name: "IPv6 hop-by-hop",
        frame: Frame.ethernet(0x86dd, Frame.ipv6(next: 0, [6, 0, 1, 4, 0, 0, 0, 0] + owned)),
        outcome: \.passedOtherPort),
      extended("hop-by-hop, ours", 0, [6, 0, 1, 4, 0, 0, 0, 0], \.redirectedTCP),
      extended(
        "three headers", 0,
        [43, 0, 1, 4, 0, 0, 0, 0] + [60, 0, 0, 0, 0, 0, 0, 0] + [6, 1, 1, 12]
          + [UInt8](repeating: 0, count: 12), \.redirectedTCP),
      extended(
        "eight headers", 60, (0..<8).flatMap { [$0 == 7 ? 6 : 60, 0, 1, 4, 0, 0, 0, 0] },
        \.redirectedTCP),
      extended(
        "nine headers", 60, (0..<9).flatMap { [$0 == 8 ? 6 : 60, 0, 1, 4, 0, 0, 0, 0] },
        \.passedExtensionHeader),
      extended("header beyond the frame", 60, [6, 255, 1, 4, 0, 0, 0, 0], \.passedMalformed),
      extended("authentication", 51, [6, 4, 0, 0, 0, 0, 0, 0], \.passedExtensionHeader),
      extended("atomic fragment", 44, [6, 0, 0, 0, 0, 0, 0, 1], \.redirectedTCP),
      extended("IPv6 first fragment", 44, [6, 0, 0, 1, 0, 0, 0, 1], \.redirectedTCP),
      extended("IPv6 later fragment", 44, [6, 0, 0, 8, 0, 0, 0, 1], \.passedFragment),
      extended("fragment of UDP", 44, [17, 0, 0, 1, 0, 0, 0, 1], \.passedFragment),
      extended("UDP behind options", 60, [17, 0, 1, 4, 0, 0, 0, 0], \.passedOtherProtocol),
      Case(name: "echo", frame: icmp(Frame.icmp(8)), outcome: \.passedOtherProtocol),
      Case(
        name: "unreachable, ours", frame: icmp(Frame.icmp(3, 4, Frame.quoted(from: listening))),
        outcome: \.redirectedICMP),
      Case(
        name: "time exceeded, active", frame: icmp(Frame.icmp(11, 0, Frame.quoted(from: 40000))),
        outcome: \.redirectedICMP),
      Case(
        name: "parameter problem", frame: icmp(Frame.icmp(12, 0, Frame.quoted(from: 40000))),
        outcome: \.redirectedICMP),
      Case(
        name: "unreachable, the kernel's", frame: icmp(Frame.icmp(3, 1, Frame.quoted(from: 22))),
        outcome: \.passedOtherPort),
      Case(
        name: "unreachable, UDP",
        frame: icmp(Frame.icmp(3, 3, Frame.quoted(from: listening, protocol: 17))),
        outcome: \.passedOtherProtocol),
      Case(
        name: "packet too big", frame: icmp6(Frame.icmp(2, 0, Frame.quoted6(from: wildcard6))),
        outcome: \.redirectedICMP),
      Case(
        name: "packet too big, the kernel's",
        frame: icmp6(Frame.icmp(2, 0, Frame.quoted6(from: 22))), outcome: \.passedOtherPort),
      Case(name: "echo 6", frame: icmp6(Frame.icmp(128)), outcome: \.passedOtherProtocol),
      Case(
        name: "IPv4 truncated",
        frame: Array(Frame.ethernet(0x0800, Frame.ipv4(owned)).prefix(33)),
        outcome: \.passedMalformed),
      Case(
        name: "TCP truncated",
        frame: Array(Frame.ethernet(0x0800, Frame.ipv4(owned)).prefix(53)),
        outcome: \.passedMalformed),
      Case(
        name: "IPv4 header of 16 bytes",
        frame: Frame.ethernet(0x0800, [0x44] + Frame.ipv4(owned).dropFirst()),
        outcome: \.passedMalformed),
    ]
  }

  @Test(arguments: [XDPProgram.AttachPreference.native, .generic])
  func classifies(preference: XDPProgram.AttachPreference) throws {
    let network = try TestNetwork()
    let program = try network.program(preference)
    let socket = try network.socket(program)
    try program.setSocket(queue: 0, descriptor: socket.descriptor)
    try program.setPort(XDPProgram.anyIPv4, Self.listening, flags: [])
    try program.setPort(XDPProgram.anyIPv4, Self.draining, flags: .draining)
    try program.setPort(XDPProgram.anyIPv6, Self.wildcard6, flags: [])
    try program.setPort(XDPProgram.anyIPv4, Self.specific, flags: [])
    try program.setPort(TestNetwork.hostAddress, Self.specific, flags: .draining)
    program.setActiveRange(Self.range)
    let peer = try network.peer { try PacketSocket(on: "fsdev1") }

    for each in Self.frames4 + Self.others {
      let before = program.counters()[keyPath: each.outcome]
      try peer.send(each.frame)
      let counted = eventually { program.counters()[keyPath: each.outcome] > before }
      #expect(counted, "\(each.name): \(program.counters())")
      var received: [[UInt8]] = []
      _ = socket.receiveBurst(maximum: 64, announce: { _ in }) { received.append(Array($0)) }
      let isOurs = each.outcome == \.redirectedTCP || each.outcome == \.redirectedICMP
      #expect(received == (isOurs ? [each.frame] : []), "\(each.name)")
    }
  }

  /// What is left when entries of a port come and go in any order.
  @Test func wildcardSpecificAndRangeAreIndependent() throws {
    let network = try TestNetwork()
    let program = try network.program()
    let socket = try network.socket(program)
    try program.setSocket(queue: 0, descriptor: socket.descriptor)
    let peer = try network.peer { try PacketSocket(on: "fsdev1") }
    let any = XDPProgram.anyIPv4
    let host = TestNetwork.hostAddress
    let elsewhere = IPAddress(v4: 10, 77, 0, 99)
    let port: UInt16 = 40000
    let steps: [(String, KeyPath<XDPCounters, UInt64>, () throws -> Void)] = [
      ("nothing", \.passedOtherPort, {}),
      (
        "specific elsewhere", \.passedOtherPort, { try program.setPort(elsewhere, port, flags: []) }
      ),
      ("in the range too", \.redirectedTCP, { program.setActiveRange(36864...57343) }),
      ("wildcard", \.passedDraining, { try program.setPort(any, port, flags: .draining) }),
      ("specific", \.redirectedTCP, { try program.setPort(host, port, flags: []) }),
      ("no specific", \.passedDraining, { program.removePort(host, port) }),
      ("no wildcard", \.redirectedTCP, { program.removePort(any, port) }),
      ("no range", \.passedOtherPort, { program.setActiveRange(nil) }),
      ("specific alone", \.redirectedTCP, { try program.setPort(host, port, flags: []) }),
      ("not elsewhere", \.redirectedTCP, { program.removePort(elsewhere, port) }),
      ("address gone", \.passedOtherAddress, { program.removeAddress(host) }),
      ("address back", \.redirectedTCP, { try program.addAddress(host) }),
      ("nothing again", \.passedOtherPort, { program.removePort(host, port) }),
    ]
    for (name, outcome, step) in steps {
      try step()
      let before = program.counters()[keyPath: outcome]
      try peer.send(Frame.ethernet(0x0800, Frame.ipv4(Frame.tcp(to: port))))
      #expect(
        eventually { program.counters()[keyPath: outcome] > before },
        "\(name): \(program.counters())")
    }
  }

  @Test func attachesDetachesAndRefusesASecond() throws {
    let network = try TestNetwork()
    let program = try network.program()
    #expect(program.attachMode == .native)
    #expect(program.nativeRefusal == nil)
    #expect(try network.ip("-d link show fsdev0").contains("prog/xdp id \(program.programID)"))

    for preference in [XDPProgram.AttachPreference.automatic, .native, .generic] {
      #expect(
        throws: DeviceError.alreadyAttached(
          interface: "fsdev0", programID: program.programID)
      ) { try network.program(preference) }
    }
    let error = DeviceError.alreadyAttached(interface: "fsdev0", programID: 7)
    #expect(
      error.description
        == "XDP program already attached to fsdev0 by someone else (program id 7)")

    program.close()
    try program.setPort(XDPProgram.anyIPv4, 80, flags: [])
    program.setActiveRange(1...2)
    #expect(program.counters() == XDPCounters(), "a closed program takes no harm")
    #expect(try !network.ip("-d link show fsdev0").contains("xdp"))
    let again = try network.program(.generic)
    #expect(again.attachMode == .generic)
  }

  @Test func detachesWhenTheProcessDies() async throws {
    let network = try TestNetwork()
    let name = network.host.name
    await #expect(processExitsWith: .signal(SIGKILL)) { [name = name as String] in
      let program = try Namespace(name: name) {
        try XDPProgram(interface: NetworkInterface(named: "fsdev0"))
      }
      try program.addAddress(TestNetwork.hostAddress)
      kill(getpid(), SIGKILL)
    }
    #expect(try eventually { try !network.ip("-d link show fsdev0").contains("xdp") })
    _ = try network.program()
  }
}
