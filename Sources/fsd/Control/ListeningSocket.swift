import CLinux
import FSDevice
import FSStack
import Glibc

/// What the daemon reads from a listening socket that an application shows it.
struct ListeningSocket: Equatable, Sendable {
  var address: IPAddress
  var port: UInt16
  var ipv6Only: Bool
  /// SO_COOKIE: the same socket shown twice, or by two processes, has the same one.
  var cookie: UInt64
  var options = ListenerOptions()

  /// Reads it; the errno value that says what is wrong with the socket otherwise. `own` is any socket of the
  /// daemon's, which says what its network namespace is.
  static func inspect(
    _ descriptor: Int32, beside own: Int32
  ) -> Result<ListeningSocket, ErrnoValue> {
    guard let family = option(descriptor, SOL_SOCKET, SO_DOMAIN) else {
      return .failure(ErrnoValue(errno))
    }
    guard family == AF_INET || family == AF_INET6 else {
      return .failure(ErrnoValue(EAFNOSUPPORT))
    }
    guard option(descriptor, SOL_SOCKET, SO_TYPE) == Int32(SOCK_STREAM.rawValue),
      option(descriptor, SOL_SOCKET, SO_PROTOCOL) == Int32(IPPROTO_TCP)
    else { return .failure(ErrnoValue(EPROTOTYPE)) }
    guard isListening(descriptor) else { return .failure(ErrnoValue(EINVAL)) }
    guard sharesNetwork(descriptor, with: own) else { return .failure(ErrnoValue(EOPNOTSUPP)) }
    guard let cookie = wideOption(descriptor, SO_COOKIE) else {
      return .failure(ErrnoValue(errno))
    }
    // Last: the kernel locks the socket for it, and one that does not listen may be locked for long.
    var storage = sockaddr_storage()
    var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
    let result = unsafe withUnsafeMutablePointer(to: &storage) { storage in
      unsafe storage.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        unsafe getsockname(descriptor, $0, &length)
      }
    }
    guard result == 0 else { return .failure(ErrnoValue(errno)) }
    let (address, port) = endpoint(&storage)
    let ipv6Only = family == AF_INET6 && option(descriptor, Int32(IPPROTO_IPV6), IPV6_V6ONLY) == 1
    return .success(
      ListeningSocket(
        address: address, port: port, ipv6Only: ipv6Only, cookie: cookie,
        options: options(of: descriptor)))
  }

  /// Whether a descriptor is that of a socket that listens.
  static func isListening(_ descriptor: Int32) -> Bool {
    option(descriptor, SOL_SOCKET, SO_ACCEPTCONN) == 1
  }

  /// Whether the kernel would give the socket what arrives at the daemon's interfaces. In a network namespace of
  /// one's own any port can be bound, and beside a socket that is bound to one interface any user can bind
  /// another to the same port. Kernels before 5.14 do not tell the namespace.
  private static func sharesNetwork(_ descriptor: Int32, with own: Int32) -> Bool {
    wideOption(descriptor, SO_NETNS_COOKIE) == wideOption(own, SO_NETNS_COOKIE)
      && option(descriptor, SOL_SOCKET, SO_BINDTOIFINDEX) ?? 0 == 0
  }

  /// The options that engines have to know.
  private static func options(of descriptor: Int32) -> ListenerOptions {
    var options = ListenerOptions()
    let tcp = Int32(IPPROTO_TCP)
    options.deferAccept = Int(option(descriptor, tcp, TCP_DEFER_ACCEPT) ?? 0)
    // One that was not set tells the number for outgoing connections, or 536.
    if let retries = option(descriptor, tcp, TCP_SYNCNT), retries != usualConnectRetries {
      options.synchronizeRetries = UInt8(clamping: retries)
    }
    if let size = option(descriptor, tcp, TCP_MAXSEG), size != 536 {
      options.maximumSegmentSize = UInt16(clamping: size)
    }
    return options
  }

  private static var usualConnectRetries: Int32 {
    (try? TextFile.readLine("/proc/sys/net/ipv4/tcp_syn_retries")).flatMap { Int32($0) } ?? 6
  }

  private static func option(_ descriptor: Int32, _ level: Int32, _ name: Int32) -> Int32? {
    var value: Int32 = 0
    var length = socklen_t(MemoryLayout<Int32>.size)
    guard unsafe getsockopt(descriptor, level, name, &value, &length) == 0 else { return nil }
    return value
  }

  /// A number of 64 bits that the kernel gave to a socket or to what it belongs to.
  private static func wideOption(_ descriptor: Int32, _ name: Int32) -> UInt64? {
    var value: UInt64 = 0
    var length = socklen_t(MemoryLayout<UInt64>.size)
    guard unsafe getsockopt(descriptor, SOL_SOCKET, name, &value, &length) == 0 else { return nil }
    return value
  }

  private static func endpoint(_ storage: inout sockaddr_storage) -> (IPAddress, UInt16) {
    unsafe withUnsafeBytes(of: &storage) { bytes in
      // Both families have the port behind the family; the address follows it in AF_INET, and the
      // flow label in AF_INET6.
      let port = UInt16(bigEndian: unsafe bytes.loadUnaligned(fromByteOffset: 2, as: UInt16.self))
      let family = Int32(unsafe bytes.loadUnaligned(as: sa_family_t.self))
      let range = family == AF_INET ? 4..<8 : 8..<24
      return (unsafe IPAddress(bytes: UnsafeRawBufferPointer(rebasing: bytes[range])), port)
    }
  }
}

/// An errno value as an error.
struct ErrnoValue: Error, Equatable {
  let code: Int32

  init(_ code: Int32) {
    self.code = code
  }
}
