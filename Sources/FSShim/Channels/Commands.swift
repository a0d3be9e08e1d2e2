import CShim
import Synchronization

// Commands to the engine. The channel's lock is held.

extension UnsafeMutablePointer<Channel> {
  /// Whether there is room for `count` more commands, without waiting for it.
  @inline(__always)
  func hasRoom(_ count: UInt32 = 1) -> Bool {
    guard pointee.delayedCount == 0, let free = pointee.commands.freeCount(atLeast: count) else {
      return false
    }
    return free >= count
  }

  /// Sends a command that must not be lost: when the ring is full it is kept until there is room.
  func send(_ command: Command) {
    guard isOpen else { return }
    if hasRoom() {
      pointee.commands.append(command)
    } else {
      ringDoorbell()
      delay(command)
    }
  }

  private func delay(_ command: Command) {
    // More than can be asked for in a turn of an engine that lives; the daemon has stopped.
    guard pointee.delayedCount < Channel.delayedCapacity else { return }
    pointee.delayed[pointee.delayedCount] = command
    pointee.delayedCount += 1
  }

  /// Sends what was kept while the ring was full.
  func sendDelayed() {
    guard pointee.delayedCount > 0 else { return }
    let count = Int(pointee.commands.freeCount(atLeast: UInt32(pointee.delayedCount)) ?? 0)
    let sent = min(count, pointee.delayedCount)
    for position in 0..<sent { pointee.commands.append(pointee.delayed[position]) }
    for position in sent..<pointee.delayedCount {
      pointee.delayed[position - sent] = pointee.delayed[position]
    }
    pointee.delayedCount -= sent
    if sent > 0 { publish() }
  }

  /// Shows the engine what was appended, and wakes it if it sleeps.
  @inline(__always)
  func publish() {
    guard pointee.commands.hasUnpublished else { return }
    pointee.commands.publish()
    ringDoorbell()
  }

  /// Shows the engine what was appended, which can wait until it has something else to do.
  @inline(__always)
  func publishQuietly() {
    if pointee.commands.hasUnpublished { pointee.commands.publish() }
  }

  /// Waits until the engine has taken everything that was sent, and has finished the round in which
  /// it did so; for moments at which something ends. False if it has not within a tenth of a second.
  func waitUntilTaken() -> Bool {
    // What the engine posts because of a command it posts in the same round: the second command is
    // taken in a later one.
    for _ in 0..<2 {
      send(Command(.wantSpace))
      pointee.commands.publish()
      ringDoorbell()
      var attempts = 0
      while !pointee.commands.isDrained || pointee.delayedCount > 0 {
        guard isOpen, attempts < 2000 else { return false }
        attempts += 1
        if attempts < 20 { fs_sys_yield() } else { fs_sys_pause_for(50_000) }
        sendDelayed()
        ringDoorbell()
      }
    }
    return isOpen
  }

  /// Wakes the engine if it sleeps and has not been woken since it fell asleep.
  @inline(__always)
  func ringDoorbell() {
    atomicMemoryFence(ordering: .sequentiallyConsistent)
    let sleep = pointee.header.engineSleep.pointee.load(ordering: .relaxed)
    if sleep & 1 == 1, sleep != pointee.rungFor {
      pointee.rungFor = sleep
      fs_sys_ring(pointee.doorbell)
    }
  }
}

// Bytes read by the application, which the engine wants to know to widen the window and to use the
// chunks again.

extension UnsafeMutablePointer<Channel> {
  /// Unreported bytes that are worth waking a sleeping engine for: half of the receive buffer if that is small, because
  /// then the peer may have no window left.
  @inline(__always)
  private func reportAtOnce(_ socket: SocketPointer) -> UInt32 {
    socket.options.marks == 0 ? 16_384 : min(16_384, socket.halfReceiveBuffer)
  }
  /// Unreported bytes of a drained queue that are worth a command of their own.
  private var reportSoon: UInt32 { 4096 }

  /// The application has read bytes of a socket: reports them, or remembers to.
  @inline(__always)
  func noteRead(_ socket: SocketPointer) {
    let count = socket.pointee.unreported
    if socket.mayBeShared {
      // Whoever asks for the connection next is to find what was not read, and nothing else.
      reportShared(socket)
      return
    }
    if count >= reportAtOnce(socket) || count >= reportSoon && socket.pointee.received.count == 0 {
      report(socket)
      return
    }
    // Small requests wait for the next turn: by then the connection is often closed, and `close`
    // carries the number.
    guard !socket.pointee.flags.contains(.reportListed) else { return }
    if pointee.unreportedCount == Channel.unreportedCapacity {
      reportAll()
      guard pointee.unreportedCount < Channel.unreportedCapacity else { return }
    }
    socket.pointee.flags.insert(.reportListed)
    pointee.unreported[pointee.unreportedCount] = socket.pointee.slot
    pointee.unreportedCount += 1
  }

  @inline(never)
  private func reportShared(_ socket: SocketPointer) {
    sendUnreported(socket)
    publishQuietly()
  }

  /// Tells the engine of all bytes that were read of a socket, whether or not the ring has room. The
  /// caller publishes.
  func sendUnreported(_ socket: SocketPointer) {
    guard socket.pointee.unreported > 0 else { return }
    var command = Command(.consume, slot: socket.pointee.slot)
    command.length = socket.pointee.unreported
    socket.pointee.unreported = 0
    send(command)
  }

  private func report(_ socket: SocketPointer) {
    guard hasRoom() else { return }
    var command = Command(.consume, slot: socket.pointee.slot)
    command.length = socket.pointee.unreported
    pointee.commands.append(command)
    if socket.pointee.unreported >= reportAtOnce(socket) { publish() } else { publishQuietly() }
    socket.pointee.unreported = 0
  }

  /// Reports what has been read in small portions.
  @inline(__always)
  func reportAll() {
    if pointee.unreportedCount > 0 { reportList() }
  }

  private func reportList() {
    var kept = 0
    for position in 0..<pointee.unreportedCount {
      let slot = pointee.unreported[position]
      let stored = pointee.slots[Int(slot)].socket
      guard stored != 0 else { continue }
      let socket = SocketTable.at(stored - 1)
      guard socket.pointee.unreported > 0 else {
        socket.pointee.flags.remove(.reportListed)
        continue
      }
      report(socket)
      if socket.pointee.unreported > 0 {
        pointee.unreported[kept] = slot
        kept += 1
      } else {
        socket.pointee.flags.remove(.reportListed)
      }
    }
    pointee.unreportedCount = kept
  }
}

extension UnsafeMutablePointer<Socket> {
  /// Half of what SO_RCVBUF and TCP_WINDOW_CLAMP let the window be; the former is kept doubled, as Linux has it.
  fileprivate var halfReceiveBuffer: UInt32 {
    var half = Int32.max
    if let size = options.value(KeptOption(FS_OPTION_RCVBUF)) { half = size / 4 }
    if let clamp = options.value(KeptOption(FS_OPTION_WINDOW_CLAMP)), clamp > 0 {
      half = min(half, clamp / 2)
    }
    return UInt32(max(half, 1))
  }
}
