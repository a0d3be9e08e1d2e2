import CShim

/// getsockopt(2).
@c @implementation
public func fs_getsockopt(
  _ fd: Int32, _ level: Int32, _ name: Int32, _ value: UnsafeMutableRawPointer?,
  _ length: UnsafeMutablePointer<socklen_t>?
) -> Int64 {
  withSocket(fd) { socket, entry in
    let key = Option.key(level, name)
    switch entry.kind {
    case .undecided:
      // The kernel's socket does not know yet what was asked for.
      guard !socket.pointee.flags.contains(.touched) else { return pass }
      guard let value, let length else { return failure(EFAULT) }
      if let structured = getStructured(socket, key, value, length) { return structured }
      guard var number = socket.recordedValue(key) else { return pass }
      if key == Option.sendBuffer || key == Option.receiveBuffer { number = doubled(number) }
      return put(key == Option.reuseAddress ? min(number, 1) : number, value, length)
    case .connection:
      guard let value, let length else { return failure(EFAULT) }
      guard Int32(bitPattern: length.pointee) >= 0 else { return failure(EINVAL) }
      if socket.isOurs { ChannelTable.at(socket.pointee.channel).drain() }
      return getConnected(socket, key, value, length)
    default:
      return pass
    }
  }
}

private func doubled(_ number: Int32) -> Int32 {
  Int32(clamping: min(max(Int64(number) * 2, 4608), 8 << 20))
}

/// Answers an integer, as many bytes of it as there is room for.
private func put(
  _ number: Int32, _ value: UnsafeMutableRawPointer, _ length: UnsafeMutablePointer<socklen_t>
) -> Int64 {
  var number = number
  return putBytes(&number, MemoryLayout<Int32>.size, value, length)
}

private func putBytes(
  _ bytes: UnsafeRawPointer, _ size: Int, _ value: UnsafeMutableRawPointer,
  _ length: UnsafeMutablePointer<socklen_t>
) -> Int64 {
  let count = min(size, Int(length.pointee))
  value.copyMemory(from: bytes, byteCount: count)
  length.pointee = socklen_t(count)
  return 0
}

private func getStructured(
  _ socket: SocketPointer, _ key: UInt32, _ value: UnsafeMutableRawPointer,
  _ length: UnsafeMutablePointer<socklen_t>
) -> Int64? {
  if key == Option.linger {
    let isOn = socket.pointee.flags.contains(.linger)
    var option = linger(l_onoff: isOn ? 1 : 0, l_linger: socket.pointee.lingerSeconds)
    return putBytes(&option, MemoryLayout<linger>.size, value, length)
  }
  guard key == Option.receiveTimeout || key == Option.sendTimeout else { return nil }
  let nanoseconds =
    key == Option.receiveTimeout ? socket.pointee.receiveTimeout : socket.pointee.sendTimeout
  var option = timeval(
    tv_sec: Int(nanoseconds / 1_000_000_000), tv_usec: Int(nanoseconds % 1_000_000_000 / 1000))
  return putBytes(&option, MemoryLayout<timeval>.size, value, length)
}

/// An option of an engine's connection. The lock is held.
private func getConnected(
  _ socket: SocketPointer, _ key: UInt32, _ value: UnsafeMutableRawPointer,
  _ length: UnsafeMutablePointer<socklen_t>
) -> Int64 {
  if let structured = getStructured(socket, key, value, length) { return structured }
  switch key {
  case Option.error: return put(Int32(socket.takeError()), value, length)
  case Option.type: return put(Int32(SOCK_STREAM.rawValue), value, length)
  case Option.domain: return put(socket.pointee.isIPv6 ? AF_INET6 : AF_INET, value, length)
  case Option.proto: return put(Int32(IPPROTO_TCP), value, length)
  case Option.sendBuffer: return put(Int32(socket.pointee.sendLimit), value, length)
  case Option.maximumSegment:
    let known = socket.pointee.maximumSegmentSize
    return put(known == 0 ? 536 : Int32(known), value, length)
  case Option.congestion:
    return getCongestionControl(value, length)
  case Option.information:
    return getInformation(socket, value, length)
  default:
    break
  }
  if var number = socket.recordedValue(key) {
    if key == Option.receiveBuffer { number = doubled(number) }
    return put(number, value, length)
  }
  guard let number = Option.initialValue(key) else { return failure(ENOPROTOOPT) }
  return put(number, value, length)
}

/// TCP_CONGESTION: a name, padded with zeros to 16 bytes.
private func getCongestionControl(
  _ value: UnsafeMutableRawPointer, _ length: UnsafeMutablePointer<socklen_t>
) -> Int64 {
  // "reno", little-endian.
  var name: (UInt64, UInt64) = (0x6f6e_6572, 0)
  return putBytes(&name, 16, value, length)
}

/// TCP_INFO, as far as this side knows it: the state, segment sizes, what is unacknowledged, and the
/// window; the rest is zero.
private func getInformation(
  _ socket: SocketPointer, _ value: UnsafeMutableRawPointer,
  _ length: UnsafeMutablePointer<socklen_t>
) -> Int64 {
  var information = tcp_info()
  information.tcpi_state = tcpState(socket)
  let segment = UInt32(socket.pointee.maximumSegmentSize)
  information.tcpi_snd_mss = segment
  information.tcpi_rcv_mss = segment
  information.tcpi_advmss = segment
  information.tcpi_pmtu = segment == 0 ? 0 : segment + (socket.pointee.isIPv6 ? 60 : 40)
  if socket.isOurs, socket.pointee.channel >= 0, segment > 0 {
    let channel = ChannelTable.at(socket.pointee.channel)
    let sent = channel.pointee.slots[Int(socket.pointee.slot)].sent.bytes
    information.tcpi_unacked = (sent + segment - 1) / segment
  }
  return putBytes(&information, MemoryLayout<tcp_info>.size, value, length)
}

/// The numbers of enum tcp_state of Linux.
private func tcpState(_ socket: SocketPointer) -> UInt8 {
  let flags = socket.pointee.flags
  switch socket.pointee.state {
  case .connecting: return 2
  case .connected, .queued:
    if flags.contains(.peerFinished) { return flags.contains(.writeShut) ? 9 : 8 }
    return flags.contains(.writeShut) ? 4 : 1
  case .free, .undecided, .listening, .failed: return 7
  }
}
