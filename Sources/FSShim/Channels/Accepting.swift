import CShim

// Connections on their way from an engine to accept().

extension UnsafeMutablePointer<Channel> {
  /// An engine has established a connection: makes it a socket, and queues that. False if it was
  /// given back. The lock is held.
  func acceptArrives(_ event: Event) -> Bool {
    let slot = pointee.slots + Int(event.slot)
    guard event.slot < pointee.geometry.firstConnectSlot, slot.pointee.socket == 0 else {
      breakChannel()
      return false
    }
    pointee.acceptWatermark = max(pointee.acceptWatermark, event.slot + 1)
    pointee.chunks.freeAll(on: &slot.pointee.sent)
    let record = ListenerTable.record(of: event.listener)
    if record >= 0, event.flags & EventFlags.paused != 0 { engineHasPaused(record) }
    // One that the engine has sent before it knew that nobody watches the listener here any more is for
    // others.
    guard record >= 0, !isLeft(record), let index = takeSocket() else {
      send(Command(.handBack, slot: event.slot))
      publish()
      return false
    }
    let socket = SocketTable.at(index)
    SocketTable.reset(socket)
    socket.pointee.references = 0
    socket.pointee.state = .queued
    socket.pointee.flags = .accepted
    socket.pointee.isIPv6 = SocketTable.at(ListenerTable.at(record).pointee.socket).pointee.isIPv6
    socket.pointee.channel = self.index
    socket.pointee.slot = event.slot
    socket.pointee.listener = record
    socket.pointee.maximumSegmentSize = event.maximumSegmentSize
    socket.pointee.localHigh = event.localHigh
    socket.pointee.localLow = event.localLow
    socket.pointee.localPort = event.localPort
    socket.pointee.remoteHigh = event.remoteHigh
    socket.pointee.remoteLow = event.remoteLow
    socket.pointee.remotePort = event.remotePort
    socket.updateReadiness()
    slot.pointee.socket = index + 1
    pointee.socketCount += 1
    enqueue(index, socket, record)
    return true
  }

  /// Whether the engine has been told to bring no more connections of a listener, and nobody here
  /// watches it, or the listener is closed.
  @inline(__always)
  private func isLeft(_ record: Int32) -> Bool {
    let queue = pointee.queues + Int(record)
    return !queue.pointee.isJoined || queue.pointee.isPaused && queue.pointee.watchers == 0
  }

  @inline(__always)
  private func enqueue(_ index: UInt32, _ socket: SocketPointer, _ record: Int32) {
    let queue = pointee.queues + Int(record)
    if queue.pointee.count == 0 {
      queue.pointee.head = index
    } else {
      SocketTable.at(queue.pointee.tail).pointee.next = index
    }
    queue.pointee.tail = index
    queue.pointee.count += 1
    listenerBecameReady(Int32(ListenerTable.at(record).pointee.socket), self.index)
  }

  /// The next connection of a listener. The lock is held.
  @inline(__always)
  func dequeue(_ record: Int32) -> UInt32? {
    let queue = pointee.queues + Int(record)
    guard queue.pointee.count > 0 else { return nil }
    let index = queue.pointee.head
    queue.pointee.head = SocketTable.at(index).pointee.next
    queue.pointee.count -= 1
    return index
  }

  /// Gives back all connections of a listener that nobody has accepted. The lock is held.
  func handBackAll(_ record: Int32) {
    while let index = dequeue(record) {
      let socket = SocketTable.at(index)
      let slot = pointee.slots + Int(socket.pointee.slot)
      if slot.pointee.socket == index + 1 {
        slot.pointee.socket = 0
        // One that has died meanwhile nobody wants.
        let isDead = socket.pointee.flags.contains(.readShut)
        send(Command(isDead ? .close : .handBack, slot: socket.pointee.slot))
      }
      forget(index, socket)
    }
    publish()
  }

  /// Has the engine bring no more connections of a listener, and gives back those that have come,
  /// so that another process which accepts them can have them. The lock is held.
  func withdraw(from record: Int32) {
    let queue = pointee.queues + Int(record)
    guard queue.pointee.isJoined else { return }
    pause(record)
    // Also if that was said earlier: what the engine had sent before it knew may still be on its way.
    _ = waitUntilTaken()
    drain()
    handBackAll(record)
    _ = waitUntilTaken()
  }

  /// The thread is about to wait: listeners that it stopped watching get no connections here from
  /// now on, and those that have come go to others who watch. The lock is held.
  func leaveListeners() {
    for position in 0..<pointee.leavingCount {
      let record = pointee.leaving[position]
      let queue = pointee.queues + Int(record)
      guard queue.pointee.watchers == 0, queue.pointee.isJoined, pause(record) else { continue }
      drain()
      handBackAll(record)
    }
    pointee.leavingCount = 0
    publish()
  }

  /// Has the engine bring no more connections of a listener; false if it has been told. The lock is held.
  @discardableResult
  func pause(_ record: Int32) -> Bool {
    let queue = pointee.queues + Int(record)
    // Of those that come one at a time the engine may say later that it has paused.
    guard !queue.pointee.isPaused || queue.pointee.takesOne else { return false }
    queue.pointee.isPaused = true
    queue.pointee.takesOne = false
    var command = Command(.pause)
    command.length = ListenerTable.at(record).pointee.number
    send(command)
    return true
  }

  /// The engine brings no more connections of a listener than the one just come, unless it has been told otherwise
  /// since. The lock is held.
  private func engineHasPaused(_ record: Int32) {
    let queue = pointee.queues + Int(record)
    if queue.pointee.takesOne { queue.pointee.isPaused = true }
  }

  /// Has the engine bring connections of a listener, or only the next, if it does not yet. The lock is held.
  func want(_ record: Int32, once: Bool) {
    let queue = pointee.queues + Int(record)
    guard queue.pointee.isPaused || queue.pointee.takesOne != once else { return }
    queue.pointee.isPaused = false
    queue.pointee.takesOne = once
    var command = Command(.resume, flags: once ? CommandFlags.once : 0)
    command.length = ListenerTable.at(record).pointee.number
    send(command)
    publish()
  }

  /// Takes a place in the socket table. The lock is held.
  @inline(__always)
  func takeSocket() -> UInt32? {
    guard pointee.freeSocketCount > 0 else { return SocketTable.take() }
    let index = pointee.firstFreeSocket
    pointee.firstFreeSocket = SocketTable.at(index).pointee.next
    pointee.freeSocketCount -= 1
    return index
  }

  /// Gives a socket's place in the table back. The lock is held, and stays held: the socket's lock
  /// word is its own from here on.
  @inline(__always)
  func forget(_ index: UInt32, _ socket: SocketPointer) {
    socket.pointee.state = .free
    socket.pointee.channel = -1
    pointee.socketCount -= 1
    guard pointee.freeSocketCount < 512 else {
      SocketTable.giveBack(index)
      return
    }
    socket.pointee.next = pointee.firstFreeSocket
    pointee.firstFreeSocket = index
    pointee.freeSocketCount += 1
  }
}
