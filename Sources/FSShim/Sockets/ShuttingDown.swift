import CShim
import Synchronization

// shutdown(2), and connect(2) with AF_UNSPEC where that does the same: to a listener, and to an attempt to connect.

/// shutdown(2).
@c @implementation
public func fs_shutdown(_ fd: Int32, _ how: Int32) -> Int64 {
  let kind = descriptorKind(fd)
  guard how >= 0, how <= 2 else { return kind == .connection ? failure(EINVAL) : pass }
  if kind == .undecided { return shutUndecided(fd) }
  if kind == .listener, how != 1 { return stopListening(fd) { fs_sys_shutdown(fd, how) } }
  return withConnection(fd) { socket, channel in
    channel.drain()
    if socket.pointee.state == .connecting, channel.endAttempt(of: socket) { return 0 }
    guard socket.pointee.state == .connected, !socket.pointee.flags.contains(.bothFinished) else {
      channel.notifyOfOwn(socket, 0)
      return failure(ENOTCONN)
    }
    var flags: UInt8 = 0
    if how != 1 {
      flags |= CommandFlags.shutRead
      socket.pointee.flags.insert(.readShut)
    }
    if how != 0, !socket.pointee.flags.contains(.writeShut) {
      flags |= CommandFlags.shutWrite
      socket.pointee.flags.insert(.writeShut)
    }
    if flags != 0 {
      channel.send(Command(.shutdown, slot: socket.pointee.slot, flags: flags))
      channel.publish()
    }
    socket.updateReadiness()
    // As on Linux an edge for everyone, whatever they asked for; also above.
    channel.notifyOfOwn(socket, 0)
    return 0
  }
}

/// The kernel answers ENOTCONN, and yet keeps that the socket is shut: what connects it later cannot write, and that
/// has to be the kernel.
private func shutUndecided(_ fd: Int32) -> Int64 {
  withSocket(fd) { socket, entry in
    guard entry.kind == .undecided else { return pass }
    flushToKernel(fd, socket)
    socket.pointee.flags.insert(.kernelOnly)
    return pass
  }
}

/// Whether an address has the family AF_UNSPEC, with which connect(2) undoes what listen(2) or connect(2) did.
func isUnspecified(_ address: UnsafePointer<sockaddr>?, _ length: socklen_t) -> Bool {
  guard let address, length >= 2 else { return false }
  return Int32(address.pointee.sa_family) == AF_UNSPEC
}

/// A listener listens no more, in the kernel by what `inKernel` does, until listen(2) is called again. It keeps its
/// address.
func stopListening(_ fd: Int32, _ inKernel: () -> Int32) -> Int64 {
  withSocket(fd) { socket, entry in
    guard entry.kind == .listener else { return pass }
    let result = inKernel()
    guard result == 0 else { return Int64(result) }
    let record = socket.pointee.listener
    socket.pointee.listener = -1
    socket.pointee.state = .undecided
    socket.pointee.flags.insert(.touched)
    socket.pointee.flags.insert(.bound)
    socket.pointee.flags.insert(.kernelOnly)
    renameDescriptors(of: entry.index, socket, fd, to: .undecided)
    socketStopsListening(Int32(entry.index))
    ListenerTable.close(record)
    return 0
  }
}

extension UnsafeMutablePointer<Channel> {
  /// Ends an attempt to connect; whoever waits for it, or asks for the error, hears ECONNRESET. The socket can be
  /// connected anew at once. False if the attempt has just succeeded. The lock is held.
  func endAttempt(of socket: SocketPointer) -> Bool {
    // With no flags it means nothing to a connection that is open by now.
    send(Command(.shutdown, slot: socket.pointee.slot))
    _ = waitUntilTaken()
    drain()
    if socket.pointee.state == .failed {
      socket.pointee.flags.insert(.connectReported)
      socket.pointee.flags.remove(.bothShut)
      socket.updateReadiness()
    }
    return socket.pointee.state != .connected
  }
}
