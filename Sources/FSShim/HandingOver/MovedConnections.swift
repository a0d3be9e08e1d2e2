import CShim
import Synchronization

// Connections that an engine has given up, because another process has asked for them. The lock of the
// channel is held.

extension UnsafeMutablePointer<Channel> {
  /// The engine says that a connection is the kernel's now. What was received and not read can be read
  /// there; of what was sent, the rest that it has not acknowledged is to be sent there.
  func moveArrives(_ socket: SocketPointer) {
    socket.pointee.flags.insert(.movedAway)
    socket.pointee.received = ReceiveQueue()
    socket.pointee.urgent.state = .none
    forgetWish(socket)
    unstarve(socket)
    guard socket.pointee.state != .queued else { return }
    // Whoever waits for it fetches the kernel's socket; so does `settleMoved` for epoll sets.
    socket.readiness.pointee.store(0, ordering: .releasing)
    socket.pointee.nextStarved = pointee.movedHead
    pointee.movedHead = SocketTable.index(of: socket)
    wakeWaiters(of: Int32(pointee.movedHead))
  }

  /// Takes a socket out of the list of those that have moved.
  fileprivate func unlistMoved(_ socket: SocketPointer) {
    let index = SocketTable.index(of: socket)
    if pointee.movedHead == index {
      pointee.movedHead = socket.pointee.nextStarved
      return
    }
    var current = pointee.movedHead
    while current != .max {
      let next = SocketTable.at(current).pointee.nextStarved
      if next == index {
        SocketTable.at(current).pointee.nextStarved = socket.pointee.nextStarved
        return
      }
      current = next
    }
  }

  /// Takes the first socket that has moved out of their list; nil if there is none.
  fileprivate func takeMoved() -> UInt32? {
    let index = pointee.movedHead
    guard index != .max else { return nil }
    pointee.movedHead = SocketTable.at(index).pointee.nextStarved
    return index
  }

  /// Writes what the engine had not taken over to the kernel's socket: bytes that were sent at the
  /// very moment at which another process took the connection. Their chunks come back when the slot has
  /// been closed: the engine counts what it finds in its ring. If there is no room for them the connection
  /// is reset, because the application counts on their having been sent.
  func sendRest(of socket: SocketPointer, to kernel: Int32) {
    let slot = pointee.slots + Int(socket.pointee.slot)
    var chunk = slot.pointee.sent.head
    var offset = Int(slot.pointee.sent.headAcknowledged)
    var left = slot.pointee.sent.chunks
    while left > 0 {
      let record = pointee.chunks.records[Int(chunk)]
      guard writeAll(sendBytes(chunk) + offset, Int(record.length) - offset, to: kernel) else {
        _ = fs_sys_disconnect(kernel)
        break
      }
      offset = 0
      chunk = record.next
      left -= 1
    }
  }

  /// Gives the slot of a connection that has moved back. Its socket is about to be forgotten.
  func closeMoved(_ socket: SocketPointer, _ index: UInt32) {
    unlistMoved(socket)
    let number = socket.pointee.slot
    let slot = pointee.slots + Int(number)
    guard slot.pointee.socket == index + 1 else { return }
    slot.pointee.socket = 0
    send(Command(.close, slot: number))
    publish()
  }
}

extension UnsafeMutablePointer<Socket> {
  /// Whether the connection is the kernel's by now, but not all that was sent on it.
  var hasUnmovedBytes: Bool {
    guard pointee.flags.contains(.moved), pointee.channel >= 0 else { return false }
    return ChannelTable.at(pointee.channel).pointee.slots[Int(pointee.slot)].sent.chunks > 0
  }
}

/// Writes bytes to a socket of the kernel; makes room, and waits for it, but not for ever, because others wait
/// for the channel. False if the socket is dead, or its peer takes nothing.
private func writeAll(_ bytes: UnsafeMutableRawPointer, _ count: Int, to kernel: Int32) -> Bool {
  var done = 0
  var hasMadeRoom = false
  while done < count {
    let result = fs_sys_send(kernel, bytes + done, UInt(count - done), Int32(MSG_DONTWAIT))
    if result > 0 {
      done += result
    } else if result == -Int(EAGAIN), !hasMadeRoom {
      hasMadeRoom = true
      fs_sys_set_send_buffer(kernel, Int32(Socket.defaultSendLimit))
    } else if result == -Int(EAGAIN) {
      guard fs_sys_poll_for(kernel, Int16(POLLOUT), 1000) > 0 else { return false }
    } else if result != -Int(EINTR) {
      return false
    }
  }
  return true
}

/// Has connections that were moved away while epoll sets watch them go on there with the kernel's
/// socket. No lock is held.
func settleMoved(_ number: Int32) {
  let channel = ChannelTable.at(number)
  while true {
    guard Lock.acquire(channel.lockWord) else { return }
    let index = channel.takeMoved()
    let isWatched =
      index.map {
        SocketTable.at($0).pointee.firstLink != 0 || SocketTable.at($0).hasUnmovedBytes
      } ?? false
    Lock.release(channel.lockWord)
    guard let index else { return }
    if isWatched, let fd = descriptor(of: index) {
      _ = KernelSocket.take(fd, DescriptorEntry.of(fd))
    }
  }
}

/// A descriptor of a socket; nil if it has none any more.
private func descriptor(of index: UInt32) -> Int32? {
  guard process.pointee.highestDescriptor >= 0 else { return nil }
  for candidate in 0...process.pointee.highestDescriptor {
    let entry = DescriptorEntry.of(candidate)
    if entry.kind == .connection, entry.index == index { return candidate }
  }
  return nil
}
