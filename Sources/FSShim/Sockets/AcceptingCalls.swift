import CShim
import Synchronization

/// accept(2) and accept4(2): from the queue of the thread's own channel, else from another
/// channel's, else from the kernel.
@c @implementation
public func fs_accept(
  _ number: Int32, _ address: UnsafeMutablePointer<sockaddr>?,
  _ length: UnsafeMutablePointer<socklen_t>?, _ flags: Int32
) -> Int64 {
  guard flags & ~(SocketTypeFlag.nonblocking | SocketTypeFlag.closeOnExec) == 0 else {
    return failure(EINVAL)
  }
  var fd = number
  var index: UInt32 = 0
  defer { if fd != number { SocketTable.at(index).lateCallReturns() } }
  var limit: UInt64 = 0
  while true {
    let entry = DescriptorEntry.of(fd)
    guard entry.kind == .listener else {
      if entry.kind == .connection { return failure(EINVAL) }
      return entry.kind == .internal ? failure(EBADF) : pass
    }
    index = entry.index
    let socket = SocketTable.at(index)
    let record = socket.pointee.listener
    guard record >= 0 else { return pass }
    let result = acceptNow(fd, record, socket, address, length, flags)
    guard result == failure(EAGAIN), !socket.isNonblocking else {
      // Threads that wait already do not ask again when another has taken the one connection that came.
      let othersWait = socket.waiters.pointee.load(ordering: .sequentiallyConsistent) != 0
      if othersWait || result == failure(EAGAIN) { wantNext(record) }
      return result
    }
    if limit == 0 { limit = deadline(after: socket.pointee.receiveTimeout) }
    let error = waitForSocket(Int32(index), fd: &fd, events: Ready.input, deadline: limit)
    if error != 0 { return failure(error) }
  }
}

/// Whence an accepted connection came.
enum AcceptSource: UInt8 {
  /// The thread's own channel.
  case own
  /// Another channel of the process.
  case other
  /// The kernel's queue.
  case kernel

  /// Who is asked first when this one has just given a connection.
  @inline(__always)
  var next: AcceptSource {
    switch self {
    case .own: .other
    case .other: .kernel
    case .kernel: .own
    }
  }
}

/// The sources take turns, so that none starves behind one that always has something. Of the kernel's queue
/// that is known from epoll sets that watch it; else it is asked when no other has anything.
private func acceptNow(
  _ fd: Int32, _ record: Int32, _ listener: SocketPointer,
  _ address: UnsafeMutablePointer<sockaddr>?, _ length: UnsafeMutablePointer<socklen_t>?,
  _ flags: Int32
) -> Int64 {
  let pointer = ListenerTable.at(record)
  var source = pointer.pointee.lastAccept.next
  for _ in 0..<3 {
    var result = failure(EAGAIN)
    switch source {
    case .own:
      let own = threadChannel()
      if own >= 0 { result = acceptFrom(own, record, listener, address, length, flags) }
    case .other:
      result = acceptFromOthers(record, listener, address, length, flags)
    case .kernel:
      if pointer.pointee.isKernelReadable {
        result = acceptFromKernel(fd, record, listener, address, length, flags)
      }
    }
    if result != failure(EAGAIN) {
      if result >= 0 { pointer.pointee.lastAccept = source }
      return result
    }
    source = source.next
  }
  // Watched through an epoll set, the kernel's side reports itself.
  guard listener.pointee.firstLink == 0 else { return failure(EAGAIN) }
  return acceptFromKernel(fd, record, listener, address, length, flags)
}

/// From channels that are not the thread's own, if they have anything.
@inline(__always)
private func acceptFromOthers(
  _ record: Int32, _ listener: SocketPointer, _ address: UnsafeMutablePointer<sockaddr>?,
  _ length: UnsafeMutablePointer<socklen_t>?, _ flags: Int32
) -> Int64 {
  let own = threadChannel()
  for word in 0..<4 {
    var bits = ListenerTable.at(record).pointee.channels[word]
    while bits != 0 {
      let joined = Int32(word * 64 + bits.trailingZeroBitCount)
      bits &= bits &- 1
      guard joined != own, queueLength(record, joined) > 0 || channelHasEvents(joined) else {
        continue
      }
      let result = acceptFrom(joined, record, listener, address, length, flags)
      if result != failure(EAGAIN) { return result }
    }
  }
  return failure(EAGAIN)
}

/// Takes an engine's connection, and gives it a descriptor.
private func acceptFrom(
  _ number: Int32, _ record: Int32, _ listener: SocketPointer,
  _ address: UnsafeMutablePointer<sockaddr>?, _ length: UnsafeMutablePointer<socklen_t>?,
  _ flags: Int32
) -> Int64 {
  let channel = ChannelTable.at(number)
  guard channel.isOpen, Lock.acquire(channel.lockWord) else { return failure(EAGAIN) }
  defer { Lock.release(channel.lockWord) }
  let queue = channel.pointee.queues + Int(record)
  if queue.pointee.count == 0 {
    channel.drain()
    guard queue.pointee.count > 0 else { return failure(EAGAIN) }
  }
  let isIPv6 = listener.pointee.isIPv6
  let fd = channel.takePlaceholder(isIPv6: isIPv6)
  guard fd >= 0 else { return Int64(fd) }
  guard let index = channel.dequeue(record) else { return failure(EAGAIN) }
  let socket = SocketTable.at(index)
  socket.pointee.next = .max
  socket.pointee.references = 1
  socket.pointee.forks = process.pointee.forks
  socket.pointee.listener = -1
  // It may have died in the queue.
  socket.pointee.state = socket.pointee.flags.contains(.writeShut) ? .failed : .connected
  if flags & SocketTypeFlag.nonblocking != 0 { socket.pointee.flags.insert(.nonblocking) }
  inherit(from: listener, socket, channel)
  socket.updateReadiness()
  descriptorAssign(
    fd, kind: .connection, index: index,
    closeOnExec: flags & SocketTypeFlag.closeOnExec != 0)
  SocketEndpoint.write(
    high: socket.pointee.remoteHigh, low: socket.pointee.remoteLow,
    port: socket.pointee.remotePort, isIPv6: isIPv6, to: address, length)
  return Int64(fd)
}

/// An accepted connection has the options of its listener.
@inline(__always)
private func inherit(
  from listener: SocketPointer, _ socket: SocketPointer, _ channel: ChannelPointer
) {
  socket.pointee.receiveTimeout = listener.pointee.receiveTimeout
  socket.pointee.sendTimeout = listener.pointee.sendTimeout
  socket.pointee.sendLimit = listener.pointee.sendLimit
  socket.pointee.lingerSeconds = listener.pointee.lingerSeconds
  if listener.pointee.flags.contains(.linger) { socket.pointee.flags.insert(.linger) }
  guard listener.options.marks != 0 else { return }
  socket.options.inherit(from: listener.options)
  channel.sendOptions(socket)
  channel.publishQuietly()
}

/// accept4(2) on a blocking listener, which does not wait: blocked in the kernel, a thread would not see the engines'
/// connections. All that sleep for a listener are woken by one connection, in other processes as well: they look
/// one after the other, and only who finds it takes it. The lock of the file is POSIX's, which a process that ends gives
/// back; O_NONBLOCK or SO_RCVTIMEO would also be those of programs without this library.
private func acceptWithoutBlocking(
  _ fd: Int32, _ listener: ListenerPointer, _ address: UnsafeMutablePointer<sockaddr>?,
  _ length: UnsafeMutablePointer<socklen_t>?, _ flags: Int32
) -> Int32 {
  guard fs_sys_poll_now(fd, Int16(POLLIN)) != 0, Lock.acquire(listener.acceptLock) else {
    return -EAGAIN
  }
  defer { Lock.release(listener.acceptLock) }
  while fs_sys_lock_file(fd, Int16(F_WRLCK)) == -EINTR {
    if !fs_signals_restart() { return -EINTR }
  }
  defer { _ = fs_sys_lock_file(fd, Int16(F_UNLCK)) }
  guard fs_sys_poll_now(fd, Int16(POLLIN)) != 0 else { return -EAGAIN }
  return fs_sys_accept4(fd, address, length, flags)
}

private func acceptFromKernel(
  _ fd: Int32, _ record: Int32, _ listener: SocketPointer,
  _ address: UnsafeMutablePointer<sockaddr>?, _ length: UnsafeMutablePointer<socklen_t>?,
  _ flags: Int32
) -> Int64 {
  let pointer = ListenerTable.at(record)
  // Before the call: what another thread finds there meanwhile remains known.
  pointer.pointee.isKernelReadable = false
  let accepted =
    listener.isNonblocking
    ? fs_sys_accept4(fd, address, length, flags)
    : acceptWithoutBlocking(fd, pointer, address, length, flags)
  if accepted >= 0 {
    fs_descriptor_created(accepted)
    fs_fell_back(Int32(FS_FALLBACK_ACCEPT_KERNEL))
    if fs_sys_poll_now(fd, Int16(POLLIN)) != 0 { pointer.pointee.isKernelReadable = true }
    reattachListener(Int32(listener.index))
  }
  return Int64(accepted)
}

extension UnsafeMutablePointer<Channel> {
  /// A descriptor for an accepted connection: one that was closed before, or a new duplicate of a
  /// socket that is never used for anything else. The lock is held.
  @inline(__always)
  fileprivate func takePlaceholder(isIPv6: Bool) -> Int32 {
    let kept = isIPv6 ? pointee.placeholders6.take() : pointee.placeholders4.take()
    if let kept { return kept }
    return Placeholder.duplicate(isIPv6: isIPv6)
  }
}

/// The sockets that the descriptors of accepted connections are duplicates of, so that fstat says
/// what they are, and that each costs only a number.
enum Placeholder {
  static func duplicate(isIPv6: Bool) -> Int32 {
    let original = original(isIPv6)
    guard original >= 0 else { return original }
    let fd = fs_sys_fcntl(original, F_DUPFD_CLOEXEC, 0)
    guard fd >= 0 else { return fd }
    guard fd < FS_DESCRIPTOR_LIMIT else {
      _ = fs_sys_close(fd)
      return -EMFILE
    }
    fs_descriptor_created(fd)
    return fd
  }

  private static func original(_ isIPv6: Bool) -> Int32 {
    let known = isIPv6 ? process.pointee.placeholder6 : process.pointee.placeholder4
    if known >= 0 { return known }
    let lock = processWord(.placeholders)
    guard Lock.acquire(lock) else { return -EMFILE }
    defer { Lock.release(lock) }
    let again = isIPv6 ? process.pointee.placeholder6 : process.pointee.placeholder4
    if again >= 0 { return again }
    let made = moveToInternal(
      fs_sys_socket(
        isIPv6 ? AF_INET6 : AF_INET, Int32(SOCK_STREAM.rawValue) | SocketTypeFlag.closeOnExec, 0))
    guard made >= 0 else { return made }
    if isIPv6 {
      process.pointee.placeholder6 = made
    } else {
      process.pointee.placeholder4 = made
    }
    return made
  }
}
