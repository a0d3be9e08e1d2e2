import CShim

/// An address and port of the application's, as the shared memory holds them.
struct SocketEndpoint {
  var high: UInt64 = 0
  var low: UInt64 = 0
  /// Host order.
  var port: UInt16 = 0
  var isIPv6 = false
  /// A link-local address with an interface, which only the kernel can use.
  var hasScope = false

  /// The low word's half that marks a mapped IPv4 address: 0000:ffff, as it stands in memory.
  private static var mappedMark: UInt64 { 0xffff_0000 }

  /// Reads what the application gave; nil if it is no IPv4 or IPv6 address.
  static func read(_ address: UnsafePointer<sockaddr>?, _ length: socklen_t) -> Self? {
    guard let address, length >= 2 else { return nil }
    var endpoint = Self()
    switch Int32(address.pointee.sa_family) {
    case AF_INET:
      guard length >= socklen_t(MemoryLayout<sockaddr_in>.size) else { return nil }
      let value = UnsafeRawPointer(address).loadUnaligned(as: sockaddr_in.self)
      endpoint.low = mappedMark | UInt64(value.sin_addr.s_addr) << 32
      endpoint.port = UInt16(bigEndian: value.sin_port)
    case AF_INET6:
      // The scope may be missing (RFC 2133 had none).
      guard length >= 24 else { return nil }
      let raw = UnsafeRawPointer(address)
      endpoint.port = UInt16(bigEndian: raw.loadUnaligned(fromByteOffset: 2, as: UInt16.self))
      endpoint.high = raw.loadUnaligned(fromByteOffset: 8, as: UInt64.self)
      endpoint.low = raw.loadUnaligned(fromByteOffset: 16, as: UInt64.self)
      endpoint.isIPv6 = true
      if length >= 28 {
        endpoint.hasScope = raw.loadUnaligned(fromByteOffset: 24, as: UInt32.self) != 0
      }
    default:
      return nil
    }
    return endpoint
  }

  /// Whether it is an IPv4 address, mapped or not.
  var isIPv4: Bool { high == 0 && low & 0xffff_ffff == Self.mappedMark }

  /// The first byte of the IPv4 address.
  private var firstByte: UInt8 { UInt8(truncatingIfNeeded: low >> 32) }

  /// Whether no address is named.
  var isWildcard: Bool { isIPv4 ? low >> 32 == 0 : high == 0 && low == 0 }

  /// Whether it is the host itself, whatever its addresses.
  var isLoopback: Bool {
    isIPv4 ? firstByte == 127 : high == 0 && low == UInt64(1).byteSwapped
  }

  /// Whether only the kernel can carry a connection there, whatever the routes.
  var isKernelOnly: Bool {
    if hasScope || isWildcard || port == 0 { return true }
    if isLoopback { return !fs_accelerates_loopback() }
    if isIPv4 { return firstByte >= 224 || firstByte == 0 }
    let first = UInt8(truncatingIfNeeded: high)
    // Multicast, link-local.
    return first == 0xff
      || first == 0xfe && UInt8(truncatingIfNeeded: high >> 8) & 0xc0 == 0x80
  }

  /// Writes it as the address of a socket of a family, as far as there is room, and the length that
  /// it has.
  static func write(
    high: UInt64, low: UInt64, port: UInt16, isIPv6: Bool,
    to address: UnsafeMutablePointer<sockaddr>?, _ length: UnsafeMutablePointer<socklen_t>?
  ) {
    guard let address, let length else { return }
    let capacity = Int(length.pointee)
    if isIPv6 {
      var value = sockaddr_in6()
      value.sin6_family = sa_family_t(AF_INET6)
      value.sin6_port = port.bigEndian
      withUnsafeMutableBytes(of: &value.sin6_addr) {
        $0.storeBytes(of: high, toByteOffset: 0, as: UInt64.self)
        $0.storeBytes(of: low, toByteOffset: 8, as: UInt64.self)
      }
      copy(&value, MemoryLayout<sockaddr_in6>.size, to: address, capacity)
      length.pointee = socklen_t(MemoryLayout<sockaddr_in6>.size)
    } else {
      var value = sockaddr_in()
      value.sin_family = sa_family_t(AF_INET)
      value.sin_port = port.bigEndian
      value.sin_addr.s_addr = UInt32(truncatingIfNeeded: low >> 32)
      copy(&value, MemoryLayout<sockaddr_in>.size, to: address, capacity)
      length.pointee = socklen_t(MemoryLayout<sockaddr_in>.size)
    }
  }

  private static func copy(
    _ value: UnsafeRawPointer, _ size: Int, to address: UnsafeMutableRawPointer, _ capacity: Int
  ) {
    address.copyMemory(from: value, byteCount: min(size, max(capacity, 0)))
  }
}

/// getsockname(2).
@c @implementation
public func fs_getsockname(
  _ fd: Int32, _ address: UnsafeMutablePointer<sockaddr>?,
  _ length: UnsafeMutablePointer<socklen_t>?
) -> Int64 {
  name(fd, address, length, refusal: { _ in 0 }) { socket in
    SocketEndpoint.write(
      high: socket.pointee.localHigh,
      low: socket.pointee.isIPv6 || socket.pointee.localLow != 0 ? socket.pointee.localLow : 0,
      port: socket.pointee.localPort, isIPv6: socket.pointee.isIPv6, to: address, length)
    return 0
  }
}

/// getpeername(2).
@c @implementation
public func fs_getpeername(
  _ fd: Int32, _ address: UnsafeMutablePointer<sockaddr>?,
  _ length: UnsafeMutablePointer<socklen_t>?
) -> Int64 {
  // As Linux: a connection that has ended has no peer any more.
  if isOver(fd) { return failure(ENOTCONN) }
  return name(fd, address, length) { socket in
    socket.pointee.state == .connected ? 0 : failure(ENOTCONN)
  } body: { socket in
    SocketEndpoint.write(
      high: socket.pointee.remoteHigh, low: socket.pointee.remoteLow,
      port: socket.pointee.remotePort, isIPv6: socket.pointee.isIPv6, to: address, length)
    return 0
  }
}

/// Whether both directions of a connection have ended, and the peer has acknowledged that: only the
/// engine knows.
private func isOver(_ fd: Int32) -> Bool {
  let hasFinished = withConnection(fd) { socket, channel in
    channel.drain()
    return socket.pointee.flags.contains(.bothFinished) ? 1 : 0
  }
  var report = ConnectionReport()
  return hasFinished == 1 && inquire(fd, &report) && report.state == TCP_CLOSE
}

private func name(
  _ fd: Int32, _ address: UnsafeMutablePointer<sockaddr>?,
  _ length: UnsafeMutablePointer<socklen_t>?, refusal: (SocketPointer) -> Int64,
  body: (SocketPointer) -> Int64
) -> Int64 {
  withSocket(fd) { socket, entry in
    guard entry.kind == .connection else {
      // Who asks for the port that bind() chose may tell someone: it has to be that port.
      if socket.pointee.flags.contains(.bound) { socket.pointee.flags.insert(.kernelOnly) }
      return pass
    }
    let refused = refusal(socket)
    if refused != 0 { return refused }
    guard address != nil, let length else { return failure(EFAULT) }
    guard Int32(bitPattern: length.pointee) >= 0 else { return failure(EINVAL) }
    return body(socket)
  }
}
