import CShim
import Synchronization

/// getsockopt(2).
@c @implementation
public func fs_getsockopt(
  _ fd: Int32, _ level: Int32, _ name: Int32, _ value: UnsafeMutableRawPointer?,
  _ length: UnsafeMutablePointer<socklen_t>?
) -> Int64 {
  guard let length else { return pass }
  KernelSocket.settle(fd)
  let reading = OptionReading(level: level, name: name, value: value, length: length)
  if descriptorKind(fd) == .connection {
    // What the engine has to be asked, without a lock.
    if level == SOL_TCP, name == TCP_INFO { return getInformation(fd, reading) }
    if level == SOL_TCP, name == TCP_CONGESTION { return getCongestionControl(fd, reading) }
    if level == SOL_IP, name == IP_MTU { return getPathMTU(fd, reading) }
    if level == SOL_IPV6, name == IPV6_MTU, socketAt(socketIndex(fd)).pointee.isIPv6 {
      return getPathMTU(fd, reading)
    }
  }
  return withSocket(fd) { socket, entry in
    switch entry.kind {
    case .undecided:
      // The kernel's socket does not know yet what was asked for.
      guard !socket.pointee.flags.contains(.touched) else { return pass }
      return reading.answer(socket) ?? pass
    case .connection:
      return reading.answerConnected(socket)
    default:
      return pass
    }
  }
}

/// One call of getsockopt(2).
struct OptionReading {
  let level: Int32
  let name: Int32
  let value: UnsafeMutableRawPointer?
  let length: UnsafeMutablePointer<socklen_t>

  /// Bytes there is room for.
  var capacity: Int { Int(Int32(bitPattern: length.pointee)) }

  /// Answers bytes, as many of them as there is room for.
  func put(_ bytes: UnsafeRawPointer, _ size: Int) -> Int64 {
    // Those of IPv6 take a negative number for a large one.
    guard capacity >= 0 || level == SOL_IPV6 else { return failure(EINVAL) }
    let count = capacity < 0 ? size : min(size, capacity)
    if count > 0 {
      guard let value else { return failure(EFAULT) }
      value.copyMemory(from: bytes, byteCount: count)
    }
    length.pointee = socklen_t(count)
    return 0
  }

  /// Answers an integer. Options of IP are told in one byte if there is no room for four.
  func put(_ number: Int32) -> Int64 {
    var number = number
    if level == SOL_IP, capacity > 0, capacity < 4, number >= 0, number <= 255 {
      var byte = UInt8(number)
      return put(&byte, 1)
    }
    return put(&number, MemoryLayout<Int32>.size)
  }

  /// Answers what was set on a socket of ours; nil if it is as on a new socket.
  fileprivate func answer(_ socket: SocketPointer) -> Int64? {
    if let structured = StructuredOption(level: level, name: name) {
      return structured.get(socket, self)
    }
    guard let option = KeptOption(level: level, name: name),
      let number = socket.options.value(option)
    else { return nil }
    if option == FS_OPTION_PACING_RATE { return getPacingRate(socket, self) }
    // The kernel's socket has it.
    if option == FS_OPTION_CONGESTION { return nil }
    return put(number)
  }

  /// Answers for an engine's connection. The lock is held.
  fileprivate func answerConnected(_ socket: SocketPointer) -> Int64 {
    if level == SOL_SOCKET || level == SOL_TCP, capacity < 0 { return failure(EINVAL) }
    if socket.isOurs { ChannelTable.at(socket.pointee.channel).drain() }
    switch (level, name) {
    case (SOL_SOCKET, SO_ERROR):
      // One that could not be told stays.
      if capacity > 0, value == nil { return failure(EFAULT) }
      return put(Int32(socket.takeError()))
    case (SOL_SOCKET, SO_SNDBUF):
      return put(Int32(clamping: socket.pointee.sendLimit))
    case (SOL_SOCKET, SO_COOKIE):
      guard capacity >= 8 else { return failure(EINVAL) }
      var cookie = socket.cookie
      return put(&cookie, 8)
    case (SOL_SOCKET, SO_PEERNAME):
      return putPeerName(socket)
    case (SOL_TCP, TCP_MAXSEG):
      return put(maximumSegment(socket))
    case (SOL_TCP, TCP_ZEROCOPY_RECEIVE):
      return failure(ENOPROTOOPT)
    case (SOL_SOCKET, SO_INCOMING_CPU):
      return answer(socket) ?? put(ChannelTable.at(socket.pointee.channel).pointee.processor)
    case (SOL_IP, 52):  // IP_PROTOCOL, which for TCP tells the local port
      return put(Int32(socket.pointee.localPort))
    default:
      // Every descriptor of ours is a socket of the kernel on which nothing was set.
      return answer(socket) ?? pass
    }
  }

  /// SO_PEERNAME: the address of getpeername(2), of which no more may be asked than it has.
  private func putPeerName(_ socket: SocketPointer) -> Int64 {
    // Unlike getpeername(2) also when the connection has ended.
    let isIPv6 = socket.pointee.isIPv6
    let size = isIPv6 ? MemoryLayout<sockaddr_in6>.size : MemoryLayout<sockaddr_in>.size
    guard capacity <= size else { return failure(EINVAL) }
    guard let value else { return capacity == 0 ? 0 : failure(EFAULT) }
    var room = socklen_t(capacity)
    SocketEndpoint.write(
      high: socket.pointee.remoteHigh, low: socket.pointee.remoteLow,
      port: socket.pointee.remotePort, isIPv6: isIPv6,
      to: value.assumingMemoryBound(to: sockaddr.self), &room)
    return 0
  }

  /// TCP_MAXSEG: what segments carry now; on a dead connection what was asked for, as in state CLOSE.
  private func maximumSegment(_ socket: SocketPointer) -> Int32 {
    if socket.pointee.state == .failed,
      let wanted = socket.options.value(KeptOption(FS_OPTION_MAXSEG))
    {
      return wanted
    }
    let known = socket.pointee.maximumSegmentSize
    return known == 0 ? 536 : Int32(known)
  }
}

extension UnsafeMutablePointer<Socket> {
  /// SO_COOKIE: a number that no other socket has. The kernel counts from 1; ours begin with a bit
  /// that it will not reach.
  fileprivate var cookie: UInt64 {
    if pointee.cookie == 0 {
      let count = processWord(.cookies).pointee.wrappingAdd(1, ordering: .relaxed).newValue
      pointee.cookie = 1 << 63 | UInt64(UInt32(fs_sys_getpid())) << 32 & ~(1 << 63) | UInt64(count)
    }
    return pointee.cookie
  }
}
