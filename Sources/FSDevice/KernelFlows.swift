import CXDP
import Glibc

/// The TCP sockets that the kernel itself has on local ports, in the calling thread's network
/// namespace.
public enum KernelFlows {
  /// How many there are.
  public struct Count: Equatable, Sendable {
    /// Connections, half-open ones included.
    public var live = 0
    /// Connections in TIME-WAIT.
    public var timeWait = 0
    /// Listening sockets.
    public var listening = 0
    /// The ports that any of them is on.
    public var ports: Set<UInt16> = []

    /// None.
    public init() {}
  }

  /// Counts those on one port.
  public static func count(localPort port: UInt16) throws(DeviceError) -> Count {
    try count(localPorts: port...port)
  }

  /// Counts those on a range of ports.
  public static func count(localPorts range: ClosedRange<UInt16>) throws(DeviceError) -> Count {
    var result = Count()
    try forEachSocket(range, states: .max) { message in
      // struct inet_diag_msg: family, state, timer, retrans, then the ports in network order.
      let port = UInt16(bigEndian: message.load(4, as: UInt16.self))
      guard range.contains(port) else { return }
      switch Int(message.load(1, as: UInt8.self)) {
      case listen: result.listening += 1
      case timeWait: result.timeWait += 1
      case closed: return
      default: result.live += 1
      }
      result.ports.insert(port)
    }
    return result
  }

  /// The cookies (SO_COOKIE) of the sockets that listen. Of a list that changes while it is read one may be missing.
  public static func listeningCookies() throws(DeviceError) -> Set<UInt64> {
    var cookies: Set<UInt64> = []
    try forEachSocket(0...UInt16.max, states: 1 << UInt32(listen)) { message in
      // In struct inet_diag_sockid, behind ports, addresses and interface: the lower half first.
      cookies.insert(
        UInt64(message.load(44, as: UInt32.self))
          | UInt64(message.load(48, as: UInt32.self)) << 32)
    }
    return cookies
  }

  /// Gives `body` the struct inet_diag_msg of each socket of either family.
  private static func forEachSocket(
    _ range: ClosedRange<UInt16>, states: UInt32, _ body: (ByteView) -> Void
  ) throws(DeviceError) {
    let socket = try NetlinkSocket(protocol: NETLINK_SOCK_DIAG, subject: "the kernel's sockets")
    for family in [AF_INET, AF_INET6] {
      let request = request(family: UInt8(family), range, states: states)
      for message in try socket.request(request) { body(message.body) }
    }
  }

  // From <linux/tcp.h>, where they stand in an enumeration of the kernel.
  private static let timeWait = 6
  private static let closed = 7
  private static let listen = 10

  /// A dump of some states, a bit for each, that the kernel itself filters by port: it may have very many sockets.
  private static func request(
    family: UInt8, _ range: ClosedRange<UInt16>, states: UInt32
  ) -> NetlinkRequest {
    // struct inet_diag_req_v2: family, protocol, extensions, padding, states, then the identity of
    // one socket, which a dump does not use.
    let fixedPart =
      [family, UInt8(IPPROTO_TCP), 0, 0] + states.nativeBytes
      + [UInt8](repeating: 0, count: MemoryLayout<inet_diag_sockid>.size)
    var request = NetlinkRequest(
      type: Int32(SOCK_DIAG_BY_FAMILY), flags: NLM_F_DUMP, fixedPart: fixedPart)
    // struct inet_diag_bc_op: code, bytes to the next if true, bytes to the next if false. The port
    // stands in an operation of its own. To jump over the end by four is to reject.
    let program =
      [UInt8(INET_DIAG_BC_S_GE), 8] + UInt16(20).nativeBytes
      + [UInt8(INET_DIAG_BC_NOP), 4] + range.lowerBound.nativeBytes
      + [UInt8(INET_DIAG_BC_S_LE), 8] + UInt16(12).nativeBytes
      + [UInt8(INET_DIAG_BC_NOP), 4] + range.upperBound.nativeBytes
    request.attribute(INET_DIAG_REQ_BYTECODE, program)
    return request
  }
}
