import CShim
import Synchronization

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
    if record >= 0, event.flags & EventFlags.paused != 0,
      (pointee.queues + Int(record)).pointee.takesOne
    {
      (pointee.queues + Int(record)).pointee.isPaused = true
    }
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

// What the readiness half asks for.

/// EPOLLIN if a connection waits in the channel's queue of the listener, or in that of a channel
/// which no thread calls its own, or in the kernel; with -1, in any.
func listenerReadiness(_ index: Int32, _ channel: Int32) -> UInt32 {
  let record = socketAt(index).pointee.listener
  guard record >= 0 else { return 0 }
  let listener = ListenerTable.at(record)
  if listener.pointee.isKernelReadable { return Ready.input }
  // The channel of a daemon that is gone: whoever had it takes what the next daemon brings.
  let channel = channel >= 0 && channelIsOpen(channel) ? channel : -1
  if channel >= 0, queueLength(record, channel) > 0 { return Ready.input }
  for word in 0..<4 {
    var bits = listener.pointee.channels[word]
    while bits != 0 {
      let joined = Int32(word * 64 + bits.trailingZeroBitCount)
      bits &= bits &- 1
      if channel >= 0, joined != channel, !ChannelTable.at(joined).isNobodys { continue }
      if queueLength(record, joined) > 0 { return Ready.input }
    }
  }
  return 0
}

@inline(__always)
func queueLength(_ record: Int32, _ channel: Int32) -> UInt32 {
  let pointer = ChannelTable.at(channel)
  return pointer.isOpen ? pointer.pointee.queues[Int(record)].count : 0
}

/// A link or a waiting thread begins to watch a listener: its connections shall come to the calling
/// thread's channel, which is answered; -1 if they come from the kernel alone. One that polls gets one at a time.
func listenerWatched(_ index: Int32, isPolling: Bool = false) -> Int32 {
  let record = socketAt(index).pointee.listener
  guard record >= 0 else { return -1 }
  let own = threadChannel()
  if own >= 0, resume(record, own, isPolling: isPolling) {
    ListenerTable.addWatchers(record, 1)
    return own
  }
  let channel = ChannelTable.forThread()
  guard channel >= 0 else {
    ListenerTable.addWatchers(record, 1)
    return -1
  }
  let lock = processWord(.control)
  guard Lock.acquire(lock) else { return -1 }
  let joined = ListenerTable.join(record, channel)
  Lock.release(lock)
  ListenerTable.addWatchers(record, 1)
  guard joined, resume(record, channel, isPolling: isPolling) else { return -1 }
  listenerJoined(index, channel)
  acceptInvitations()
  return channel
}

/// Has a listener watched by whoever polls or accepts without an epoll set: one channel of the
/// process, if none has joined yet.
func listenerPolled(_ index: Int32) {
  let record = socketAt(index).pointee.listener
  guard record >= 0 else { return }
  let listener = ListenerTable.at(record)
  if listener.pointee.watchers > 0, ListenerTable.isJoined(record) { return wantNext(record) }
  // Without a daemon this is asked again and again.
  if listener.pointee.retryAt != 0, monotonicNow() < listener.pointee.retryAt { return }
  let channel = listenerWatched(index, isPolling: true)
  if channel >= 0 {
    listener.pointee.polled = channel
  } else {
    ListenerTable.addWatchers(record, -1)
    listener.pointee.retryAt = monotonicNow() + 1_000_000_000
  }
}

/// Who polls or accepts without an epoll set is at work on one connection until it looks for the next: meanwhile
/// connections are for other processes, as if they waited in one queue. This is a look for the next. Call it when
/// the thread is counted as waiting, or when others are.
func wantNext(_ record: Int32) {
  let channel = ListenerTable.at(record).pointee.polled
  guard channel >= 0 else { return }
  let pointer = ChannelTable.at(channel)
  guard Lock.acquire(pointer.lockWord) else { return }
  defer { Lock.release(pointer.lockWord) }
  let queue = pointer.pointee.queues + Int(record)
  guard pointer.isOpen, queue.pointee.isJoined, queue.pointee.watchers > 0 else { return }
  pointer.want(record, once: queue.pointee.watchers == 1)
}

/// The process has forked: perhaps it is now the child that accepts. Listeners that nobody watches at
/// this moment get no connections here until someone does again.
func stopPollingListeners() {
  for record in 0..<ListenerTable.count {
    let listener = ListenerTable.at(record)
    guard listener.pointee.isUsed, listener.pointee.polled >= 0 else { continue }
    let index = listener.pointee.socket
    if SocketTable.at(index).waiters.pointee.load(ordering: .acquiring) != 0 { continue }
    let channel = listener.pointee.polled
    listener.pointee.polled = -1
    listenerUnwatched(Int32(index), channel: channel)
  }
}

/// A listener that engines once knew has taken a connection from the kernel: perhaps there is a daemon
/// again. Asked at most once a second.
func reattachListener(_ index: Int32) {
  let record = socketAt(index).pointee.listener
  guard record >= 0 else { return }
  let listener = ListenerTable.at(record)
  guard !listener.pointee.isRegistered, listener.pointee.watchers > 0 else { return }
  if listener.pointee.retryAt != 0, monotonicNow() < listener.pointee.retryAt { return }
  if ControlConnection.isResting { return }
  listener.pointee.retryAt = monotonicNow() + 1_000_000_000
  let channel = ChannelTable.forThread()
  guard channel >= 0 else { return }
  let lock = processWord(.control)
  guard Lock.acquire(lock) else { return }
  listener.pointee.retryAt = 0
  let joined = ListenerTable.join(record, channel)
  Lock.release(lock)
  guard joined, resume(record, channel) else { return }
  fs_report(Int32(FS_REPORT_LISTENER_ACCELERATED), Int(listener.pointee.descriptor))
  listenerJoined(index, channel)
}

/// Counts another watcher of a listener that the channel has joined; false if it has not.
private func resume(_ record: Int32, _ channel: Int32, isPolling: Bool = false) -> Bool {
  let pointer = ChannelTable.at(channel)
  guard Lock.acquire(pointer.lockWord) else { return false }
  defer { Lock.release(pointer.lockWord) }
  let queue = pointer.pointee.queues + Int(record)
  guard pointer.isOpen, queue.pointee.isJoined else { return false }
  queue.pointee.watchers += 1
  pointer.want(record, once: isPolling && queue.pointee.watchers == 1)
  return true
}

/// A link or a waiting thread that `listenerWatched` gave `channel` watches no more.
func listenerUnwatched(_ index: Int32, channel: Int32) {
  let record = socketAt(index).pointee.listener
  guard record >= 0 else { return }
  ListenerTable.addWatchers(record, -1)
  guard channel >= 0 else { return }
  let pointer = ChannelTable.at(channel)
  guard Lock.acquire(pointer.lockWord) else { return }
  defer { Lock.release(pointer.lockWord) }
  let queue = pointer.pointee.queues + Int(record)
  guard pointer.isOpen, queue.pointee.isJoined, queue.pointee.watchers > 0 else { return }
  queue.pointee.watchers -= 1
  guard queue.pointee.watchers == 0 else { return }
  // nginx removes and adds its listeners every few connections: only when the thread waits without
  // having added it again are the connections for somebody else. For another thread's channel there
  // is no such moment: that thread may wait for something else, or have ended (apache2's listener
  // thread removes what the thread that started it has added).
  if pointer.pointee.leavingCount == 32 { pointer.leaveListeners() }
  pointer.pointee.leaving[pointer.pointee.leavingCount] = record
  pointer.pointee.leavingCount += 1
  if channel != threadChannel() { pointer.leaveListeners() }
}

extension UnsafeMutablePointer<Channel> {
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
  private func pause(_ record: Int32) -> Bool {
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

  /// Has the engine bring connections of a listener, or only the next, if it does not yet. The lock is held.
  fileprivate func want(_ record: Int32, once: Bool) {
    let queue = pointee.queues + Int(record)
    guard queue.pointee.isPaused || queue.pointee.takesOne != once else { return }
    queue.pointee.isPaused = false
    queue.pointee.takesOne = once
    var command = Command(.resume, flags: once ? CommandFlags.once : 0)
    command.length = ListenerTable.at(record).pointee.number
    send(command)
    publish()
  }
}

/// The kernel's side of a listener has been found readable.
func kernelBecameReadable(_ index: Int32) {
  let record = socketAt(index).pointee.listener
  if record >= 0 { ListenerTable.at(record).pointee.isKernelReadable = true }
}

extension ListenerTable {
  /// Whether connections come to any channel of the process.
  static func isJoined(_ record: Int32) -> Bool {
    let channels = at(record).pointee.channels
    return channels[0] | channels[1] | channels[2] | channels[3] != 0
  }

  /// Counts watchers.
  static func addWatchers(_ record: Int32, _ delta: Int32) {
    let lock = processWord(.listeners)
    guard Lock.acquire(lock) else { return }
    // Links that a forked child inherited were not counted in it.
    let count = Int64(at(record).pointee.watchers) + Int64(delta)
    at(record).pointee.watchers = UInt32(max(count, 0))
    Lock.release(lock)
  }
}
