import CShim
import Synchronization

/// read(2).
@c @implementation
public func fs_read(_ fd: Int32, _ buffer: UnsafeMutableRawPointer?, _ count: Int) -> Int64 {
  var vector = iovec(iov_base: buffer, iov_len: count)
  // As in Linux, read(2) of nothing does not look at the stream, recv(2) of nothing does.
  if count == 0 { return withConnection(fd) { _, _ in 0 } }
  return receive(fd, &vector, 1, 0)
}

/// readv(2).
@c @implementation
public func fs_readv(_ fd: Int32, _ vectors: UnsafePointer<iovec>?, _ count: Int32) -> Int64 {
  guard let vectors, count >= 0, count <= 1024 else { return failure(EINVAL) }
  let isNothing = VectorCursor(vectors, Int(count)).bytesLeft == 0
  return isNothing ? withConnection(fd) { _, _ in 0 } : receive(fd, vectors, Int(count), 0)
}

/// recv(2) and recvfrom(2).
@c @implementation
public func fs_recvfrom(
  _ fd: Int32, _ buffer: UnsafeMutableRawPointer?, _ count: Int, _ flags: Int32,
  _ address: UnsafeMutablePointer<sockaddr>?, _ length: UnsafeMutablePointer<socklen_t>?
) -> Int64 {
  var vector = iovec(iov_base: buffer, iov_len: count)
  let result = receive(fd, &vector, 1, flags)
  // A stream has no sender per datagram: as Linux, none is told.
  if result >= 0, let length { length.pointee = 0 }
  return result
}

/// recvmsg(2).
@c @implementation
public func fs_recvmsg(_ fd: Int32, _ message: UnsafeMutablePointer<msghdr>?, _ flags: Int32)
  -> Int64
{
  guard let message else { return failure(EFAULT) }
  guard message.pointee.msg_iovlen <= 1024 else { return failure(EMSGSIZE) }
  let result: Int64
  if let vectors = message.pointee.msg_iov {
    result = receive(fd, vectors, Int(message.pointee.msg_iovlen), flags)
  } else {
    var none = iovec()
    result = receive(fd, &none, 0, flags)
  }
  if result >= 0 {
    message.pointee.msg_namelen = 0
    message.pointee.msg_flags = flags & (Flag.outOfBand | Flag.closeOnExec)
    let left = bytesLeft(fd)
    if left < 0 || !putBytesLeft(Int32(clamping: left), message) {
      message.pointee.msg_controllen = 0
    }
  }
  return result
}

/// TCP_INQ: bytes that a connection has for the next read, one if that would find only the end of
/// the stream; -1 if the application does not want to know.
private func bytesLeft(_ fd: Int32) -> Int64 {
  withConnection(fd) { socket, _ in
    guard socket.options.isOn(FS_OPTION_INQ) else { return -1 }
    let count = Int64(socket.pointee.received.count)
    return count == 0 && socket.pointee.flags.contains(.peerFinished) ? 1 : count
  }
}

/// Writes the control message TCP_CM_INQ, if there is room: tcp_recvmsg of Linux.
private func putBytesLeft(_ count: Int32, _ message: UnsafeMutablePointer<msghdr>) -> Bool {
  let size = MemoryLayout<cmsghdr>.size + MemoryLayout<Int32>.size
  guard let control = message.pointee.msg_control, message.pointee.msg_controllen >= size else {
    message.pointee.msg_flags |= Flag.controlTruncated
    return false
  }
  var header = cmsghdr()
  header.cmsg_len = size
  header.cmsg_level = SOL_TCP
  header.cmsg_type = TCP_INQ
  control.copyMemory(from: &header, byteCount: MemoryLayout<cmsghdr>.size)
  control.storeBytes(of: count, toByteOffset: MemoryLayout<cmsghdr>.size, as: Int32.self)
  let padded = (size + MemoryLayout<Int>.size - 1) / MemoryLayout<Int>.size * MemoryLayout<Int>.size
  message.pointee.msg_controllen = min(padded, message.pointee.msg_controllen)
  return true
}

private enum Flag {
  static var outOfBand: Int32 { 0x1 }
  static var peek: Int32 { 0x2 }
  static var controlTruncated: Int32 { 0x8 }
  static var truncate: Int32 { 0x20 }
  static var dontWait: Int32 { 0x40 }
  static var waitAll: Int32 { 0x100 }
  static var errorQueue: Int32 { 0x2000 }
  static var closeOnExec: Int32 { 0x4000_0000 }
}

private func receive(_ number: Int32, _ vectors: UnsafePointer<iovec>, _ count: Int, _ flags: Int32)
  -> Int64
{
  var fd = number
  var index: UInt32 = 0
  defer { if fd != number { SocketTable.at(index).lateCallReturns() } }
  var cursor = VectorCursor(vectors, count)
  guard cursor.isValid else { return failure(EINVAL) }
  let wanted = Int64(cursor.bytesLeft)
  var total: Int64 = 0
  var limit: UInt64 = 0
  while true {
    var mayWait = false
    var timeout: UInt64 = 0
    var enough = wanted
    var isAtMark = false
    let result = withConnection(fd) { socket, channel in
      mayWait = !socket.isNonblocking && flags & Flag.dontWait == 0
      timeout = socket.pointee.receiveTimeout
      index = socket.index
      if flags & Flag.waitAll == 0 { enough = min(wanted, Int64(socket.receiveLowWater)) }
      let result = receiveNow(socket, channel, &cursor, flags, isFirst: total == 0)
      isAtMark = socket.pointee.urgent.isNext
      return result
    }
    if result > 0 {
      total += result
      // MSG_PEEK would find the same bytes again: what is there is enough.
      if total >= enough || isAtMark || flags & (Flag.peek | Flag.outOfBand) != 0 { return total }
      continue
    }
    guard result == failure(EAGAIN), mayWait, flags & (Flag.outOfBand | Flag.errorQueue) == 0
    else {
      return total > 0 ? total : result
    }
    if limit == 0 { limit = deadline(after: timeout) }
    let error = waitForSocket(Int32(index), fd: &fd, events: Ready.anyInput, deadline: limit)
    // Who wants nothing waits once, and is not told what for: tcp_recvmsg of Linux.
    if wanted == 0 { return 0 }
    if error != 0 { return total > 0 ? total : failure(error) }
  }
}

/// Takes what is there. The lock is held.
@inline(__always)
private func receiveNow(
  _ socket: SocketPointer, _ channel: ChannelPointer, _ cursor: inout VectorCursor, _ flags: Int32,
  isFirst: Bool
) -> Int64 {
  if flags & (Flag.outOfBand | Flag.errorQueue) != 0 {
    if flags & Flag.errorQueue != 0 { return failure(EAGAIN) }
    return channel.receiveUrgent(
      socket, &cursor, isPeek: flags & Flag.peek != 0, discards: flags & Flag.truncate != 0)
  }
  guard cursor.bytesLeft > 0 else {
    channel.drain()
    return socket.pointee.received.count > 0 ? 0 : nothingReceived(socket, isFirst)
  }
  // As much as has arrived, like the kernel: a short read means to many programs that no more is
  // there.
  if Int(socket.pointee.received.count) < cursor.bytesLeft {
    channel.drain()
    if socket.pointee.received.count == 0 { return nothingReceived(socket, isFirst) }
  }
  if socket.pointee.urgent.isNext, !isFirst { return 0 }
  if flags & Flag.peek == 0, socket.hole > 0 {
    // The urgent byte is left out, and the mark passed, also if nothing follows.
    channel.skip(socket)
    if socket.pointee.received.count == 0 {
      socket.updateReadiness()
      return nothingReceived(socket, isFirst)
    }
  }
  let discards = flags & Flag.truncate != 0
  if flags & Flag.peek != 0 { return peek(socket, channel, cursor, discards, isFirst) }
  var room = cursor.bytesLeft
  // A read that has begun ends before the mark.
  let mark = socket.pointee.urgent
  if mark.state != .none, mark.distance > 0 { room = min(room, Int(mark.distance)) }
  var taken = 0
  while taken < room, socket.pointee.received.count > 0 {
    let chunk = socket.pointee.received.head
    let piece = channel.pointee.pieces.records[Int(chunk)]
    let part = min(Int(piece.length), room - taken)
    let source = channel.receiveBytes(chunk) + Int(piece.offset)
    cursor.advance(part) { memory, done, count in
      if !discards { memory.copyMemory(from: source + done, byteCount: count) }
    }
    channel.pointee.pieces.dropFirst(UInt32(part), of: &socket.pointee.received)
    taken += part
  }
  if mark.state != .none { socket.pointee.urgent.consumed(UInt32(taken)) }
  socket.pointee.unreported &+= UInt32(taken)
  if socket.pointee.received.count < socket.receiveLowWater + socket.hole || mark.state != .none {
    socket.updateReadiness()
  }
  channel.noteRead(socket)
  return Int64(taken)
}

private func peek(
  _ socket: SocketPointer, _ channel: ChannelPointer, _ start: VectorCursor, _ discards: Bool,
  _ isFirst: Bool
) -> Int64 {
  var cursor = start
  var chunk = socket.pointee.received.head
  var skipped = Int(socket.hole)
  var room = cursor.bytesLeft
  let mark = socket.pointee.urgent
  if mark.state != .none, mark.distance > 0 { room = min(room, Int(mark.distance)) }
  var taken = 0
  while taken < room, chunk != .max {
    let piece = channel.pointee.pieces.records[Int(chunk)]
    let part = min(Int(piece.length) - skipped, room - taken)
    let source = channel.receiveBytes(chunk) + Int(piece.offset) + skipped
    cursor.advance(part) { memory, done, count in
      if !discards { memory.copyMemory(from: source + done, byteCount: count) }
    }
    skipped = 0
    taken += part
    chunk = piece.next
  }
  return taken > 0 ? Int64(taken) : nothingReceived(socket, isFirst)
}

/// What a read answers that finds no bytes: the order of tcp_recvmsg of Linux.
private func nothingReceived(_ socket: SocketPointer, _ isFirst: Bool) -> Int64 {
  if socket.pointee.flags.contains(.peerFinished) { return 0 }
  // A call that has bytes to answer leaves the error to the next.
  if !isFirst, socket.pointee.error != 0 { return 0 }
  if socket.pointee.error != 0 { return failure(Int32(socket.takeError())) }
  if socket.pointee.flags.contains(.readShut) { return 0 }
  return failure(EAGAIN)
}
