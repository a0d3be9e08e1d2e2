import CXDP
import FSStack
import Glibc

/// A TCP socket of the kernel that goes on with a connection of an engine: TCP_REPAIR, as CRIU uses it
/// (net/ipv4/tcp.c; it has no manual page). Needs CAP_NET_ADMIN, and CAP_NET_BIND_SERVICE for ports
/// below 1024.
public enum KernelConnection {
  /// Makes the socket, in the calling thread's network namespace, and returns its descriptor, which is
  /// close-on-exec and blocks. Nothing has been lost: what was not read can be read, what was not
  /// acknowledged will be sent again, and the peer is told at once that we are here.
  ///
  /// The peer's FIN is not among what can be repaired. The socket's reading side is shut down in its
  /// stead, which shows programs the same: an end behind the bytes. `ss` shows ESTAB, and after our own
  /// FIN the kernel waits for one that has been (60 s, a record of 200 bytes). Ours, if it has been sent,
  /// is sent again.
  ///
  /// If it fails, the peer is reset where the kernel has got so far that it can.
  public static func make(_ order: Order) throws(DeviceError) -> Int32 { try make([order])[0] }

  /// What a socket is to be made of.
  public struct Order {
    /// The connection.
    public var connection: ExportedConnection
    /// Of AF_INET6, also if the addresses are IPv4's.
    public var isIPv6: Bool
    /// Whom it shall belong to, as `ss -e` and the rules for SO_REUSEPORT see it.
    public var user: UInt32

    /// An order for one socket.
    public init(_ connection: ExportedConnection, isIPv6: Bool, user: UInt32) {
      self.connection = connection
      self.isIPv6 = isIPv6
      self.user = user
    }
  }

  /// Makes several sockets, none of which sends anything before all are there: both ends of a connection
  /// within this host. If it fails there is none.
  public static func make(_ orders: [Order]) throws(DeviceError) -> [Int32] {
    var repairs: [Repair] = []
    do throws(DeviceError) {
      for order in orders {
        let family = order.isIPv6 || !order.connection.address.local.isIPv4 ? AF_INET6 : AF_INET
        let number = socket(family, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        guard number >= 0 else { throw .last("opening", "a socket") }
        let repair = Repair(socket: number, connection: order.connection)
        repairs.append(repair)
        if family == AF_INET6 { try repair.set(Int32(IPPROTO_IPV6), IPV6_V6ONLY, 0) }
        try repair.deafen()
        try repair.establish(family)
        try repair.fill()
      }
      for repair in repairs { try repair.listenAgain() }
      for (repair, order) in zip(repairs, orders) { try repair.finish(user: order.user) }
    } catch {
      for repair in repairs { repair.abandon() }
      throw error
    }
    return repairs.map(\.socket)
  }
}

/// The steps, each of which needs the ones before.
private struct Repair {
  let socket: Int32
  let connection: ExportedConnection

  private static let tcp = Int32(IPPROTO_TCP)
  /// TCP_NO_QUEUE, TCP_RECV_QUEUE, TCP_SEND_QUEUE: an enumeration that Swift does not see.
  private enum Queue: Int32 {
    case none, receive, send
  }
  /// Bytes that are given to the kernel at a time: it makes one buffer of each.
  private static let piece = 32 * 1024
  /// SO_BUF_LOCK, which Glibc does not know yet.
  private static let bufferLock: Int32 = 72

  func set(_ level: Int32, _ name: Int32, _ value: Int32) throws(DeviceError) {
    var value = value
    guard unsafe setsockopt(socket, level, name, &value, 4) == 0 else {
      throw .last("setting option \(name) of", "a socket")
    }
  }

  private func set<Value: BitwiseCopyable>(
    _ name: Int32, value: Value, _ operation: String
  ) throws(DeviceError) {
    let result = unsafe withUnsafeBytes(of: value) {
      unsafe setsockopt(socket, Self.tcp, name, $0.baseAddress, socklen_t($0.count))
    }
    guard result == 0 else { throw .last(operation, "a connection") }
  }

  private func select(_ queue: Queue) throws(DeviceError) {
    try set(Self.tcp, TCP_REPAIR_QUEUE, queue.rawValue)
  }

  /// Has the kernel drop what the peer sends, silently. It finds the socket as soon as the connection has
  /// its addresses, but a segment that arrived before everything else is in place would be answered with a
  /// wrong clock, by which the peer would judge all that follow (RFC 7323 section 5.3), would stand in the
  /// queue before bytes that are older, or, with a FIN, would end the repair. The peer sends it again.
  func deafen() throws(DeviceError) {
    // BPF_RET | BPF_K: the filter keeps no byte of any packet.
    var nothing = sock_filter(code: UInt16(BPF_RET | BPF_K), jt: 0, jf: 0, k: 0)
    let result = unsafe withUnsafeMutablePointer(to: &nothing) { instruction in
      var program = unsafe sock_fprog(len: 1, filter: instruction)
      return unsafe setsockopt(
        socket, SOL_SOCKET, SO_ATTACH_FILTER, &program, socklen_t(MemoryLayout<sock_fprog>.size))
    }
    guard result == 0 else { throw .last("filtering the packets of", "a socket") }
  }

  /// Everything is in place: what arrives from now on is the connection's.
  func listenAgain() throws(DeviceError) { try set(SOL_SOCKET, SO_DETACH_FILTER, 0) }

  /// The connection, without a segment: addresses and sequence numbers.
  func establish(_ family: Int32) throws(DeviceError) {
    // From here on the kernel lets it bind where others listen.
    try set(Self.tcp, TCP_REPAIR, 1)
    let address = connection.address
    unsafe try call(Glibc.bind, "binding", family, address.local, address.localPort)
    try select(.send)
    try set(TCP_QUEUE_SEQ, value: connection.sendUnacknowledged, "numbering the bytes of")
    try select(.receive)
    let first = connection.receiveNext &- UInt32(connection.unread.count)
    try set(TCP_QUEUE_SEQ, value: first, "numbering the bytes of")
    unsafe try call(Glibc.connect, "continuing", family, address.remote, address.remotePort)
  }

  private func call(
    _ function: (Int32, UnsafePointer<sockaddr>?, socklen_t) -> Int32, _ operation: String,
    _ family: Int32, _ address: IPAddress, _ port: UInt16
  ) throws(DeviceError) {
    var bytes = [UInt8](repeating: 0, count: 28)
    unsafe bytes.withUnsafeMutableBytes { bytes in
      unsafe bytes.storeBytes(of: sa_family_t(family), as: sa_family_t.self)
      unsafe bytes.storeBytes(of: port.bigEndian, toByteOffset: 2, as: UInt16.self)
      if family == AF_INET6 {
        unsafe bytes.storeBytes(of: address.high, toByteOffset: 8, as: UInt64.self)
        unsafe bytes.storeBytes(of: address.low, toByteOffset: 16, as: UInt64.self)
      } else {
        unsafe address.withBytes { unsafe bytes[4..<8].copyBytes(from: $0) }
      }
    }
    let length = socklen_t(family == AF_INET6 ? 28 : 16)
    let result = unsafe bytes.withUnsafeBytes { bytes in
      unsafe bytes.withMemoryRebound(to: sockaddr.self) {
        unsafe function(socket, $0.baseAddress, length)
      }
    }
    guard result == 0 else { throw .last(operation, "\(address) port \(port)") }
  }

  /// What both sides have agreed upon, and the bytes under way.
  func fill() throws(DeviceError) {
    try agree()
    try makeRoom()
    try select(.receive)
    try write(connection.unread)
    try select(.send)
    try write(connection.unacknowledged)
    try select(.none)
    let window = tcp_repair_window(
      snd_wl1: connection.windowUpdateSequence, snd_wnd: connection.sendWindow,
      max_window: max(connection.largestSendWindow, connection.sendWindow),
      rcv_wnd: connection.receiveWindow, rcv_wup: connection.receiveNext)
    try set(TCP_REPAIR_WINDOW, value: window, "setting the windows of")
  }

  private func agree() throws(DeviceError) {
    var options = [
      tcp_repair_opt(
        opt_code: UInt32(TCPOPT_MAXSEG), opt_val: UInt32(connection.maximumSegmentSize))
    ]
    if connection.sendScale != 0 || connection.receiveScale != 0 {
      options.append(
        tcp_repair_opt(
          opt_code: UInt32(TCPOPT_WINDOW),
          opt_val: UInt32(connection.sendScale) | UInt32(connection.receiveScale) << 16))
    }
    if connection.permitsSelectiveAcknowledgements {
      options.append(tcp_repair_opt(opt_code: UInt32(TCPOPT_SACK_PERMITTED), opt_val: 0))
    }
    if connection.timestamp != nil {
      options.append(tcp_repair_opt(opt_code: UInt32(TCPOPT_TIMESTAMP), opt_val: 0))
    }
    let result = unsafe options.withUnsafeBytes {
      unsafe setsockopt(
        socket, Self.tcp, TCP_REPAIR_OPTIONS, $0.baseAddress, socklen_t($0.count))
    }
    guard result == 0 else { throw .last("setting the options of", "a connection") }
    if let value = connection.timestamp {
      // An odd value would make the clock count microseconds (Linux 6.7 and later).
      try set(TCP_TIMESTAMP, value: (value &+ 1) & ~1, "setting the clock of")
    }
  }

  /// Buffers large enough for what there is. The kernel counts its own overhead, and doubles what it is
  /// told. Afterwards they are its own to size again.
  private func makeRoom() throws(DeviceError) {
    let queued = connection.unacknowledged.count + connection.unsent.count
    if queued > Self.piece / 2 {
      try set(SOL_SOCKET, SO_SNDBUFFORCE, Int32(clamping: queued + 2 * Self.piece))
    }
    if connection.unread.count > Self.piece / 2 {
      try set(
        SOL_SOCKET, SO_RCVBUFFORCE, Int32(clamping: connection.unread.count + 2 * Self.piece))
    }
    // Linux before 5.12 has no such option; the sizes then stay.
    _ = try? set(SOL_SOCKET, Self.bufferLock, 0)
  }

  private func write(_ bytes: [UInt8]) throws(DeviceError) {
    var rest = bytes[...]
    while !rest.isEmpty {
      let count = unsafe rest.prefix(Self.piece).withUnsafeBytes {
        unsafe send(
          socket, $0.baseAddress, $0.count, Int32(MSG_DONTWAIT | Int(MSG_NOSIGNAL)))
      }
      guard count > 0 else { throw .last("filling the queues of", "a connection") }
      rest = rest.dropFirst(count)
    }
  }

  /// The connection is alive.
  func finish(user: UInt32) throws(DeviceError) {
    // Sends a window probe, which tells the peer's timestamp and that nothing is missing.
    try set(Self.tcp, TCP_REPAIR, 0)
    try write(connection.unsent)
    if connection.isReadOver { try shut(SHUT_RD) }
    if connection.isWriteShut { try shut(SHUT_WR) }
    // As sockets that a listener has accepted, it must not keep a later listener from its port. The end
    // of the repair has cleared the first of these.
    try set(SOL_SOCKET, SO_REUSEADDR, 1)
    try set(SOL_SOCKET, SO_REUSEPORT, 1)
    // Without CAP_CHOWN it stays the daemon's.
    _ = fchown(socket, user, gid_t.max)
  }

  private func shut(_ how: Int) throws(DeviceError) {
    // A peer that has gone in the meantime is no error of ours: the application will see it.
    guard shutdown(socket, Int32(how)) == 0 || errno == ENOTCONN else {
      throw .last("shutting down", "a connection")
    }
  }

  /// Closes what has not become a connection, with RST as far as the kernel can send one.
  func abandon() {
    let code = errno
    _ = try? set(Self.tcp, TCP_REPAIR, -1)
    var abort = linger(l_onoff: 1, l_linger: 0)
    _ = unsafe setsockopt(
      socket, SOL_SOCKET, SO_LINGER, &abort, socklen_t(MemoryLayout<linger>.size))
    close(socket)
    errno = code
  }
}
