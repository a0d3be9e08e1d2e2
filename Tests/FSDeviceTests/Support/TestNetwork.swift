import FSDevice
import FSStack
import Foundation
import Glibc
import Synchronization

/// Two namespaces and a cable: the host, on whose end `fsdev0` the stack would live, and a peer with
/// the other end `fsdev1`. Gone when the object is.
final class TestNetwork {
  static let hostAddress = IPAddress(v4: 10, 77, 0, 1)
  static let peerAddress = IPAddress(v4: 10, 77, 0, 2)
  static let hostAddress6 = address("fd77::1")
  static let peerAddress6 = address("fd77::2")
  static let hostMAC = MACAddress(2, 0x77, 0, 0, 0, 1)
  static let peerMAC = MACAddress(2, 0x77, 0, 0, 0, 2)

  private static let serial = Atomic<Int>(0)

  let host: Namespace
  let peer: Namespace

  init(queues: Int = 1) throws {
    let number = TestNetwork.serial.add(1, ordering: .relaxed).newValue
    host = Namespace(name: "fsdev-h-\(getpid())-\(number)")
    peer = Namespace(name: "fsdev-p-\(getpid())-\(number)")
    try run("ip netns add \(host.name)")
    try run("ip netns add \(peer.name)")
    // Only the packets of the test itself: no router solicitations, no duplicate address detection.
    for namespace in [host, peer] {
      for scope in ["all", "default"] {
        try run(
          "ip netns exec \(namespace.name) sysctl -q net.ipv6.conf.\(scope).accept_dad=0"
            + " net.ipv6.conf.\(scope).router_solicitations=0")
      }
    }
    let size = "numrxqueues \(queues) numtxqueues \(queues)"
    try run(
      "ip -n \(host.name) link add fsdev0 address \(TestNetwork.hostMAC.description) \(size)"
        + " type veth peer name fsdev1 address \(TestNetwork.peerMAC.description) \(size)"
        + " netns \(peer.name)")
    try configure(host, "fsdev0", "10.77.0.1/24", "fd77::1/64")
    try configure(peer, "fsdev1", "10.77.0.2/24", "fd77::2/64")
  }

  deinit {
    _ = try? run("ip netns del \(host.name)")
    _ = try? run("ip netns del \(peer.name)")
  }

  private func configure(
    _ namespace: Namespace, _ name: String, _ v4: String, _ v6: String
  ) throws {
    try run("ip -n \(namespace.name) link set lo up")
    try run("ip -n \(namespace.name) link set \(name) up")
    try run("ip -n \(namespace.name) addr add \(v4) dev \(name)")
    try run("ip -n \(namespace.name) addr add \(v6) dev \(name) nodad")
  }

  /// Runs iproute2 in the host's namespace.
  @discardableResult
  func ip(_ arguments: String) throws -> String { try run("ip -n \(host.name) \(arguments)") }

  /// The host's interface.
  func interface() throws -> NetworkInterface {
    try host { try NetworkInterface(named: "fsdev0") }
  }

  /// A program on the host's interface, with the host's addresses.
  func program(
    _ preference: XDPProgram.AttachPreference = .automatic
  ) throws -> XDPProgram {
    let program = try host {
      try XDPProgram(interface: NetworkInterface(named: "fsdev0"), prefer: preference)
    }
    try program.addAddress(TestNetwork.hostAddress)
    try program.addAddress(TestNetwork.hostAddress6)
    return program
  }

  /// A socket on the host's interface.
  func socket(
    _ program: XDPProgram, queue: Int = 0,
    _ change: (inout XDPSocket.Configuration) -> Void = { _ in }
  ) throws -> XDPSocket {
    try host {
      let interface = try NetworkInterface(named: "fsdev0")
      var configuration = XDPSocket.Configuration(for: interface)
      configuration.receiveFrames = 512
      configuration.transmitFrames = 1024
      change(&configuration)
      return try XDPSocket(
        interface: interface, queue: queue, attachMode: program.attachMode,
        configuration: configuration)
    }
  }

  static func address(_ text: String) -> IPAddress {
    guard let address = IPAddress(text) else { fatalError("not an address: \(text)") }
    return address
  }
}
