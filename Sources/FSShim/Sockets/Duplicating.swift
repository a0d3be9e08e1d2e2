import CShim

/// dup(2).
@c @implementation
public func fs_dup(_ fd: Int32) -> Int64 { duplicate(fd, minimum: 0, closeOnExec: false) }

/// dup, F_DUPFD and F_DUPFD_CLOEXEC.
private func duplicate(_ fd: Int32, minimum: Int, closeOnExec: Bool) -> Int64 {
  KernelSocket.settle(fd)
  let entry = DescriptorEntry.of(fd)
  switch entry.kind {
  case .none:
    return pass
  case .internal:
    return failure(EBADF)
  case .epoll:
    let copy = fs_sys_fcntl(fd, closeOnExec ? F_DUPFD_CLOEXEC : F_DUPFD, minimum)
    guard copy >= 0 else { return Int64(copy) }
    fs_descriptor_created(copy)
    epollDuplicated(entry, copy, closeOnExec)
    return Int64(copy)
  case .undecided, .listener, .connection:
    return withSocket(fd) { socket, entry in
      // The kernel's descriptor of a connection is always closed by exec: what it stands for would
      // not survive.
      let kernelFlag = closeOnExec || entry.kind != .listener
      let copy = fs_sys_fcntl(fd, kernelFlag ? F_DUPFD_CLOEXEC : F_DUPFD, minimum)
      guard copy >= 0 else { return Int64(copy) }
      enter(copy, entry, socket, closeOnExec)
      return Int64(copy)
    }
  }
}

/// Enters another descriptor of a socket. The lock is held.
private func enter(
  _ copy: Int32, _ entry: DescriptorEntry, _ socket: SocketPointer, _ closeOnExec: Bool
) {
  guard copy < FS_DESCRIPTOR_LIMIT else { return }
  socket.pointee.references += 1
  descriptorAssign(copy, kind: entry.kind, index: entry.index, closeOnExec: closeOnExec)
}

/// dup2(2) and dup3(2).
@c @implementation
public func fs_dup3(_ fd: Int32, _ to: Int32, _ flags: Int32, _ isDup2: Int32) -> Int64 {
  KernelSocket.settle(fd)
  let source = DescriptorEntry.of(fd)
  let target = DescriptorEntry.of(to)
  if source.raw == 0, target.raw == 0 { return pass }
  if source.kind == .internal || to < 0 { return failure(EBADF) }
  if fd == to { return isDup2 != 0 ? Int64(to) : failure(EINVAL) }
  guard flags & ~O_CLOEXEC == 0 else { return failure(EINVAL) }
  // A bad source leaves the target as it is.
  if source.raw == 0, fs_sys_fcntl(fd, F_GETFD, 0) < 0 { return failure(EBADF) }
  if target.kind == .internal {
    forgetInternal(to)
    // Not one that was only kept for reuse: the kernel's error for a number in the making.
    if isOwn(to) {
      descriptorAssign(to, kind: .internal, index: 0, closeOnExec: true)
      return failure(EBUSY)
    }
  } else if target.raw != 0 {
    if target.kind == .epoll {
      epollClosed(Int32(target.index), fd: to)
      descriptorClear(to)
    } else {
      _ = release(to, target, keeps: false)
    }
  }
  if source.raw == 0 { return Int64(fs_sys_dup3(fd, to, flags)) }
  if source.kind == .epoll {
    let result = fs_sys_dup3(fd, to, flags)
    if result >= 0 { epollDuplicated(source, to, flags & O_CLOEXEC != 0) }
    return Int64(result)
  }
  return withSocket(fd) { socket, entry in
    let kernelFlags = entry.kind == .listener ? flags : O_CLOEXEC
    let result = fs_sys_dup3(fd, to, kernelFlags)
    guard result >= 0 else { return Int64(result) }
    enter(to, entry, socket, flags & O_CLOEXEC != 0)
    return Int64(result)
  }
}

/// Whether the shim uses a descriptor right now.
private func isOwn(_ fd: Int32) -> Bool {
  // Pooled descriptors have the low numbers that the kernel gave them.
  fd >= process.pointee.internalBase
}

/// fcntl(2).
@c @implementation
public func fs_fcntl(_ fd: Int32, _ command: Int32, _ argument: Int) -> Int64 {
  // To be handed on through exec is what a child has a connection for.
  if command == F_SETFD, argument & 1 == 0 { KernelSocket.settle(fd) }
  let kind = descriptorKind(fd)
  if kind == .none { return pass }
  if kind == .internal { return failure(EBADF) }
  if command == F_DUPFD || command == F_DUPFD_CLOEXEC {
    guard argument >= 0, argument <= Int(Int32.max) else { return failure(EINVAL) }
    return duplicate(fd, minimum: argument, closeOnExec: command == F_DUPFD_CLOEXEC)
  }
  if kind == .epoll { return pass }
  return withSocket(fd) { socket, entry in
    switch command {
    case F_GETFD:
      return entry.kind == .listener ? pass : entry.closeOnExec ? 1 : 0
    case F_SETFD:
      return setCloseOnExec(fd, entry, argument & 1 != 0)
    case F_GETFL:
      guard entry.kind != .listener else { return pass }
      return Int64(O_RDWR | (socket.isNonblocking ? O_NONBLOCK : 0))
    // The kernel's socket is shared with other connections.
    case F_SETOWN where entry.kind == .connection:
      socket.pointee.owner = Int32(truncatingIfNeeded: argument)
      return 0
    case F_GETOWN where entry.kind == .connection:
      return Int64(socket.pointee.owner)
    case F_SETFL:
      setNonblocking(fd, socket, entry, argument & Int(O_NONBLOCK) != 0)
      return entry.kind == .listener ? pass : 0
    default:
      if entry.kind == .undecided { flushToKernel(fd, socket) }
      return pass
    }
  }
}

private func setCloseOnExec(_ fd: Int32, _ entry: DescriptorEntry, _ isOn: Bool) -> Int64 {
  let bit = UInt32(FS_ENTRY_CLOSE_ON_EXEC)
  fs_descriptor_store(fd, isOn ? entry.raw | bit : entry.raw & ~bit)
  return entry.kind == .listener ? pass : 0
}

/// O_NONBLOCK; the kernel's socket gets it when it has to do the waiting.
private func setNonblocking(
  _ fd: Int32, _ socket: SocketPointer, _ entry: DescriptorEntry, _ isOn: Bool
) {
  if isOn {
    socket.pointee.flags.insert(.nonblocking)
  } else {
    socket.pointee.flags.remove(.nonblocking)
  }
  guard entry.kind == .undecided, socket.pointee.flags.contains(.touched) else { return }
  let flags = fs_sys_fcntl(fd, F_GETFL, 0)
  if flags >= 0 {
    _ = fs_sys_fcntl(fd, F_SETFL, Int(isOn ? flags | O_NONBLOCK : flags & ~O_NONBLOCK))
  }
}

/// ioctl(2).
@c @implementation
public func fs_ioctl(_ fd: Int32, _ request: UInt, _ argument: UnsafeMutableRawPointer?) -> Int64 {
  KernelSocket.settle(fd)
  let kind = descriptorKind(fd)
  if kind == .none || kind == .epoll { return pass }
  if kind == .connection, request == unsentRequest { return unsentBytes(fd, argument) }
  return withSocket(fd) { socket, entry in
    switch request {
    case UInt(FIONBIO):
      guard let argument else { return failure(EFAULT) }
      setNonblocking(fd, socket, entry, argument.loadUnaligned(as: Int32.self) != 0)
      return entry.kind == .listener ? pass : 0
    case UInt(FIOCLEX), UInt(FIONCLEX):
      return setCloseOnExec(fd, entry, request == UInt(FIOCLEX))
    default:
      if entry.kind == .undecided { flushToKernel(fd, socket) }
      guard entry.kind == .connection else { return pass }
      return connectionControl(socket, request, argument)
    }
  }
}

/// SIOCOUTQNSD of linux/sockios.h.
private var unsentRequest: UInt { 0x894b }

/// Bytes queued and not yet sent, which only the engine knows.
private func unsentBytes(_ fd: Int32, _ argument: UnsafeMutableRawPointer?) -> Int64 {
  guard let argument else { return failure(EFAULT) }
  var report = ConnectionReport()
  guard inquire(fd, &report) else {
    argument.storeBytes(of: 0, as: Int32.self)
    return 0
  }
  argument.storeBytes(of: Int32(clamping: report.unsentBytes), as: Int32.self)
  return 0
}

private func connectionControl(
  _ socket: SocketPointer, _ request: UInt, _ argument: UnsafeMutableRawPointer?
) -> Int64 {
  guard socket.isOurs else { return failure(ENOTCONN) }
  let channel = ChannelTable.at(socket.pointee.channel)
  let answer: Int32
  switch request {
  case UInt(FIONREAD):
    channel.drain()
    answer = Int32(clamping: socket.readableCount)
  case UInt(TIOCOUTQ):
    channel.drain()
    answer = Int32(clamping: channel.pointee.slots[Int(socket.pointee.slot)].sent.bytes)
  case UInt(SIOCATMARK):
    channel.drain()
    answer = socket.pointee.urgent.isNext ? 1 : 0
  default:
    return failure(ENOTTY)
  }
  guard let argument else { return failure(EFAULT) }
  argument.storeBytes(of: answer, as: Int32.self)
  return 0
}
