import CShim
import Synchronization

/// write(2).
@c @implementation
public func fs_write(_ fd: Int32, _ buffer: UnsafeRawPointer?, _ count: Int) -> Int64 {
  var vector = iovec(iov_base: UnsafeMutableRawPointer(mutating: buffer), iov_len: count)
  return transmit(fd, &vector, 1, 0)
}

/// writev(2).
@c @implementation
public func fs_writev(_ fd: Int32, _ vectors: UnsafePointer<iovec>?, _ count: Int32) -> Int64 {
  guard let vectors, count >= 0, count <= 1024 else { return failure(EINVAL) }
  // As in Linux, nothing in vectors is no error on a stream that has been shut; nothing in write(2) is.
  let isNothing = VectorCursor(vectors, Int(count)).bytesLeft == 0
  return isNothing ? withConnection(fd) { _, _ in 0 } : transmit(fd, vectors, Int(count), 0)
}

/// send(2) and sendto(2); the address means nothing to a stream that is connected.
@c @implementation
public func fs_sendto(
  _ fd: Int32, _ buffer: UnsafeRawPointer?, _ count: Int, _ flags: Int32,
  _ address: UnsafePointer<sockaddr>?, _ length: socklen_t
) -> Int64 {
  var vector = iovec(iov_base: UnsafeMutableRawPointer(mutating: buffer), iov_len: count)
  return transmit(fd, &vector, 1, flags)
}

/// sendmsg(2).
@c @implementation
public func fs_sendmsg(_ fd: Int32, _ message: UnsafePointer<msghdr>?, _ flags: Int32) -> Int64 {
  guard let message else { return failure(EFAULT) }
  guard message.pointee.msg_iovlen <= 1024 else { return failure(EMSGSIZE) }
  if let vectors = message.pointee.msg_iov {
    return transmit(fd, vectors, Int(message.pointee.msg_iovlen), flags)
  }
  var none = iovec()
  return transmit(fd, &none, 0, flags)
}

enum SendFlag {
  static var outOfBand: Int32 { 0x1 }
  static var dontWait: Int32 { 0x40 }
  static var noSignal: Int32 { 0x4000 }
  static var more: Int32 { 0x8000 }
}

private func transmit(_ fd: Int32, _ vectors: UnsafePointer<iovec>, _ count: Int, _ flags: Int32)
  -> Int64
{
  var cursor = VectorCursor(vectors, count)
  guard cursor.isValid else { return failure(EINVAL) }
  return sendAll(fd, flags) { socket, channel, isFirst in
    sendNow(socket, channel, &cursor, flags, isFirst)
  } isComplete: {
    cursor.bytesLeft == 0
  }
}

/// Repeats a sending step until everything is sent, or waiting is not wanted: what blocking and
/// non-blocking calls have in common. The step is told whether nothing has been sent yet.
@inline(__always)
func sendAll(
  _ number: Int32, _ flags: Int32, _ step: (SocketPointer, ChannelPointer, Bool) -> Int64,
  isComplete: () -> Bool
) -> Int64 {
  var fd = number
  var index: UInt32 = 0
  defer { if fd != number { SocketTable.at(index).lateCallReturns() } }
  var total: Int64 = 0
  var limit: UInt64 = 0
  while true {
    var mayWait = false
    var timeout: UInt64 = 0
    let result = withConnection(fd) { socket, channel in
      mayWait = !socket.isNonblocking && flags & SendFlag.dontWait == 0
      timeout = socket.pointee.sendTimeout
      index = socket.index
      return step(socket, channel, total == 0)
    }
    if result >= 0 { total += result }
    if result < 0, result != failure(EAGAIN) || !mayWait {
      if result == failure(EPIPE), total == 0, flags & SendFlag.noSignal == 0 {
        fs_sys_raise(SIGPIPE)
      }
      return total > 0 ? total : result
    }
    if isComplete() || !mayWait { return total }
    if limit == 0 { limit = deadline(after: timeout) }
    let error = waitForSocket(Int32(index), fd: &fd, events: Ready.output, deadline: limit)
    if error != 0 { return total > 0 ? total : failure(error) }
  }
}

/// Sends as much as there is room for. The lock is held.
@inline(__always)
private func sendNow(
  _ socket: SocketPointer, _ channel: ChannelPointer, _ cursor: inout VectorCursor, _ flags: Int32,
  _ isFirst: Bool
) -> Int64 {
  // The connection may have died; the kernel would know.
  channel.drain()
  let refusal = sendRefusal(socket, flags, isFirst)
  if refusal != 0 { return refusal }
  guard cursor.bytesLeft > 0 else { return 0 }
  var sent = 0
  var hasDrained = false
  while cursor.bytesLeft > 0 {
    let room = SendRoom.find(socket, channel)
    guard room > 0, let chunk = channel.pointee.chunks.take() else {
      // Acknowledgements that have come make room.
      if !hasDrained {
        hasDrained = true
        channel.publish()
        channel.drain()
        if socket.pointee.state == .connected { continue }
      }
      SendRoom.exhausted(socket, channel)
      break
    }
    let part = min(min(cursor.bytesLeft, ChannelGeometry.sendChunkSize), room)
    let memory = channel.sendBytes(chunk)
    cursor.advance(part) { source, done, count in
      (memory + done).copyMemory(from: source, byteCount: count)
    }
    let more = cursor.bytesLeft > 0 || flags & SendFlag.more != 0
    channel.appendSend(
      socket, chunk, length: UInt32(part), more: more,
      isUrgent: flags & SendFlag.outOfBand != 0 && cursor.bytesLeft == 0)
    sent += part
  }
  channel.publish()
  channel.noteLittleRoom(socket)
  return sent > 0 ? Int64(sent) : failure(EAGAIN)
}

/// Why nothing can be sent on a socket, or 0: the order of tcp_sendmsg of Linux. The error of the
/// connection is told only by a call that has sent nothing; one that has leaves it to the next.
@inline(__always)
func sendRefusal(_ socket: SocketPointer, _ flags: Int32, _ isFirst: Bool) -> Int64 {
  if socket.pointee.state == .connected, socket.pointee.error == 0,
    !socket.pointee.flags.contains(.writeShut)
  {
    return 0
  }
  if socket.pointee.state == .connecting { return failure(EAGAIN) }
  if socket.pointee.error != 0, isFirst { return failure(Int32(socket.takeError())) }
  return failure(EPIPE)
}

/// How much a connection may send now.
enum SendRoom {
  /// Places in the command ring for one more chunk: one is left, so that the engine can be told that someone waits.
  static var commands: UInt32 { 2 }
  /// Bytes that may be sent however small TCP_NOTSENT_LOWAT is.
  private static var leastPortion: Int { 4 * ChannelGeometry.sendChunkSize }

  /// Bytes; 0 if it has to wait.
  @inline(__always)
  static func find(_ socket: SocketPointer, _ channel: ChannelPointer) -> Int {
    let slot = channel.pointee.slots + Int(socket.pointee.slot)
    let limit = socket.pointee.sendLimit
    guard slot.pointee.sent.bytes < limit,
      slot.pointee.sent.chunks < channel.pointee.chunks.allowance,
      channel.hasRoom(commands) || waitForEngine(channel)
    else { return 0 }
    let room = Int(limit - slot.pointee.sent.bytes)
    guard let mark = socket.unsentLowWater else { return room }
    // TCP_NOTSENT_LOWAT. As in Linux a write goes on for a packet or two beyond a small mark.
    let unsent = channel.unsent(socket)
    return unsent >= mark ? 0 : min(room, max(Int(mark - unsent), leastPortion))
  }

  /// The command ring is full: the engine is given a moment to take some.
  private static func waitForEngine(_ channel: ChannelPointer) -> Bool {
    guard channel.isOpen else { return false }
    channel.publish()
    channel.ringDoorbell()
    for _ in 0..<16 {
      fs_sys_yield()
      channel.sendDelayed()
      if channel.hasRoom(commands) { return true }
    }
    return false
  }

  /// Notes that a write found too little room.
  static func exhausted(_ socket: SocketPointer, _ channel: ChannelPointer) {
    guard socket.pointee.state == .connected else { return }
    channel.noteWish(socket)
    socket.updateReadiness()
    // With nothing of its own under way no acknowledgement will wake it.
    let slot = channel.pointee.slots + Int(socket.pointee.slot)
    let isFull =
      slot.pointee.sent.bytes >= socket.pointee.sendLimit
      || channel.unsent(socket) >= socket.unsentLowWater ?? .max
    if !isFull, slot.pointee.sent.chunks < channel.pointee.chunks.allowance {
      channel.starve(socket)
    }
    channel.askForSpace()
  }
}

extension UnsafeMutablePointer<Channel> {
  /// Queues a filled chunk. There is room for the command.
  @inline(__always)
  func appendSend(
    _ socket: SocketPointer, _ chunk: UInt32, length: UInt32, more: Bool, isUrgent: Bool = false
  ) {
    let number = socket.pointee.slot
    pointee.chunks.sent(chunk, length: length, on: &pointee.slots[Int(number)].sent)
    var command = Command(.send, slot: number, flags: more ? CommandFlags.more : 0)
    if isUrgent { command.flags |= CommandFlags.urgent }
    command.chunk = chunk
    command.length = length
    pointee.commands.append(command)
  }
}

/// sendfile(2).
@c @implementation
public func fs_sendfile(
  _ out: Int32, _ source: Int32, _ offset: UnsafeMutablePointer<Int64>?, _ count: Int
) -> Int64 {
  if descriptorKind(source) == .connection { return failure(EINVAL) }
  guard descriptorKind(out) == .connection else { return pass }
  let start = offset?.pointee ?? Int64(fs_sys_lseek(source, 0, SEEK_CUR))
  guard start >= 0 else {
    return offset != nil || start == failure(ESPIPE) ? failure(EINVAL) : start
  }
  if count == 0 { return 0 }
  // What the kernel sends at most in one call.
  var part = FilePart(
    file: source, position: start, end: start + Int64(min(count, 0x7fff_f000)))
  let result = sendAll(out, 0) { socket, channel, isFirst in
    channel.drain()
    let isOver = socket.pointee.state != .connected || socket.pointee.flags.contains(.writeShut)
    if isFirst, isOver {
      // Behind the end of the file there is nothing to be refused.
      var byte: UInt8 = 0
      part.isAtEnd = fs_sys_pread(source, &byte, 1, Int(start)) == 0
      if part.isAtEnd { return 0 }
    }
    let refusal = sendRefusal(socket, 0, isFirst)
    return refusal != 0 ? refusal : sendFileNow(socket, channel, &part)
  } isComplete: {
    part.isAtEnd || part.position >= part.end
  }
  if part.position > start {
    if let offset {
      offset.pointee = part.position
    } else {
      _ = fs_sys_lseek(source, Int(part.position), SEEK_SET)
    }
  }
  return result
}

/// What sendfile has to send.
private struct FilePart {
  let file: Int32
  var position: Int64
  var end: Int64
  /// Whether `end` is not behind the file's.
  var isEndKnown = false
  /// Nothing more can be read.
  var isAtEnd = false

  /// Whether something follows after `count` bytes more. What is said to follow the engine waits for: a program
  /// may have asked for more than the file has.
  mutating func goesOn(after count: Int) -> Bool {
    guard position + Int64(count) < end else { return false }
    if !isEndKnown {
      isEndKnown = true
      let fileEnd = Int64(fs_sys_file_end(file))
      if fileEnd >= position { end = min(end, fileEnd) }
    }
    return position + Int64(count) < end
  }
}

/// Reads a part of a file into chunks and sends them. The lock is held.
private func sendFileNow(
  _ socket: SocketPointer, _ channel: ChannelPointer, _ part: inout FilePart
) -> Int64 {
  var sent: Int64 = 0
  var hasDrained = false
  while part.position < part.end {
    var chunks = InlineArray<16, UInt32>(repeating: 0)
    let left = Int(part.end - part.position)
    let taken = takeChunks(socket, channel, left, &chunks)
    if taken == 0 {
      if !hasDrained {
        hasDrained = true
        channel.publish()
        channel.drain()
        if socket.pointee.state == .connected { continue }
      }
      SendRoom.exhausted(socket, channel)
      break
    }
    let wanted = min(left, taken * ChannelGeometry.sendChunkSize)
    let read = readFile(channel, part.file, part.position, chunks, wanted)
    let more = read == wanted && part.goesOn(after: read)
    queueChunks(socket, channel, chunks, taken, max(read, 0), more: more)
    if read > 0 {
      part.position += Int64(read)
      sent += Int64(read)
    }
    if read < wanted {
      part.isAtEnd = true
      if read < 0, sent == 0 {
        return read == -Int(ESPIPE) ? failure(EINVAL) : Int64(read)
      }
      break
    }
  }
  channel.publish()
  channel.noteLittleRoom(socket)
  return sent > 0 || part.isAtEnd ? sent : failure(EAGAIN)
}

/// Takes as many chunks as a part of a file needs and the connection may have.
private func takeChunks(
  _ socket: SocketPointer, _ channel: ChannelPointer, _ bytes: Int,
  _ chunks: inout InlineArray<16, UInt32>
) -> Int {
  let room = min(SendRoom.find(socket, channel), bytes)
  let needed = min((room + ChannelGeometry.sendChunkSize - 1) / ChannelGeometry.sendChunkSize, 16)
  guard needed > 0, channel.hasRoom(SendRoom.commands) else { return 0 }
  let commands = Int(channel.pointee.commands.freeCount(atLeast: UInt32(needed) + 1) ?? 0) - 1
  var taken = 0
  while taken < min(needed, commands), let chunk = channel.pointee.chunks.take() {
    chunks[taken] = chunk
    taken += 1
  }
  return taken
}

private func readFile(
  _ channel: ChannelPointer, _ file: Int32, _ position: Int64, _ chunks: InlineArray<16, UInt32>,
  _ wanted: Int
) -> Int {
  var vectors = InlineArray<16, iovec>(repeating: iovec())
  var left = wanted
  var count = 0
  while left > 0 {
    let part = min(left, ChannelGeometry.sendChunkSize)
    vectors[count] = iovec(iov_base: channel.sendBytes(chunks[count]), iov_len: part)
    left -= part
    count += 1
  }
  return withUnsafeBytes(of: &vectors) { bytes in
    guard let base = bytes.baseAddress else { return -Int(EINVAL) }
    return fs_sys_preadv(
      file, base.assumingMemoryBound(to: iovec.self), Int32(count), Int(position))
  }
}

/// Sends the filled ones of several chunks, and gives the others back.
private func queueChunks(
  _ socket: SocketPointer, _ channel: ChannelPointer, _ chunks: InlineArray<16, UInt32>,
  _ taken: Int, _ bytes: Int, more: Bool
) {
  var left = bytes
  for position in 0..<taken {
    guard left > 0 else {
      channel.pointee.chunks.giveBack(chunks[position])
      continue
    }
    let part = min(left, ChannelGeometry.sendChunkSize)
    left -= part
    channel.appendSend(socket, chunks[position], length: UInt32(part), more: left > 0 || more)
  }
}

/// splice(2) and its like cannot reach into an engine: programs fall back to read and write.
@c @implementation
public func fs_splice(_ source: Int32, _ out: Int32) -> Int64 {
  guard descriptorKind(source) == .connection || descriptorKind(out) == .connection else {
    return pass
  }
  fs_fell_back(Int32(FS_FALLBACK_REFUSED_SPLICE))
  return failure(EINVAL)
}
