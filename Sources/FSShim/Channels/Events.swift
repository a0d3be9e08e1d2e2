import CShim
import Synchronization

// Events from the engine, dispatched to sockets. The channel's lock is held.

/// Dispatches what the engine has announced on a channel, for a thread that is about to wait or has
/// waited. Returns at once when there is nothing, or
/// when the calling thread is in the channel already.
func drainChannel(_ channel: Int32) {
  let pointer = ChannelTable.at(channel)
  guard pointer.isOpen else { return }
  guard
    pointer.pointee.events.readyCount() != 0 || pointer.pointee.unreportedCount > 0
      || pointer.pointee.delayedCount > 0 || pointer.pointee.leavingCount > 0
      || pointer.pointee.movedHead != .max || pointer.hasEventsWaiting
  else { return }
  guard Lock.acquire(pointer.lockWord) else { return }
  if pointer.pointee.leavingCount > 0 { pointer.leaveListeners() }
  pointer.drain()
  pointer.reportAll()
  let hasMoved = pointer.pointee.movedHead != .max
  Lock.release(pointer.lockWord)
  if hasMoved { settleMoved(channel) }
}

/// Dispatches what has come for the calling thread.
@inline(__always)
func drainAllChannelsForThread() {
  let channel = threadChannel()
  if channel >= 0 { drainChannel(channel) }
}

extension UnsafeMutablePointer<Channel> {
  /// The number of the channel.
  @inline(__always)
  var index: Int32 { Int32(self - process.pointee.channels) }

  /// Dispatches everything that is ready.
  func drain() {
    if pointee.delayedCount > 0 { sendDelayed() }
    while isOpen {
      guard let ready = pointee.events.readyCount() else {
        breakChannel()
        return
      }
      if ready == 0 { break }
      pointee.hasAskedForSpace = false
      // In portions, so that the engine has room again soon.
      let portion = min(ready, 64)
      for position in 0..<portion { dispatch(pointee.events.element(at: position)) }
      pointee.events.release(portion)
    }
    if hasEventsWaiting { ringDoorbell() }
    if pointee.starvedHead != .max { wakeStarved() }
    askForSpace()
  }

  /// Whether the engine has events for which the ring had no room.
  @inline(__always)
  var hasEventsWaiting: Bool {
    pointee.header.eventsWait.pointee.load(ordering: .relaxed) != 0
  }

  private func dispatch(_ event: Event) {
    guard isOpen else { return }
    guard event.slot < pointee.geometry.slotCount else {
      breakChannel()
      return
    }
    let slot = pointee.slots + Int(event.slot)
    if event.kind == EventKind.accepted.rawValue {
      guard acceptArrives(event) else { return }
    } else if event.kind == EventKind.released.rawValue {
      released(event.slot)
      return
    } else if event.kind != EventKind.progress.rawValue {
      return
    }
    if event.acknowledged > 0,
      !pointee.chunks.acknowledged(event.acknowledged, on: &slot.pointee.sent)
    {
      breakChannel()
      return
    }
    // After close() only what gives chunks back matters.
    guard slot.pointee.socket != 0 else {
      if event.flags & EventFlags.failed != 0 { pointee.chunks.freeAll(on: &slot.pointee.sent) }
      return
    }
    progress(event, SocketTable.at(slot.pointee.socket - 1), slot)
  }

  /// What an event changes in its socket, and what of it is news to those who wait.
  private func progress(
    _ event: Event, _ socket: SocketPointer, _ slot: UnsafeMutablePointer<Slot>
  ) {
    if event.flags & EventFlags.moved != 0 {
      moveArrives(socket)
      return
    }
    var edges: UInt32 = 0
    let isProgress = event.kind == EventKind.progress.rawValue
    if isProgress { socket.pointee.inFlight = event.inFlight }
    if event.flags & EventFlags.data != 0 {
      let fits = pointee.pieces.append(
        event.chunk, offset: event.offset, length: event.length, to: &socket.pointee.received)
      guard fits else {
        breakChannel()
        return
      }
      if socket.pointee.received.count >= socket.receiveLowWater + socket.hole {
        edges |= Ready.input
      } else {
        // Nothing to tell, except to a read that has begun to take what it waits for.
        socket.updateReadiness()
        if socket.pointee.state != .queued { wakeWaiters(of: Int32(socket.index)) }
      }
    }
    if isProgress && event.flags & EventFlags.urgent != 0
      || socket.pointee.urgent.state == .announced
    {
      let isNew = isProgress && event.flags & EventFlags.urgent != 0
      edges |= urgentArrives(socket, ahead: isNew ? event.urgentDistance : nil)
      socket.updateReadiness()
    }
    if event.flags & EventFlags.connected != 0 {
      connected(event, socket)
      edges |= Ready.output
    }
    if event.flags & EventFlags.peerFinished != 0 {
      socket.pointee.flags.insert(.peerFinished)
      edges |= Ready.input | Ready.peerHangUp
      if socket.pointee.flags.contains(.writeShut) { edges |= Ready.hangUp }
    }
    // Also when nothing was acknowledged: TCP_NOTSENT_LOWAT asks what is unsent.
    if socket.pointee.flags.contains(.wantsRoom), socket.pointee.state == .connected,
      hasRoomAgain(socket)
    {
      forgetWish(socket)
      edges |= Ready.output
    }
    if event.flags & EventFlags.failed != 0 {
      failed(socket, slot, error: event.error)
      edges |= Ready.dead | Ready.error
    }
    guard edges != 0 else { return }
    socket.updateReadiness()
    if socket.pointee.state != .queued { notify(socket, edges) }
  }

  /// Tells those who wait for a socket.
  @inline(__always)
  func notify(_ socket: SocketPointer, _ edges: UInt32) {
    if socket.pointee.firstLink != 0 || socket.waiters.pointee.load(ordering: .relaxed) != 0 {
      socketBecameReady(Int32(SocketTable.index(of: socket)), edges)
    }
  }

  /// `notify` of news that did not come from the ring, which whoever is about to sleep looks at last: what has just been
  /// stored must be seen by him, or he by us.
  func notifyOfOwn(_ socket: SocketPointer, _ edges: UInt32) {
    atomicMemoryFence(ordering: .sequentiallyConsistent)
    notify(socket, edges)
  }

  private func connected(_ event: Event, _ socket: SocketPointer) {
    guard socket.pointee.state == .connecting else { return }
    socket.pointee.state = .connected
    socket.pointee.flags.insert(.wasConnected)
    socket.pointee.localHigh = event.localHigh
    socket.pointee.localLow = event.localLow
    socket.pointee.localPort = event.localPort
    socket.pointee.maximumSegmentSize = event.maximumSegmentSize
  }

  /// The connection is dead. What has been received can still be read; the chunks of what was sent
  /// are ours again.
  func failed(_ socket: SocketPointer, _ slot: UnsafeMutablePointer<Slot>, error: UInt16) {
    pointee.chunks.freeAll(on: &slot.pointee.sent)
    forgetWish(socket)
    unstarve(socket)
    if socket.pointee.state == .connecting { socket.pointee.flags.insert(.connectFailed) }
    // A connection that nobody has accepted is still accepted; the error shows then.
    if socket.pointee.state != .queued { socket.pointee.state = .failed }
    socket.pointee.flags.insert(.bothShut)
    socket.pointee.error = error
  }

  /// A slot of the application's half is free.
  private func released(_ number: UInt32) {
    guard number >= pointee.geometry.firstConnectSlot else { return }
    let slot = pointee.slots + Int(number)
    guard slot.pointee.socket == 0 else { return }
    pointee.chunks.freeAll(on: &slot.pointee.sent)
    slot.pointee.next = pointee.firstFreeSlot
    pointee.firstFreeSlot = number
  }
}

extension UnsafeMutablePointer<Socket> {
  /// Computes the epoll bits anew, as tcp_poll of Linux does.
  @inline(__always)
  func updateReadiness() {
    let flags = pointee.flags
    var bits: UInt32 = 0
    if pointee.state == .connecting {
      readiness.pointee.store(0, ordering: .releasing)
      return
    }
    let readEnded = flags.contains(.peerFinished) || flags.contains(.readShut)
    let writeEnded = flags.contains(.writeShut)
    if pointee.received.count > hole {
      bits |= Ready.anyInput
      if pointee.received.count >= receiveLowWater + hole { bits |= Ready.input }
    }
    if pointee.urgent.state == .present { bits |= Ready.priority }
    if readEnded { bits |= Ready.input | Ready.anyInput | Ready.peerHangUp }
    if writeEnded || !flags.contains(.wantsRoom) { bits |= Ready.output }
    if pointee.state == .failed || readEnded && writeEnded { bits |= Ready.hangUp }
    if pointee.error != 0 { bits |= Ready.error }
    readiness.pointee.store(bits, ordering: .releasing)
  }
}
