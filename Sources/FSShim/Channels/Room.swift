import CShim
import Synchronization

// Sockets that wait for room to send.

extension UnsafeMutablePointer<Channel> {
  /// Whether a socket is writable, as sk_stream_is_writeable of Linux has it: a third of the room is
  /// free, and less than half of what TCP_NOTSENT_LOWAT allows is unsent.
  @inline(__always)
  func isWritable(_ socket: SocketPointer) -> Bool {
    let limit = socket.pointee.sendLimit
    guard pointee.slots[Int(socket.pointee.slot)].sent.bytes <= limit - limit / 3 else {
      return false
    }
    guard let mark = socket.unsentLowWater else { return true }
    return UInt64(unsent(socket)) * 2 < UInt64(mark)
  }

  /// Bytes that the engine has not sent, as far as is known here: some of them may have gone out
  /// since it last said so.
  @inline(__always)
  func unsent(_ socket: SocketPointer) -> UInt32 {
    let queued = pointee.slots[Int(socket.pointee.slot)].sent.bytes
    return queued - min(socket.pointee.inFlight, queued)
  }

  /// Whether a socket that had too little room has enough again.
  @inline(__always)
  func hasRoomAgain(_ socket: SocketPointer) -> Bool {
    isWritable(socket)
      && pointee.slots[Int(socket.pointee.slot)].sent.chunks < pointee.chunks.allowance
  }

  /// The room has another size: decides anew whether the socket is writable.
  func reviewRoom(_ socket: SocketPointer) {
    if socket.pointee.flags.contains(.wantsRoom), hasRoomAgain(socket) {
      forgetWish(socket)
      unstarve(socket)
      socket.updateReadiness()
    } else {
      noteLittleRoom(socket)
    }
  }

  /// Bytes were sent: the socket may not be writable any more. A wish that a write has left which found too little room
  /// stays until there is news: whatever it was that was missing.
  @inline(__always)
  func noteLittleRoom(_ socket: SocketPointer) {
    guard !socket.pointee.flags.contains(.wantsRoom), !isWritable(socket) else { return }
    noteWish(socket)
    socket.updateReadiness()
    askForSpace()
  }

  /// Notes that a write found too little room, or left too little.
  func noteWish(_ socket: SocketPointer) {
    guard socket.pointee.flags.isDisjoint(with: .wantsRoomOrMoved) else { return }
    socket.pointee.flags.insert(.wantsRoom)
    pointee.wantingCount += 1
  }

  /// The opposite of `noteWish`.
  func forgetWish(_ socket: SocketPointer) {
    guard socket.pointee.flags.contains(.wantsRoom) else { return }
    socket.pointee.flags.remove(.wantsRoom)
    pointee.wantingCount -= 1
  }

  /// Someone may be about to sleep until there is room: the engine, which wakes nobody for mere
  /// acknowledgements, shall do so for the next. To be asked again whenever it has posted something,
  /// whoever takes that, because the wish ends with the next event.
  @inline(__always)
  func askForSpace() {
    guard pointee.wantingCount > 0, !pointee.hasAskedForSpace, hasRoom() else { return }
    pointee.hasAskedForSpace = true
    send(Command(.wantSpace))
    publish()
  }

  /// Puts a socket that found no send chunk at the end of the list of those who wait for one.
  func starve(_ socket: SocketPointer) {
    guard socket.pointee.flags.isDisjoint(with: .starvedOrMoved) else { return }
    socket.pointee.flags.insert(.starved)
    socket.pointee.nextStarved = .max
    let index = SocketTable.index(of: socket)
    if pointee.starvedTail == .max {
      pointee.starvedHead = index
    } else {
      SocketTable.at(pointee.starvedTail).pointee.nextStarved = index
    }
    pointee.starvedTail = index
  }

  /// Wakes sockets that wait for send chunks: one for every few chunks that are free, and all of
  /// them once a quarter is free, so that none is forgotten when those woken want nothing any more.
  func wakeStarved() {
    guard hasRoom(SendRoom.commands) else { return }
    var chances = pointee.chunks.free >= pointee.chunks.count / 4 ? .max : pointee.chunks.free / 4
    while chances > 0, pointee.starvedHead != .max {
      let socket = SocketTable.at(pointee.starvedHead)
      unstarve(socket)
      chances -= 1
      guard socket.pointee.flags.contains(.wantsRoom) else { continue }
      forgetWish(socket)
      socket.updateReadiness()
      notifyOfOwn(socket, Ready.output)
    }
  }

  /// Takes a socket out of the list.
  func unstarve(_ socket: SocketPointer) {
    guard socket.pointee.flags.contains(.starved) else { return }
    socket.pointee.flags.remove(.starved)
    let index = SocketTable.index(of: socket)
    var previous: UInt32 = .max
    var current = pointee.starvedHead
    while current != .max, current != index {
      previous = current
      current = SocketTable.at(current).pointee.nextStarved
    }
    guard current == index else { return }
    if previous == .max {
      pointee.starvedHead = socket.pointee.nextStarved
    } else {
      SocketTable.at(previous).pointee.nextStarved = socket.pointee.nextStarved
    }
    if pointee.starvedTail == index { pointee.starvedTail = previous }
    socket.pointee.nextStarved = .max
  }
}

extension UnsafeMutablePointer<Socket> {
  /// TCP_NOTSENT_LOWAT; nil without it. Zero is what sysctl says, which is none.
  @inline(__always)
  var unsentLowWater: UInt32? {
    let mark = options.value(KeptOption(FS_OPTION_NOTSENT_LOWAT))
    guard let mark, mark != 0 else { return nil }
    return UInt32(bitPattern: mark)
  }
}
