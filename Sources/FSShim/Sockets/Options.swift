import CShim

/// Integer socket options that the shim knows, as level << 16 | name.
enum Option {
  static func key(_ level: Int32, _ name: Int32) -> UInt32 {
    UInt32(bitPattern: level) << 16 | UInt32(bitPattern: name) & 0xffff
  }

  /// What a value may be, for options that can wait until the socket's fate is known. An option that
  /// is not here goes to the kernel's socket at once.
  static func range(_ key: UInt32) -> ClosedRange<Int32>? {
    switch key {
    case reuseAddress, reusePort, keepAlive, inlineUrgent, receiveBuffer, sendBuffer, noDelay, cork,
      quickAcknowledge, deferAccept, linger2, ipv6Only, priority, receiveLow, windowClamp,
      notSentLow:
      return Int32.min...Int32.max
    case keepIdle, keepInterval: return 1...32767
    case keepCount, synCount: return 1...127
    case userTimeout: return 0...Int32.max
    case maximumSegment: return 88...32767
    case typeOfService, trafficClass: return 0...255
    case timeToLive, hopLimit: return 1...255
    default: return nil
    }
  }

  /// Options that the engine wants to know of.
  static func isForEngine(_ key: UInt32) -> Bool {
    switch key {
    case keepAlive, receiveBuffer, noDelay, cork, quickAcknowledge, linger2, keepIdle,
      keepInterval, keepCount, userTimeout, typeOfService, trafficClass:
      return true
    default:
      return false
    }
  }

  /// What getsockopt answers for a connection when nothing was set.
  static func initialValue(_ key: UInt32) -> Int32? {
    switch key {
    case reuseAddress, reusePort, keepAlive, inlineUrgent, noDelay, cork, deferAccept, ipv6Only,
      priority, userTimeout, typeOfService, trafficClass, windowClamp, dontRoute, broadcast, debug,
      timestamps, acceptsConnections, incomingMark, busyPoll:
      return 0
    case quickAcknowledge, receiveLow, sendLow: return 1
    case receiveBuffer: return 1 << 20
    case keepIdle: return 7200
    case keepInterval: return 75
    case keepCount: return 9
    case synCount: return 6
    case linger2: return 60
    case timeToLive, hopLimit: return 64
    case notSentLow: return -1
    default: return nil
    }
  }

  static var debug: UInt32 { key(SOL_SOCKET, SO_DEBUG) }
  static var reuseAddress: UInt32 { key(SOL_SOCKET, SO_REUSEADDR) }
  static var reusePort: UInt32 { key(SOL_SOCKET, SO_REUSEPORT) }
  static var keepAlive: UInt32 { key(SOL_SOCKET, SO_KEEPALIVE) }
  static var broadcast: UInt32 { key(SOL_SOCKET, SO_BROADCAST) }
  static var dontRoute: UInt32 { key(SOL_SOCKET, SO_DONTROUTE) }
  static var inlineUrgent: UInt32 { key(SOL_SOCKET, SO_OOBINLINE) }
  static var receiveBuffer: UInt32 { key(SOL_SOCKET, SO_RCVBUF) }
  static var sendBuffer: UInt32 { key(SOL_SOCKET, SO_SNDBUF) }
  static var priority: UInt32 { key(SOL_SOCKET, SO_PRIORITY) }
  static var receiveLow: UInt32 { key(SOL_SOCKET, SO_RCVLOWAT) }
  static var sendLow: UInt32 { key(SOL_SOCKET, SO_SNDLOWAT) }
  static var timestamps: UInt32 { key(SOL_SOCKET, SO_TIMESTAMP) }
  static var acceptsConnections: UInt32 { key(SOL_SOCKET, SO_ACCEPTCONN) }
  static var incomingMark: UInt32 { key(SOL_SOCKET, SO_MARK) }
  static var busyPoll: UInt32 { key(SOL_SOCKET, SO_BUSY_POLL) }
  static var type: UInt32 { key(SOL_SOCKET, SO_TYPE) }
  static var error: UInt32 { key(SOL_SOCKET, SO_ERROR) }
  static var domain: UInt32 { key(SOL_SOCKET, SO_DOMAIN) }
  static var proto: UInt32 { key(SOL_SOCKET, SO_PROTOCOL) }
  static var linger: UInt32 { key(SOL_SOCKET, SO_LINGER) }
  static var receiveTimeout: UInt32 { key(SOL_SOCKET, SO_RCVTIMEO) }
  static var sendTimeout: UInt32 { key(SOL_SOCKET, SO_SNDTIMEO) }

  private static var tcp: Int32 { Int32(IPPROTO_TCP) }
  static var noDelay: UInt32 { key(tcp, TCP_NODELAY) }
  static var maximumSegment: UInt32 { key(tcp, TCP_MAXSEG) }
  static var cork: UInt32 { key(tcp, TCP_CORK) }
  static var keepIdle: UInt32 { key(tcp, TCP_KEEPIDLE) }
  static var keepInterval: UInt32 { key(tcp, TCP_KEEPINTVL) }
  static var keepCount: UInt32 { key(tcp, TCP_KEEPCNT) }
  static var synCount: UInt32 { key(tcp, TCP_SYNCNT) }
  static var linger2: UInt32 { key(tcp, TCP_LINGER2) }
  static var deferAccept: UInt32 { key(tcp, TCP_DEFER_ACCEPT) }
  static var windowClamp: UInt32 { key(tcp, TCP_WINDOW_CLAMP) }
  static var information: UInt32 { key(tcp, TCP_INFO) }
  static var quickAcknowledge: UInt32 { key(tcp, TCP_QUICKACK) }
  static var congestion: UInt32 { key(tcp, TCP_CONGESTION) }
  static var userTimeout: UInt32 { key(tcp, TCP_USER_TIMEOUT) }
  static var notSentLow: UInt32 { key(tcp, TCP_NOTSENT_LOWAT) }

  static var typeOfService: UInt32 { key(Int32(IPPROTO_IP), IP_TOS) }
  static var timeToLive: UInt32 { key(Int32(IPPROTO_IP), IP_TTL) }
  static var ipv6Only: UInt32 { key(Int32(IPPROTO_IPV6), IPV6_V6ONLY) }
  static var hopLimit: UInt32 { key(Int32(IPPROTO_IPV6), IPV6_UNICAST_HOPS) }
  static var trafficClass: UInt32 { key(Int32(IPPROTO_IPV6), IPV6_TCLASS) }
}

extension UnsafeMutablePointer<Socket> {
  /// The value an option was set to.
  func recordedValue(_ key: UInt32) -> Int32? {
    for position in 0..<Int(pointee.recordedCount)
    where pointee.recorded[position].key == key {
      return pointee.recorded[position].value
    }
    return nil
  }

  /// Remembers an option; false if there is no room.
  func record(_ key: UInt32, _ value: Int32) -> Bool {
    for position in 0..<Int(pointee.recordedCount)
    where pointee.recorded[position].key == key {
      pointee.recorded[position].value = value
      return true
    }
    guard pointee.recordedCount < 20 else { return false }
    pointee.recorded[Int(pointee.recordedCount)] = RecordedOption(key: key, value: value)
    pointee.recordedCount += 1
    return true
  }
}

extension UnsafeMutablePointer<Channel> {
  /// Tells the engine the options that were set before it had the connection. The lock is held.
  func sendRecordedOptions(_ socket: SocketPointer) {
    for position in 0..<Int(socket.pointee.recordedCount) {
      let option = socket.pointee.recorded[position]
      if Option.isForEngine(option.key), option.value != Option.initialValue(option.key) {
        sendOption(socket, option.key, option.value)
      }
    }
  }

  /// Tells the engine an option. The lock is held.
  func sendOption(_ socket: SocketPointer, _ key: UInt32, _ value: Int32) {
    var command = Command(.option, slot: socket.pointee.slot)
    command.length = key
    command.value = value
    send(command)
  }
}

/// setsockopt(2).
@c @implementation
public func fs_setsockopt(
  _ fd: Int32, _ level: Int32, _ name: Int32, _ value: UnsafeRawPointer?, _ length: socklen_t
) -> Int64 {
  withSocket(fd) { socket, entry in
    guard socket.isOurs else { return failure(ENOTCONN) }
    let key = Option.key(level, name)
    switch entry.kind {
    case .undecided:
      return setUndecided(fd, socket, key, level, name, value, length)
    case .listener:
      let result = fs_sys_setsockopt(fd, level, name, value ?? noBytes, UInt32(length))
      if result == 0, let value { noteOption(socket, key, value, length) }
      return Int64(result)
    default:
      return setConnected(socket, key, value, length)
    }
  }
}

/// An address for a null pointer, which only the kernel may complain about.
private var noBytes: UnsafeRawPointer { UnsafeRawPointer(fs_thread_state()) }

/// An option of a socket whose fate is open: remembered, if it is one that a new kernel socket can
/// get later; else the kernel's socket gets it, and everything remembered before it.
private func setUndecided(
  _ fd: Int32, _ socket: SocketPointer, _ key: UInt32, _ level: Int32, _ name: Int32,
  _ value: UnsafeRawPointer?, _ length: socklen_t
) -> Int64 {
  guard let value else { return failure(EFAULT) }
  if !socket.pointee.flags.contains(.touched) {
    if key == Option.linger || key == Option.receiveTimeout || key == Option.sendTimeout {
      return setStructured(socket, key, value, length)
    }
    if length >= 4, let range = Option.range(key) {
      let number = value.loadUnaligned(as: Int32.self)
      guard range.contains(number) else { return failure(EINVAL) }
      if socket.record(key, number) {
        noteOption(socket, key, value, length)
        return 0
      }
    }
  }
  flushToKernel(fd, socket)
  let result = fs_sys_setsockopt(fd, level, name, value, UInt32(length))
  guard result == 0 else { return Int64(result) }
  if Option.range(key) != nil || key == Option.linger || key == Option.receiveTimeout
    || key == Option.sendTimeout
  {
    noteOption(socket, key, value, length)
  } else {
    // Who asks for something special on an outgoing connection shall have it.
    socket.pointee.flags.insert(.kernelOnly)
  }
  return 0
}

/// Remembers an option that has been accepted, for the connections that inherit it.
private func noteOption(
  _ socket: SocketPointer, _ key: UInt32, _ value: UnsafeRawPointer, _ length: socklen_t
) {
  if key == Option.linger || key == Option.receiveTimeout || key == Option.sendTimeout {
    _ = setStructured(socket, key, value, length)
    return
  }
  guard length >= 4, Option.range(key) != nil else { return }
  let number = value.loadUnaligned(as: Int32.self)
  _ = socket.record(key, number)
  if key == Option.sendBuffer { setSendBuffer(socket, number) }
}

/// SO_SNDBUF: as Linux, twice the number, within bounds.
private func setSendBuffer(_ socket: SocketPointer, _ number: Int32) {
  socket.pointee.sendLimit = UInt32(min(max(Int64(number) * 2, 8192), 8 << 20))
  socket.pointee.flags.insert(.sendBufferSet)
}

/// SO_LINGER and the timeouts.
private func setStructured(
  _ socket: SocketPointer, _ key: UInt32, _ value: UnsafeRawPointer, _ length: socklen_t
) -> Int64 {
  if key == Option.linger {
    guard length >= socklen_t(MemoryLayout<linger>.size) else { return failure(EINVAL) }
    let option = value.loadUnaligned(as: linger.self)
    if option.l_onoff != 0 {
      socket.pointee.flags.insert(.linger)
      socket.pointee.lingerSeconds = max(option.l_linger, 0)
    } else {
      socket.pointee.flags.remove(.linger)
    }
    return 0
  }
  guard length >= socklen_t(MemoryLayout<timeval>.size) else { return failure(EINVAL) }
  let option = value.loadUnaligned(as: timeval.self)
  guard option.tv_usec >= 0, option.tv_usec < 1_000_000 else { return failure(EDOM) }
  var nanoseconds: UInt64 = 0
  if option.tv_sec >= 0, option.tv_sec < 1 << 32 {
    nanoseconds = UInt64(option.tv_sec) * 1_000_000_000 + UInt64(option.tv_usec) * 1000
  }
  if key == Option.receiveTimeout {
    socket.pointee.receiveTimeout = nanoseconds
  } else {
    socket.pointee.sendTimeout = nanoseconds
  }
  return 0
}

/// An option of an engine's connection. The lock is held.
private func setConnected(
  _ socket: SocketPointer, _ key: UInt32, _ value: UnsafeRawPointer?, _ length: socklen_t
) -> Int64 {
  guard let value else { return failure(EFAULT) }
  if key == Option.linger || key == Option.receiveTimeout || key == Option.sendTimeout {
    return setStructured(socket, key, value, length)
  }
  // What cannot be changed, or means nothing here, is taken without effect where Linux takes it.
  if key == Option.congestion || Option.range(key) == nil && Option.initialValue(key) != nil {
    return 0
  }
  guard let range = Option.range(key) else { return failure(ENOPROTOOPT) }
  guard length >= 4 else { return failure(EINVAL) }
  let number = value.loadUnaligned(as: Int32.self)
  guard range.contains(number) else { return failure(EINVAL) }
  let known = socket.recordedValue(key) ?? Option.initialValue(key)
  _ = socket.record(key, number)
  if key == Option.sendBuffer { setSendBuffer(socket, number) }
  let isMomentary = key == Option.quickAcknowledge
  if Option.isForEngine(key), known != number || isMomentary, socket.pointee.state != .failed {
    let channel = ChannelTable.at(socket.pointee.channel)
    channel.sendOption(socket, key, number)
    channel.publish()
  }
  return 0
}
