import CShim
import Synchronization

// Connections that a parent and its children have. What one of them closes goes on as long as another
// has it, and who that is only the daemon knows.

/// Before the last descriptor of a connection is closed in this process, while another may have it:
/// tells the daemon. True if it goes on without this process, so that nothing of it is to be ended. No
/// lock is held.
func partFromOthers(_ fd: Int32, _ entry: DescriptorEntry, _ socket: SocketPointer) -> Bool {
  guard socket.pointee.references == 1 else { return false }
  let isOurs = socket.isOurs
  guard !isOurs || socket.mayBeShared || socket.pointee.flags.contains(.moved) else { return false }
  let lock = processWord(.control)
  guard Lock.acquire(lock) else { return !isOurs }
  defer { Lock.release(lock) }
  guard DescriptorEntry.of(fd) == entry, process.pointee.control.isIntroduced else {
    return !isOurs
  }
  if !isOurs || socket.pointee.flags.contains(.moved) && !socket.hasUnmovedBytes {
    if socket.pointee.state != .failed {
      ControlConnection.post(ControlConnection.message(.disown, of: socket))
    }
    return true
  }
  // What was written and read until now is part of what the others go on with.
  let channel = ChannelTable.at(socket.pointee.channel)
  guard Lock.acquire(channel.lockWord) else { return false }
  channel.reportRead(socket)
  let isAlive = socket.pointee.state == .connected
  Lock.release(channel.lockWord)
  var reply = ControlConnection.Reply()
  guard isAlive, ControlConnection.request(.surrender, of: socket, &reply) else { return false }
  // Another process has taken it before, perhaps when the last bytes were on their way to the engine.
  if reply.descriptorCount == 1, channel.waitUntilMoved(socket), Lock.acquire(channel.lockWord) {
    channel.sendRest(of: socket, to: reply.descriptors[0])
    Lock.release(channel.lockWord)
  }
  reply.closeDescriptors()
  return reply.message.status == 0
}

/// A descriptor is about to be given to another process or program: beside a message, through
/// posix_spawn, or by exec.
@c @implementation
public func fs_descriptor_leaves(_ fd: Int32) {
  switch descriptorKind(fd) {
  case .connection:
    KernelSocket.handOver(fd)
  case .undecided:
    _ = withSocket(fd) { socket, entry in
      if entry.kind == .undecided { giveToKernel(fd, socket) }
      return 0
    }
  case .none, .listener, .epoll, .internal:
    return
  }
}

/// dup2 of a connection in a child made by vfork, also to its own number if the program is to have it
/// there. The child asks for the kernel's socket as a forked one would, over a connection to the daemon of
/// its own; nothing in the memory, which is the parent's, changes. The parent learns of it as of any
/// child's use.
@c @implementation
public func fs_vfork_dup3(_ fd: Int32, _ to: Int32, _ flags: Int32) -> Int64 {
  let entry = DescriptorEntry.of(fd)
  let lock = processWord(.control)
  guard entry.kind == .connection, Lock.acquire(lock) else { return pass }
  defer { Lock.release(lock) }
  let socket = SocketTable.at(entry.index)
  guard socket.pointee.channel >= 0, process.pointee.control.isIntroduced else { return pass }
  // Everything that was written and read is in the command ring: the parent's thread waits.
  let channel = ChannelTable.at(socket.pointee.channel)
  if socket.isOurs, Lock.acquire(channel.lockWord) {
    channel.reportRead(socket)
    Lock.release(channel.lockWord)
  }
  var reply = ControlConnection.Reply()
  guard ControlConnection.request(ControlConnection.message(.fork), descriptor: -1, &reply),
    reply.message.status == 0, reply.descriptorCount == 1
  else { return pass }
  process.pointee.forks &+= 1
  let child = reply.descriptors[0]
  defer { _ = fs_sys_close(child) }
  guard ControlConnection.request(.adopt, of: socket, over: child, &reply),
    reply.message.status == 0, reply.descriptorCount == 1
  else { return pass }
  let result = Int64(fs_sys_dup3(reply.descriptors[0], to, flags))
  _ = fs_sys_close(reply.descriptors[0])
  return result
}
