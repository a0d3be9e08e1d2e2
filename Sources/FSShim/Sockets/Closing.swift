import CShim
import Synchronization

/// close(2). The descriptor of a connection is kept for the next one if there is room; else the
/// caller has to close it.
@c @implementation
public func fs_close(_ fd: Int32) -> Int64 { closeDescriptor(fd, keeps: true) }

/// close(2); `keeps` says whether the descriptor may be kept.
func closeDescriptor(_ fd: Int32, keeps: Bool) -> Int64 {
  while true {
    let entry = DescriptorEntry.of(fd)
    switch entry.kind {
    case .none:
      return pass
    case .internal:
      return failure(EBADF)
    case .epoll:
      epollClosed(Int32(entry.index), fd: fd)
      descriptorClear(fd)
      return pass
    case .undecided, .listener, .connection:
      let result = release(fd, entry, keeps: keeps)
      if result != failure(EAGAIN) { return result }
    }
  }
}

/// Gives up what a descriptor number stands for. `pass` if the kernel's descriptor is to be closed,
/// 0 if it was kept (`keeps`), EAGAIN if the number stands for something else by now.
func release(_ fd: Int32, _ entry: DescriptorEntry, keeps: Bool) -> Int64 {
  let socket = SocketTable.at(entry.index)
  let channel = socket.pointee.channel
  if entry.kind == .connection, channel < 0 { return failure(EAGAIN) }
  if socket.pointee.blockedCalls.areThere { socket.leaveToCalls(fd, entry) }
  // What was written at the moment of the move still has to be.
  if channel >= 0, socket.hasUnmovedBytes, KernelSocket.take(fd, entry) == 0 {
    return failure(EAGAIN)
  }
  if channel >= 0, !partFromOthers(fd, entry, socket) { lingerBeforeClose(fd, entry, socket) }
  let word = SocketTable.lockWord(socket, channel)
  // In a signal handler that interrupted this thread inside the channel: the socket stays open.
  guard Lock.acquire(word) else { return failure(EINTR) }
  defer { Lock.release(word) }
  guard DescriptorEntry.of(fd) == entry, socket.pointee.channel == channel else {
    return failure(EAGAIN)
  }
  descriptorClear(fd)
  socket.pointee.references &-= 1
  guard socket.pointee.references == 0 else {
    socketDescriptorClosed(Int32(entry.index), fd: fd)
    replaceListenerDescriptor(socket, entry.index, fd)
    return pass
  }
  let hasWaiters = socket.waiters.pointee.load(ordering: .relaxed) != 0
  if socket.pointee.firstLink != 0 || hasWaiters { socketClosed(Int32(entry.index)) }
  switch entry.kind {
  case .undecided:
    return FreshSocket.giveBack(fd, socket, keeps: keeps) ? 0 : pass
  case .listener:
    ListenerTable.close(socket.pointee.listener)
    socket.pointee.state = .free
    SocketTable.giveBack(entry.index)
    return pass
  default:
    return ChannelTable.at(channel).close(fd, entry.index, socket, keeps: keeps) ? 0 : pass
  }
}

/// The daemon is shown a descriptor of a listener now and then: it has to be one that is open.
private func replaceListenerDescriptor(_ socket: SocketPointer, _ index: UInt32, _ fd: Int32) {
  let record = socket.pointee.listener
  guard record >= 0, ListenerTable.at(record).pointee.descriptor == fd else { return }
  for candidate in 0...process.pointee.highestDescriptor {
    let entry = DescriptorEntry.of(candidate)
    if entry.kind == .listener, entry.index == index {
      ListenerTable.at(record).pointee.descriptor = candidate
      return
    }
  }
}

extension UnsafeMutablePointer<Channel> {
  /// Ends a connection whose last descriptor is closed; true if the descriptor was kept. The lock is
  /// held.
  @inline(__always)
  fileprivate func close(_ fd: Int32, _ index: UInt32, _ socket: SocketPointer, keeps: Bool) -> Bool
  {
    let isOurs = pointee.processGeneration == process.pointee.generation
    if isOurs { closeSlot(index, socket) }
    var kept = false
    if isOurs, keeps, isOpen {
      if socket.pointee.flags.contains(.placeholder) {
        kept = keepPlaceholder(fd, isIPv6: socket.pointee.isIPv6)
      } else if socket.pointee.flags.isDisjoint(with: .usedInKernel) {
        kept = keepFresh(fd, isIPv6: socket.pointee.isIPv6)
      }
    }
    forget(index, socket)
    return kept
  }

  @inline(__always)
  private func closeSlot(_ index: UInt32, _ socket: SocketPointer) {
    if socket.pointee.flags.contains(.moved) {
      closeMoved(socket, index)
      return
    }
    unstarve(socket)
    forgetWish(socket)
    let number = socket.pointee.slot
    let slot = pointee.slots + Int(number)
    guard slot.pointee.socket == index + 1 else { return }
    slot.pointee.socket = 0
    let aborts = socket.pointee.flags.contains(.linger) && socket.pointee.lingerSeconds == 0
    var command = Command(.close, slot: number, flags: aborts ? CommandFlags.reset : 0)
    command.length = socket.pointee.unreported
    send(command)
    publish()
  }
}

/// SO_LINGER with a time: waits until the peer has acknowledged everything and the FIN, or the time
/// is over, or a signal comes. As in Linux also if the descriptor is non-blocking, but not if there
/// are unread bytes, with which close(2) resets the connection.
private func lingerBeforeClose(_ fd: Int32, _ entry: DescriptorEntry, _ socket: SocketPointer) {
  guard socket.pointee.flags.contains(.linger), socket.pointee.lingerSeconds != 0,
    socket.pointee.references == 1
  else { return }
  let seconds = UInt64(UInt32(bitPattern: socket.pointee.lingerSeconds))
  let limit = monotonicNow() &+ seconds * 1_000_000_000
  let begun = withConnection(fd) { socket, channel in
    channel.drain()
    guard socket.pointee.state == .connected, socket.pointee.received.count == 0 else {
      return failure(ENOTCONN)
    }
    if !socket.pointee.flags.contains(.writeShut) {
      channel.send(Command(.shutdown, slot: socket.pointee.slot, flags: CommandFlags.shutWrite))
      channel.publish()
      socket.pointee.flags.insert(.writeShut)
    }
    return 0
  }
  guard begun == 0 else { return }
  while monotonicNow() < limit, DescriptorEntry.of(fd) == entry {
    var report = ConnectionReport()
    // FIN-WAIT-1, CLOSING and LAST-ACK; before the FIN is out, ESTABLISHED and CLOSE-WAIT.
    guard inquire(fd, &report), lingers(report.state) else { return }
    // Acknowledgements wake nobody; a program that lingers is not in a hurry.
    if fs_sys_poll_for(-1, 0, 1) == -EINTR { return }
  }
}

/// Whether something in a state of this number (enum tcp_state of Linux) is still on its way.
private func lingers(_ state: UInt8) -> Bool {
  switch state {
  case 1, 4, 8, 9, 11: return true
  default: return false
  }
}

/// close_range(2) and closefrom(3), completely: our own descriptors stay.
@c @implementation
public func fs_close_range(_ first: UInt32, _ last: UInt32, _ flags: Int32) -> Int64 {
  guard first <= last, isInitialized else { return pass }
  let closeOnExec = flags & Int32(CLOSE_RANGE_CLOEXEC) != 0
  var start = first
  var fd = first
  // Closing may enter higher ones: `Socket.leaveToCalls`.
  while fd <= last, fd <= UInt32(max(process.pointee.highestDescriptor, 0)) {
    let entry = DescriptorEntry.of(Int32(fd))
    var stays = entry.kind == .internal || isHeldForCalls(Int32(fd), entry)
    if closeOnExec, entry.raw != 0, !stays {
      fs_descriptor_store(Int32(fd), entry.raw | UInt32(FS_ENTRY_CLOSE_ON_EXEC))
    } else if entry.raw != 0, !stays {
      stays = fs_close(Int32(fd)) != pass
    }
    if stays {
      let result = closeKernelRange(start, fd, flags)
      if result < 0 { return result }
      start = fd + 1
    }
    fd += 1
  }
  return start <= last ? Int64(fs_sys_close_range(start, last, UInt32(bitPattern: flags))) : 0
}

private func isHeldForCalls(_ fd: Int32, _ entry: DescriptorEntry) -> Bool {
  entry.isSocket && SocketTable.at(entry.index).pointee.blockedCalls.hold(fd)
}

/// Descriptors from `first` to before `end`.
private func closeKernelRange(_ first: UInt32, _ end: UInt32, _ flags: Int32) -> Int64 {
  first < end ? Int64(fs_sys_close_range(first, end - 1, UInt32(bitPattern: flags))) : 0
}

/// libc has made a descriptor with this number: whatever we thought it was has been closed without
/// our knowledge, for example by fclose of a stream over it.
@c @implementation
public func fs_descriptor_created(_ fd: Int32) {
  let entry = DescriptorEntry.of(fd)
  guard entry.raw != 0 else { return }
  switch entry.kind {
  case .none:
    return
  case .internal:
    forgetInternal(fd)
  case .epoll:
    epollClosed(Int32(entry.index), fd: fd)
    descriptorClear(fd)
  case .undecided, .listener, .connection:
    _ = release(fd, entry, keeps: false)
  }
}

/// One of our own descriptors is gone. If it was pooled, it must not be used again.
func forgetInternal(_ fd: Int32) {
  descriptorClear(fd)
  for index in 0..<ChannelTable.count {
    let channel = ChannelTable.at(index)
    guard channel.isOpen, Lock.acquire(channel.lockWord) else { continue }
    let wasPooled =
      channel.pointee.placeholders4.remove(fd) || channel.pointee.placeholders6.remove(fd)
      || channel.pointee.fresh4.remove(fd) || channel.pointee.fresh6.remove(fd)
    Lock.release(channel.lockWord)
    if wasPooled { return }
  }
}
