import CShim
import Synchronization

/// shutdown(2).
@c @implementation
public func fs_shutdown(_ fd: Int32, _ how: Int32) -> Int64 {
  let kind = descriptorKind(fd)
  guard how >= 0, how <= 2 else { return kind == .connection ? failure(EINVAL) : pass }
  if kind == .undecided { return shutUndecided(fd) }
  return withConnection(fd) { socket, channel in
    channel.drain()
    let ended =
      socket.pointee.flags.contains(.peerFinished) && socket.pointee.flags.contains(.writeShut)
    guard socket.pointee.state == .connected, !ended else {
      channel.notify(socket, 0)
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
    channel.notify(socket, 0)
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
