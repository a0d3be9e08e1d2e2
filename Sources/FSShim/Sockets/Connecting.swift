import CShim
import Synchronization

/// connect(2): through an engine if the destination is behind one of the daemon's interfaces.
@c @implementation
public func fs_connect(_ fd: Int32, _ address: UnsafePointer<sockaddr>?, _ length: socklen_t)
  -> Int64
{
  switch descriptorKind(fd) {
  case .undecided: return connectUndecided(fd, address, length)
  case .connection: return connectAgain(fd, address, length)
  case .listener:
    guard isUnspecified(address, length) else { return failure(EISCONN) }
    return stopListening(fd) { fs_sys_disconnect(fd) }
  case .internal: return failure(EBADF)
  case .none, .epoll: return pass
  }
}

private func connectUndecided(
  _ fd: Int32, _ address: UnsafePointer<sockaddr>?, _ length: socklen_t
) -> Int64 {
  let endpoint = SocketEndpoint.read(address, length)
  var isEligible = false
  var index: UInt32 = 0
  var local = SocketEndpoint()
  let held = withSocket(fd) { socket, entry in
    index = entry.index
    local.high = socket.pointee.localHigh
    local.low = socket.pointee.localLow
    isEligible =
      entry.kind == .undecided && !socket.pointee.flags.contains(.kernelOnly)
      && (endpoint?.isIPv6 ?? false) == socket.pointee.isIPv6
    return 0
  }
  guard held == 0 else { return held }
  let reason: Int
  if !isEligible {
    reason = FS_FALLBACK_CONNECT_KERNEL_SOCKET
  } else if let endpoint, !endpoint.isKernelOnly {
    if RouteTable.isAccelerated(endpoint, from: local) {
      let channel = ChannelTable.forThread()
      if channel >= 0 {
        let result = start(fd, endpoint, channel)
        if result != pass { return finish(fd, index, result) }
      }
      reason = FS_FALLBACK_CONNECT_LIMIT
    } else {
      reason =
        ControlConnection.isResting
        ? FS_FALLBACK_CONNECT_NO_DAEMON : FS_FALLBACK_CONNECT_UNMANAGED
    }
  } else {
    reason = FS_FALLBACK_CONNECT_KERNEL_ADDRESS
  }
  fs_fell_back(Int32(reason))
  return connectInKernel(fd, address, length)
}

/// Has the kernel connect, and forgets the socket.
private func connectInKernel(
  _ fd: Int32, _ address: UnsafePointer<sockaddr>?, _ length: socklen_t
) -> Int64 {
  return withSocket(fd) { socket, entry in
    guard entry.kind == .undecided else { return pass }
    flushToKernel(fd, socket)
    guard socket.pointee.firstLink != 0, let address else {
      giveToKernel(fd, socket)
      return pass
    }
    // Before epoll sets see it, it must have begun to connect: an idle socket reports EPOLLHUP.
    let result = fs_sys_connect(fd, address, length)
    giveToKernel(fd, socket)
    return Int64(result)
  }
}

/// Asks the engine for the connection. EINPROGRESS if it is under way; `pass` if this channel cannot
/// take it.
private func start(_ fd: Int32, _ endpoint: SocketEndpoint, _ number: Int32) -> Int64 {
  let channel = ChannelTable.at(number)
  return withSocket(fd) { socket, entry in
    guard entry.kind == .undecided else { return failure(EALREADY) }
    guard Lock.acquire(channel.lockWord) else { return pass }
    defer { Lock.release(channel.lockWord) }
    guard channel.isOpen, channel.hasRoom(8), let slot = channel.takeConnectSlot() else {
      return pass
    }
    socket.pointee.slot = slot
    socket.pointee.forks = process.pointee.forks
    socket.pointee.state = .connecting
    socket.pointee.flags.remove(.ofOneConnection)
    socket.pointee.error = 0
    socket.pointee.received = ReceiveQueue()
    socket.pointee.unreported = 0
    socket.pointee.inFlight = 0
    socket.pointee.urgent.state = .none
    socket.pointee.remoteHigh = endpoint.high
    socket.pointee.remoteLow = endpoint.low
    socket.pointee.remotePort = endpoint.port
    channel.pointee.slots[Int(slot)].socket = entry.index + 1
    channel.pointee.socketCount += 1
    socket.updateReadiness()
    var command = Command(.connect, slot: slot)
    command.localHigh = socket.pointee.localHigh
    command.localLow = socket.pointee.localLow
    command.remoteHigh = endpoint.high
    command.remoteLow = endpoint.low
    command.remotePort = endpoint.port
    channel.send(command)
    // The socket is the channel's from here on; the options go after the connect.
    socket.pointee.channel = number
    channel.sendOptions(socket)
    renameDescriptors(of: entry.index, socket, fd, to: .connection)
    channel.publish()
    if socket.pointee.firstLink != 0 { socketDecided(Int32(entry.index), fd: fd, kernel: false) }
    return failure(EINPROGRESS)
  }
}

/// Waits for a connection that has been asked for, if the socket is a blocking one.
private func finish(_ number: Int32, _ index: UInt32, _ started: Int64) -> Int64 {
  guard started == failure(EINPROGRESS) else { return started }
  var fd = number
  defer { if fd != number { SocketTable.at(index).lateCallReturns() } }
  var limit: UInt64 = 0
  var isFirst = true
  while true {
    var mayWait = false
    var timeout: UInt64 = 0
    let result = withConnection(fd) { socket, channel in
      mayWait = !socket.isNonblocking
      timeout = socket.pointee.sendTimeout
      if !isFirst { channel.drain() }
      return connectResult(socket)
    }
    isFirst = false
    guard result == failure(EALREADY) else { return settle(fd, result) }
    guard mayWait else { return failure(EINPROGRESS) }
    if limit == 0 { limit = deadline(after: timeout) }
    let error = waitForSocket(Int32(index), fd: &fd, events: Ready.output, deadline: limit)
    // As Linux: a timeout leaves the attempt going.
    if error != 0 { return failure(error == EAGAIN ? EINPROGRESS : error) }
  }
}

/// What connect() answers on a socket that was asked to connect before: the states of
/// inet_stream_connect of Linux. The lock is held.
private func connectResult(_ socket: SocketPointer) -> Int64 {
  switch socket.pointee.state {
  case .connecting:
    return failure(EALREADY)
  case .connected:
    if socket.pointee.flags.contains(.connectReported) { return failure(EISCONN) }
    socket.pointee.flags.insert(.connectReported)
    return 0
  default:
    let error = socket.takeError()
    if error != 0 { return failure(Int32(error)) }
    return failure(socket.pointee.flags.contains(.wasConnected) ? EISCONN : ECONNABORTED)
  }
}

/// After a failed connect() has been told by connect(), a socket is as before it, as in Linux.
private func settle(_ fd: Int32, _ result: Int64) -> Int64 {
  guard result < 0, result != failure(EISCONN) else { return result }
  var isAbandoned = false
  _ = withConnection(fd) { socket, channel in
    guard socket.pointee.state == .failed, socket.pointee.flags.contains(.connectFailed),
      socket.pointee.error == 0
    else { return 0 }
    channel.abandon(socket)
    isAbandoned = true
    return 0
  }
  if isAbandoned {
    _ = withSocket(fd) { socket, entry in
      renameDescriptors(of: entry.index, socket, fd, to: .undecided)
      return 0
    }
  }
  return result
}

/// connect() on a socket that is, or was, an engine's.
private func connectAgain(
  _ fd: Int32, _ address: UnsafePointer<sockaddr>?, _ length: socklen_t
) -> Int64 {
  var index: UInt32 = 0
  var isAnew = false
  let result = withConnection(fd) { socket, channel in
    index = socket.index
    channel.drain()
    if socket.pointee.state == .connecting, isUnspecified(address, length),
      channel.endAttempt(of: socket)
    {
      return 0
    }
    // The failure has been told by SO_ERROR, or the program itself has ended the attempt.
    isAnew =
      socket.pointee.state == .failed && socket.pointee.flags.contains(.connectFailed)
      && (socket.pointee.error == 0 || socket.pointee.flags.contains(.connectReported))
    if isAnew { socket.pointee.error = 0 }
    return isAnew ? failure(ECONNABORTED) : connectResult(socket)
  }
  if result == failure(EALREADY) { return finish(fd, index, failure(EINPROGRESS)) }
  let settled = settle(fd, result)
  return isAnew ? connectUndecided(fd, address, length) : settled
}

extension UnsafeMutablePointer<Channel> {
  /// Takes a free slot of the application's half. The lock is held.
  fileprivate func takeConnectSlot() -> UInt32? {
    let slot: UInt32
    if pointee.firstFreeSlot != .max {
      slot = pointee.firstFreeSlot
      pointee.firstFreeSlot = pointee.slots[Int(slot)].next
    } else {
      drain()
      if pointee.firstFreeSlot != .max { return takeConnectSlot() }
      guard pointee.slotWatermark < pointee.geometry.slotCount else { return nil }
      slot = pointee.slotWatermark
      pointee.slotWatermark += 1
    }
    pointee.slots[Int(slot)].sent = SendQueue()
    return slot
  }

  /// Separates a socket from a connection that failed. The lock is held.
  fileprivate func abandon(_ socket: SocketPointer) {
    let slot = socket.pointee.slot
    pointee.slots[Int(slot)].socket = 0
    send(Command(.close, slot: slot))
    publish()
    pointee.socketCount -= 1
    socket.pointee.state = .undecided
    socket.pointee.flags.remove(.connectFailed)
    socket.pointee.channel = -1
  }
}
