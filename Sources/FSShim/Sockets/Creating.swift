import CShim
import Synchronization

/// socket(2): a new TCP socket that may yet become a listener or an engine's connection.
///
/// It is a socket of the kernel, if possible one that was made before and never used, so that a
/// connection carried by an engine costs no system call for its descriptor.
@c @implementation
public func fs_socket(_ domain: Int32, _ type: Int32, _ proto: Int32) -> Int64 {
  let socketFlags = type & ~0xf
  guard domain == AF_INET || domain == AF_INET6, type & 0xf == Int32(SOCK_STREAM.rawValue),
    proto == 0 || proto == Int32(IPPROTO_TCP),
    socketFlags & ~(SocketTypeFlag.nonblocking | SocketTypeFlag.closeOnExec) == 0, isInitialized
  else { return pass }
  if ControlConnection.isResting {
    fs_fell_back(Int32(FS_FALLBACK_SOCKET_NO_DAEMON))
    return pass
  }
  let isIPv6 = domain == AF_INET6
  let place = FreshSocket.take(isIPv6)
  guard let index = place.index else {
    if place.fd >= 0 { closeInternal(place.fd) }
    fs_fell_back(Int32(FS_FALLBACK_SOCKET_LIMIT))
    return pass
  }
  var fd = place.fd
  if fd < 0 { fd = fs_sys_socket(domain, type | SocketTypeFlag.closeOnExec, proto) }
  guard fd >= 0, fd < FS_DESCRIPTOR_LIMIT else {
    SocketTable.giveBack(index)
    guard fd >= 0 else { return Int64(fd) }
    _ = fs_sys_close(fd)
    fs_fell_back(Int32(FS_FALLBACK_SOCKET_LIMIT))
    return pass
  }
  fs_descriptor_created(fd)
  let socket = SocketTable.at(index)
  SocketTable.reset(socket)
  socket.pointee.state = .undecided
  socket.pointee.isIPv6 = isIPv6
  // A new socket of the kernel has the flags that were asked for; a pooled one may have others.
  socket.pointee.flags =
    socketFlags & SocketTypeFlag.nonblocking != 0 ? .nonblocking : SocketFlags()
  descriptorAssign(
    fd, kind: .undecided, index: index,
    closeOnExec: socketFlags & SocketTypeFlag.closeOnExec != 0)
  return Int64(fd)
}

enum SocketTypeFlag {
  static var nonblocking: Int32 { O_NONBLOCK }
  static var closeOnExec: Int32 { O_CLOEXEC }
}

/// Descriptors and places in the socket table for new sockets, from the calling thread's channel if
/// it has one.
enum FreshSocket {
  static func take(_ isIPv6: Bool) -> (fd: Int32, index: UInt32?) {
    let number = threadChannel()
    guard number >= 0 else { return (-1, SocketTable.take()) }
    let channel = ChannelTable.at(number)
    guard Lock.acquire(channel.lockWord) else { return (-1, SocketTable.take()) }
    let index = channel.takeSocket()
    let fd = isIPv6 ? channel.pointee.fresh6.take() : channel.pointee.fresh4.take()
    if let fd { descriptorClear(fd) }
    Lock.release(channel.lockWord)
    return (fd ?? -1, index)
  }

  /// Gives back an undecided socket, and keeps its descriptor if it is as good as new. False if the
  /// descriptor has to be closed.
  static func giveBack(_ fd: Int32, _ socket: SocketPointer, keeps: Bool) -> Bool {
    let isNew = socket.pointee.flags.isDisjoint(with: .usedInKernel)
    let index = socket.index
    socket.pointee.state = .free
    let number = threadChannel()
    guard number >= 0, Lock.acquire(ChannelTable.at(number).lockWord) else {
      SocketTable.giveBack(index)
      return false
    }
    let channel = ChannelTable.at(number)
    let kept = keeps && isNew && channel.keepFresh(fd, isIPv6: socket.pointee.isIPv6)
    channel.pointee.socketCount += 1
    channel.forget(index, socket)
    Lock.release(channel.lockWord)
    return kept
  }
}

extension UnsafeMutablePointer<Channel> {
  /// Keeps a kernel socket that was never used.
  func keepFresh(_ fd: Int32, isIPv6: Bool) -> Bool {
    let limit = min(process.pointee.poolLimit, 128)
    return isIPv6
      ? pointee.fresh6.put(fd, limit: limit) : pointee.fresh4.put(fd, limit: limit)
  }

  /// Keeps a duplicate of the placeholder.
  @inline(__always)
  func keepPlaceholder(_ fd: Int32, isIPv6: Bool) -> Bool {
    let limit = process.pointee.poolLimit
    return isIPv6
      ? pointee.placeholders6.put(fd, limit: limit) : pointee.placeholders4.put(fd, limit: limit)
  }
}

/// Hands a socket over to the kernel: everything the application has asked for so far is asked of
/// the kernel's socket. The lock is held. Calls may be repeated.
func flushToKernel(_ fd: Int32, _ socket: SocketPointer) {
  guard !socket.pointee.flags.contains(.touched) else { return }
  socket.pointee.flags.insert(.touched)
  flushOptions(fd, socket)
  // A pooled socket may have the flag that its last owner wanted.
  let flags = fs_sys_fcntl(fd, F_GETFL, 0)
  let wanted = socket.isNonblocking ? flags | O_NONBLOCK : flags & ~O_NONBLOCK
  if flags >= 0, flags != wanted { _ = fs_sys_fcntl(fd, F_SETFL, Int(wanted)) }
}

/// Makes a socket the kernel's for good: its descriptors are none of ours any more. The lock is
/// held.
func giveToKernel(_ fd: Int32, _ socket: SocketPointer) {
  flushToKernel(fd, socket)
  let index = socket.index
  renameDescriptors(of: index, socket, fd, to: .none)
  if socket.pointee.firstLink != 0 { socketDecided(Int32(index), fd: fd, kernel: true) }
  socket.pointee.state = .free
  SocketTable.giveBack(index)
}

/// bind(2): the kernel's socket gets the address, so that errors and reservations are real.
@c @implementation
public func fs_bind(_ fd: Int32, _ address: UnsafePointer<sockaddr>?, _ length: socklen_t) -> Int64
{
  withSocket(fd) { socket, entry in
    guard entry.kind == .undecided else {
      return entry.kind == .connection ? failure(EINVAL) : pass
    }
    guard let address else { return failure(EFAULT) }
    flushToKernel(fd, socket)
    let result = fs_sys_bind(fd, address, length)
    guard result == 0, let endpoint = SocketEndpoint.read(address, length) else {
      return Int64(result)
    }
    socket.pointee.flags.insert(.bound)
    if endpoint.port != 0 || endpoint.hasScope { socket.pointee.flags.insert(.kernelOnly) }
    if !endpoint.isWildcard {
      socket.pointee.localHigh = endpoint.high
      socket.pointee.localLow = endpoint.low
    }
    return 0
  }
}

/// listen(2): in the kernel first; then, if the daemon has an interface for the address, for the
/// engines too.
@c @implementation
public func fs_listen(_ fd: Int32, _ backlog: Int32) -> Int64 {
  let result = withSocket(fd) { socket, entry in
    if entry.kind == .connection { return failure(EINVAL) }
    if entry.kind == .listener {
      let result = fs_sys_listen(fd, backlog)
      guard result == 0 else { return Int64(result) }
      ListenerTable.at(socket.pointee.listener).pointee.backlog = backlog
      return 2
    }
    flushToKernel(fd, socket)
    let result = fs_sys_listen(fd, backlog)
    guard result == 0 else { return Int64(result) }
    if socket.pointee.flags.contains(.kernelListener) {
      fs_fell_back(Int32(FS_FALLBACK_LISTEN_KERNEL_SOCKET))
      giveToKernel(fd, socket)
      return 0
    }
    let record = ListenerTable.take(
      Listener(socket: entry.index, descriptor: fd, backlog: backlog))
    guard record >= 0 else {
      fs_fell_back(Int32(FS_FALLBACK_LISTEN_LIMIT))
      giveToKernel(fd, socket)
      return 0
    }
    // An address that is IPv6 and no wildcard turns it on.
    if socket.pointee.isIPv6, let isOn = KernelAnswer.integer(fd, SOL_IPV6, IPV6_V6ONLY) {
      socket.keep(KeptOption(FS_OPTION_V6ONLY), isOn)
    }
    socket.pointee.listener = record
    socket.pointee.state = .listening
    renameDescriptors(of: entry.index, socket, fd, to: .listener)
    return 1
  }
  if result == 2 {
    refreshListener(fd)
    return 0
  }
  guard result == 1 else { return result }
  offerToEngines(fd)
  return 0
}

/// An option of a listener has changed that the engines have to know: the daemon is shown the socket
/// again, and reads it from there.
func refreshListener(_ fd: Int32) {
  let index = socketIndex(fd)
  let lock = processWord(.control)
  guard index >= 0, Lock.acquire(lock) else { return }
  ListenerTable.refresh(socketAt(index).pointee.listener)
  Lock.release(lock)
}

/// Shows a new listener to the daemon; without one, or when it has no use for it, the listener is
/// the kernel's alone.
private func offerToEngines(_ fd: Int32) {
  let record = socketAt(socketIndex(fd)).pointee.listener
  let lock = processWord(.control)
  guard record >= 0, Lock.acquire(lock) else { return }
  var refused = false
  let registered = ListenerTable.register(record, refused: &refused)
  Lock.release(lock)
  if registered {
    fs_report(Int32(FS_REPORT_LISTENER_ACCELERATED), Int(fd))
    socketListens(socketIndex(fd))
    return
  }
  fs_fell_back(Int32(FS_FALLBACK_LISTEN_UNMANAGED))
  _ = withSocket(fd) { socket, _ in
    ListenerTable.close(record)
    socket.pointee.listener = -1
    giveToKernel(fd, socket)
    return 0
  }
}
