import CShim
import Synchronization

// A connection that more than one process has, or that is to go to another program, becomes a socket of
// the kernel: the daemon makes one with the same addresses, numbers and bytes, and from then on the
// descriptor is the kernel's, and everything about it right by construction (`ControlKind.adopt`).

/// How a connection leaves the shim.
enum KernelSocket {
  /// Whether a connection has to become the kernel's before this process can use it: it was inherited
  /// through fork, or another process has taken it there.
  @inline(__always)
  static func isNeeded(_ socket: SocketPointer, _ channel: ChannelPointer) -> Bool {
    channel.pointee.processGeneration != process.pointee.generation
      || socket.pointee.flags.contains(.moving)
  }

  /// Before anything is done with a descriptor that the shim would answer from its own tables: has the
  /// connection made the kernel's if that is needed.
  @inline(__always)
  static func settle(_ fd: Int32) {
    let entry = DescriptorEntry.of(fd)
    guard entry.kind == .connection else { return }
    let socket = SocketTable.at(entry.index)
    let channel = socket.pointee.channel
    guard channel >= 0, isNeeded(socket, ChannelTable.at(channel)) else { return }
    _ = take(fd, entry)
  }

  /// Makes the connection of a descriptor the kernel's, because it is to be seen by other processes.
  static func handOver(_ fd: Int32) {
    let entry = DescriptorEntry.of(fd)
    if entry.kind == .connection { _ = take(fd, entry) }
  }

  /// Has the daemon make a kernel socket of the connection, and puts that under all its descriptors. 0
  /// if `entry` is no longer what the descriptor stands for, which is then to be looked at again. Else
  /// -errno: the connection is dead (ECONNRESET), is being opened (EALREADY), or there is no number for
  /// one more descriptor (EMFILE). No lock of a channel is held.
  static func take(_ fd: Int32, _ entry: DescriptorEntry) -> Int64 {
    let lock = processWord(.control)
    // In a signal handler that interrupted this thread there.
    guard Lock.acquire(lock) else { return failure(EAGAIN) }
    defer { Lock.release(lock) }
    guard DescriptorEntry.of(fd).isSame(as: entry) else { return 0 }
    let socket = SocketTable.at(entry.index)
    let number = socket.pointee.channel
    guard number >= 0, socket.pointee.state != .failed else { return failure(ECONNRESET) }
    guard canReceiveDescriptor() else { return failure(EMFILE) }
    let channel = ChannelTable.at(number)
    if socket.isOurs {
      let refusal = channel.prepareToMove(socket)
      guard refusal == 0 else { return refusal }
    }
    var reply = ControlConnection.Reply()
    let isMade =
      ControlConnection.ensure() && ControlConnection.request(.adopt, of: socket, &reply)
      && reply.message.status == 0 && reply.descriptorCount == 1
    guard isMade else {
      reply.closeDescriptors()
      return channel.staysUnmoved(socket, reply.message.status)
    }
    let kernel = reply.descriptors[0]
    fs_descriptor_created(kernel)
    defer { _ = fs_sys_close(kernel) }
    return channel.replace(fd, entry, socket, by: kernel)
  }

  /// Whether one more descriptor can be had: the daemon sends it only once.
  private static func canReceiveDescriptor() -> Bool {
    let control = process.pointee.control.descriptor
    guard control >= 0 else { return true }
    let copy = fs_sys_fcntl(control, F_DUPFD_CLOEXEC, 0)
    if copy >= 0 { _ = fs_sys_close(copy) }
    return copy >= 0
  }
}

extension DescriptorEntry {
  /// Whether it stands for the same socket, whatever exec shall do with it.
  func isSame(as other: Self) -> Bool { kind == other.kind && index == other.index }
}

extension ControlConnection {
  /// Sends a request about a connection and waits for its answer.
  static func request(_ kind: ControlKind, of socket: SocketPointer, _ reply: inout Reply) -> Bool {
    request(message(kind, of: socket), descriptor: -1, &reply)
  }

  /// Likewise over another connection to the daemon than the process's: a child's.
  static func request(
    _ kind: ControlKind, of socket: SocketPointer, over child: Int32, _ reply: inout Reply
  ) -> Bool {
    let own = process.pointee.control.descriptor
    process.pointee.control.descriptor = child
    defer { process.pointee.control.descriptor = own }
    return request(message(kind, of: socket), descriptor: -1, &reply)
  }

  /// A request about a connection.
  static func message(_ kind: ControlKind, of socket: SocketPointer) -> ControlMessage {
    var message = message(kind)
    message.engine = ChannelTable.at(socket.pointee.channel).pointee.engine
    message.localHigh = socket.pointee.localHigh
    message.localLow = socket.pointee.localLow
    message.localPort = socket.pointee.localPort
    message.addressHigh = socket.pointee.remoteHigh
    message.addressLow = socket.pointee.remoteLow
    message.remotePort = socket.pointee.remotePort
    if socket.pointee.isIPv6 { message.flags = ControlFlags.ipv6Socket }
    return message
  }
}

extension UnsafeMutablePointer<Channel> {
  /// Lets the engine know everything about a connection of this process that it is about to give up;
  /// from here on other threads wait for the kernel's socket. 0 or -errno. The control lock is held.
  fileprivate func prepareToMove(_ socket: SocketPointer) -> Int64 {
    guard Lock.acquire(lockWord) else { return failure(EAGAIN) }
    defer { Lock.release(lockWord) }
    drain()
    if socket.pointee.state == .connecting { return failure(EALREADY) }
    guard isOpen, socket.pointee.state == .connected else { return failure(ECONNRESET) }
    socket.pointee.flags.insert(.moving)
    reportRead(socket)
    return 0
  }

  /// Has the engine know all bytes that were read of a socket. The lock is held.
  func reportRead(_ socket: SocketPointer) {
    sendUnreported(socket)
    publish()
    if pointee.delayedCount > 0 { _ = waitUntilTaken() }
  }

  /// The daemon made no kernel socket: the connection is what it was, unless the engine has given it
  /// up. -errno. The control lock is held.
  fileprivate func staysUnmoved(_ socket: SocketPointer, _ status: Int32) -> Int64 {
    guard Lock.acquire(lockWord) else { return failure(EAGAIN) }
    defer { Lock.release(lockWord) }
    let isOurs = pointee.processGeneration == process.pointee.generation
    if isOurs {
      drain()
      if !socket.pointee.flags.contains(.moved), status != EINPROGRESS {
        socket.pointee.flags.remove(.moving)
        return failure(ECONNRESET)
      }
      if socket.pointee.state == .connected {
        failed(socket, pointee.slots + Int(socket.pointee.slot), error: UInt16(ECONNRESET))
        socket.updateReadiness()
        notifyOfOwn(socket, Ready.dead | Ready.error)
      }
      return failure(ECONNRESET)
    }
    if status == EINPROGRESS { return failure(EALREADY) }
    socket.pointee.state = .failed
    return failure(ECONNRESET)
  }

  /// Puts the kernel's socket under every descriptor of a connection, which the shim then forgets. The
  /// control lock is held.
  fileprivate func replace(
    _ fd: Int32, _ entry: DescriptorEntry, _ socket: SocketPointer, by kernel: Int32
  ) -> Int64 {
    let isOurs = pointee.processGeneration == process.pointee.generation
    if isOurs, !waitUntilMoved(socket) { return failure(ECONNRESET) }
    guard Lock.acquire(lockWord) else { return failure(EAGAIN) }
    defer { Lock.release(lockWord) }
    // Closed by another thread meanwhile.
    guard DescriptorEntry.of(fd).isSame(as: entry), socket.pointee.channel == index else {
      return 0
    }
    configure(kernel, as: socket)
    if isOurs { sendRest(of: socket, to: kernel) }
    if socket.pointee.flags.contains(.writeShut) { _ = fs_sys_shutdown(kernel, Int32(SHUT_WR)) }
    if socket.pointee.flags.contains(.readShut) { _ = fs_sys_shutdown(kernel, Int32(SHUT_RD)) }
    // Before: who polls tells by it what was moved from what was closed.
    process.pointee.handedOver &+= 1
    substitute(kernel, entry.index)
    if socket.pointee.firstLink != 0 { socketDecided(Int32(entry.index), fd: fd, kernel: true) }
    wakeWaiters(of: Int32(entry.index))
    if isOurs { closeMoved(socket, entry.index) }
    forget(entry.index, socket)
    return 0
  }

  /// Waits for the event with which the engine tells what it has taken over. False if none comes.
  func waitUntilMoved(_ socket: SocketPointer) -> Bool {
    for attempt in 0..<2000 {
      guard Lock.acquire(lockWord) else { return false }
      drain()
      let hasMoved = socket.pointee.flags.contains(.moved)
      let isAlive = isOpen
      Lock.release(lockWord)
      if hasMoved { return true }
      guard isAlive else { return false }
      if hasEventsWaiting { ringDoorbell() }
      if attempt < 20 { fs_sys_yield() } else { fs_sys_pause_for(100_000) }
    }
    return false
  }
}

/// Gives the kernel's socket what the application has asked for of the connection.
private func configure(_ kernel: Int32, as socket: SocketPointer) {
  flushOptions(kernel, socket)
  let flags = fs_sys_fcntl(kernel, F_GETFL, 0)
  let wanted = socket.isNonblocking ? flags | O_NONBLOCK : flags & ~O_NONBLOCK
  if flags >= 0, flags != wanted { _ = fs_sys_fcntl(kernel, F_SETFL, Int(wanted)) }
  if socket.pointee.owner != 0 { _ = fs_sys_fcntl(kernel, F_SETOWN, Int(socket.pointee.owner)) }
}

/// Puts the kernel's socket under each descriptor of a socket, which is then none of ours.
private func substitute(_ kernel: Int32, _ index: UInt32) {
  guard process.pointee.highestDescriptor >= 0 else { return }
  for candidate in 0...process.pointee.highestDescriptor {
    let entry = DescriptorEntry.of(candidate)
    guard entry.kind == .connection, entry.index == index else { continue }
    if SocketTable.at(index).pointee.blockedCalls.hold(candidate) {
      // The application has closed it: other processes go on with it alone.
      closeInternal(candidate)
    } else {
      _ = fs_sys_dup3(kernel, candidate, entry.closeOnExec ? O_CLOEXEC : 0)
      descriptorClear(candidate)
    }
  }
}
