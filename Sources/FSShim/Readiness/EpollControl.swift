import CShim
import Synchronization

/// Bits that may stand beside EPOLLEXCLUSIVE.
private let exclusiveAllowed =
  EPOLLIN.rawValue | EPOLLOUT.rawValue | EPOLLERR.rawValue | EPOLLHUP.rawValue
  | EPOLLWAKEUP.rawValue | EPOLLET.rawValue | EPOLLEXCLUSIVE.rawValue

/// epoll_ctl(2) when the set or the descriptor is not the kernel's alone.
@c @implementation
public func fs_epoll_ctl(
  _ set: Int32, _ operation: Int32, _ fd: Int32, _ event: UnsafeMutablePointer<epoll_event>?
) -> Int64 {
  switch descriptorKind(set) {
  case .internal: return Int64(-EBADF)
  case .epoll, .none: break
  default: return Int64(-EINVAL)
  }
  switch descriptorKind(fd) {
  case .internal: return Int64(-EBADF)
  case .epoll: return controlMember(set, operation, fd, event)
  case .none: return fs_pass()
  default: break
  }
  if operation != EPOLL_CTL_DEL { KernelSocket.settle(fd) }
  let socket = socketIndex(fd)
  guard socket >= 0 else { return fs_pass() }
  if operation == EPOLL_CTL_ADD {
    guard let event else { return Int64(-EFAULT) }
    return addLink(set, fd, socket, event.pointee)
  }
  // What was never added to this set is not in the kernel's either: let it find the right errno.
  let number = epollIndex(set)
  guard number > 0, let memory = ReadinessMemory.existing else { return fs_pass() }
  if operation == EPOLL_CTL_DEL {
    return memory.deleteLink(UInt32(number), fd, socket)
  }
  guard let event else { return Int64(-EFAULT) }
  guard operation == EPOLL_CTL_MOD else { return Int64(-EINVAL) }
  return memory.modifyLink(UInt32(number), set, fd, socket, event.pointee)
}

/// Before an epoll set is duplicated, or added to another.
@c @implementation
public func fs_epoll_known(_ fd: Int32) -> Bool {
  guard isInitialized, let memory = ReadinessMemory.current else { return false }
  return memory.ensureSet(fd) > 0
}

private func addLink(_ descriptor: Int32, _ fd: Int32, _ socket: Int32, _ event: epoll_event)
  -> Int64
{
  let exclusive = EPOLLEXCLUSIVE.rawValue
  if event.events & exclusive != 0 && event.events & ~exclusiveAllowed != 0 {
    return Int64(-EINVAL)
  }
  guard let memory = ReadinessMemory.current else { return Int64(-ENOMEM) }
  let number = memory.ensureSet(descriptor)
  if number < 0 { return number }
  let set = UInt32(number)
  if memory.set(set).pointee.isInherited { memory.adopt(set, descriptor: descriptor) }

  let link = memory.allocateLink()
  if link == 0 { return Int64(-ENOMEM) }
  let entry = memory.link(link)
  entry.pointee.set = set
  entry.pointee.socket = socket
  entry.pointee.descriptor = fd
  entry.pointee.mask = event.events | alwaysReported
  entry.pointee.data = event.data.u64
  while true {
    let isListener = isListening(socket)
    let channel = isListener ? listenerWatched(socket) : -1
    entry.pointee.channel = channel
    let result = memory.enter(link, descriptor: descriptor, isListener: isListener)
    if result == 0 { return 0 }
    if isListener { listenerUnwatched(socket, channel: channel) }
    // It is something else by now: another thread has called listen or connect.
    if result == Int64(-EAGAIN) { continue }
    memory.freeLink(link)
    return result
  }
}

extension ReadinessMemory {
  /// Puts a link that is filled in into its socket's list and its set, or says why not.
  fileprivate func enter(_ number: UInt32, descriptor: Int32, isListener: Bool) -> Int64 {
    let entry = link(number)
    let socket = entry.pointee.socket
    let setNumber = entry.pointee.set
    // While the socket is locked no event reaches it: one that came before shows in its readiness,
    // one that comes later finds the link.
    guard SocketTable.lock(socketAt(socket)) else { return Int64(-EBUSY) }
    defer { SocketTable.unlock(socketAt(socket)) }
    guard socketIndex(entry.pointee.descriptor) == socket else { return fs_pass() }
    guard isListening(socket) == isListener else { return Int64(-EAGAIN) }
    if !isListener { entry.pointee.channel = channelOf(socket) }
    guard Lock.acquire(shardLock(socket)) else { return Int64(-EBUSY) }
    defer { Lock.release(shardLock(socket)) }
    if findLink(socket, set: setNumber, descriptor: entry.pointee.descriptor) != 0 {
      return Int64(-EEXIST)
    }
    guard Lock.acquire(setLock(setNumber)) else { return Int64(-EBUSY) }
    defer { Lock.release(setLock(setNumber)) }
    let set = set(setNumber)
    if isListener {
      let result = fs_sys_epoll_ctl(
        descriptor, EPOLL_CTL_ADD, entry.pointee.descriptor, entry.pointee.mask,
        Sentinel.link.data(number))
      if result < 0 && result != -EEXIST { return Int64(result) }
      entry.pointee.isInKernel = true
    }
    insertIntoSocket(number)
    insert(number, into: set)
    if isListener {
      addListeningChannel(entry.pointee.channel, to: set, descriptor: descriptor)
    } else {
      addChannel(entry.pointee.channel, to: set, descriptor: descriptor)
    }
    report(number, in: set)
    return 0
  }

  /// After ADD and MOD: what is ready now counts as an edge.
  private func report(_ number: UInt32, in set: EpollSetPointer) {
    if readiness(of: link(number)) == 0 { return }
    appendReady(number, to: set)
    wake(set)
  }

  fileprivate func modifyLink(
    _ setNumber: UInt32, _ descriptor: Int32, _ fd: Int32, _ socket: Int32, _ event: epoll_event
  ) -> Int64 {
    guard Lock.acquire(shardLock(socket)) else { return Int64(-EBUSY) }
    defer { Lock.release(shardLock(socket)) }
    if event.events & EPOLLEXCLUSIVE.rawValue != 0 { return Int64(-EINVAL) }
    let number = findLink(socket, set: setNumber, descriptor: fd)
    if number == 0 { return Int64(-ENOENT) }
    let entry = link(number)
    if entry.pointee.mask & EPOLLEXCLUSIVE.rawValue != 0 { return Int64(-EINVAL) }
    guard Lock.acquire(setLock(setNumber)) else { return Int64(-EBUSY) }
    defer { Lock.release(setLock(setNumber)) }
    entry.pointee.mask = event.events | alwaysReported
    entry.pointee.data = event.data.u64
    if entry.pointee.isInKernel {
      _ = fs_sys_epoll_ctl(
        descriptor, EPOLL_CTL_MOD, fd, event.events, Sentinel.link.data(number))
    }
    report(number, in: set(setNumber))
    return 0
  }

  fileprivate func deleteLink(_ setNumber: UInt32, _ fd: Int32, _ socket: Int32) -> Int64 {
    guard Lock.acquire(shardLock(socket)) else { return Int64(-EBUSY) }
    let number = findLink(socket, set: setNumber, descriptor: fd)
    if number == 0 {
      Lock.release(shardLock(socket))
      return Int64(-ENOENT)
    }
    let isListener = link(number).pointee.isInKernel
    let channel = link(number).pointee.channel
    removeFromSet(number)
    removeFromSocket(number)
    freeLink(number)
    Lock.release(shardLock(socket))
    if isListener { listenerUnwatched(socket, channel: channel) }
    return 0
  }
}
