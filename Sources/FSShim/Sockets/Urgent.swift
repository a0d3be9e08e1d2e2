import CShim
import Synchronization

// Urgent data on this side: what tcp_check_urg, tcp_recv_urg and tcp_inq of Linux do. The lock is
// held.

extension UnsafeMutablePointer<Socket> {
  /// SO_OOBINLINE: the urgent byte is read like any other.
  @inline(__always)
  var isUrgentInline: Bool { options.isOn(FS_OPTION_OOBINLINE) }

  /// Bytes at the head of the queue that a read leaves out: the urgent one, if it is the next.
  @inline(__always)
  var hole: UInt32 { pointee.urgent.isNext && !isUrgentInline ? 1 : 0 }

  /// What FIONREAD answers: the bytes up to the mark, or all.
  var readableCount: UInt32 {
    let mark = pointee.urgent
    if mark.state == .none || isUrgentInline || mark.distance >= pointee.received.count {
      return pointee.received.count
    }
    return mark.distance
  }
}

extension UnsafeMutablePointer<Channel> {
  /// The peer has announced urgent data: `ahead` bytes behind what has been received. What of it is
  /// news to those who wait: the byte itself.
  func urgentArrives(_ socket: SocketPointer, ahead: Int32?) -> UInt32 {
    if let ahead {
      // At an old mark that is not to be read: the byte there is gone once another is known.
      let isAtOld = socket.hole > 0 && socket.pointee.received.count > 0
      let distance = Int64(socket.pointee.received.count) + Int64(ahead)
      if isAtOld, distance > 0 { skip(socket) }
      if socket.pointee.urgent.announce(isAtOld ? distance - 1 : distance) {
        signalOwner(socket)
      }
    }
    guard socket.pointee.urgent.state == .announced,
      let place = pointee.pieces.locate(
        socket.pointee.urgent.distance, in: socket.pointee.received)
    else { return 0 }
    socket.pointee.urgent.byte = receiveBytes(place.chunk).load(
      fromByteOffset: place.offset, as: UInt8.self)
    socket.pointee.urgent.state = .present
    return Ready.priority | Ready.input
  }

  /// Leaves the next byte of the queue out.
  func skip(_ socket: SocketPointer) {
    pointee.pieces.dropFirst(1, of: &socket.pointee.received)
    socket.pointee.unreported &+= 1
    socket.pointee.urgent.consumed(1)
    noteRead(socket)
  }

  /// SIGURG for the owner (F_SETOWN). It comes when this process looks at its channel, which one
  /// that waits in any of the calls for that does at once.
  private func signalOwner(_ socket: SocketPointer) {
    guard socket.pointee.owner != 0 else { return }
    fs_sys_kill(socket.pointee.owner, SIGURG)
  }

  /// recv(2) with MSG_OOB.
  func receiveUrgent(
    _ socket: SocketPointer, _ cursor: inout VectorCursor, isPeek: Bool, discards: Bool
  ) -> Int64 {
    drain()
    let mark = socket.pointee.urgent
    if socket.isUrgentInline || mark.state == .none || mark.state == .read {
      return failure(EINVAL)
    }
    if mark.state == .present {
      if !isPeek {
        socket.pointee.urgent.state = .read
        socket.updateReadiness()
      }
      guard cursor.bytesLeft > 0 else { return 0 }
      cursor.advance(1) { memory, _, _ in
        if !discards { memory.storeBytes(of: mark.byte, as: UInt8.self) }
      }
      return 1
    }
    let isOver =
      socket.pointee.state == .failed || socket.pointee.flags.contains(.readShut)
      || socket.pointee.flags.contains(.peerFinished)
    // Announced, and not yet there: also a blocking call does not wait for it.
    return isOver ? 0 : failure(EAGAIN)
  }
}
