import CShim
import Synchronization

// fork(2): all locks are taken before, so that what the child inherits is whole. The child then
// forgets channels, which are its parent's, but keeps the listeners. Connections that it uses it gets as
// sockets of the kernel (`KernelSocket`); those that it does not use stay where they are.

/// Before fork, in the parent.
@c @implementation
public func fs_fork_prepare() {
  guard isInitialized else { return }
  // A lock that this very thread holds, because a signal handler forks, stays with it.
  take(.control)
  prepareChild()
  for index in 0..<ChannelTable.count where Lock.acquire(ChannelTable.at(index).lockWord) {
    process.pointee.forkChannels[Int(index) / 64] |= 1 << UInt64(index % 64)
  }
  reportEverything()
  take(.listeners)
  take(.placeholders)
  take(.sockets)
  epollForkPrepare()
}

private func take(_ lock: ProcessLock) {
  if Lock.acquire(processWord(lock)) { process.pointee.forkLocks |= 1 << UInt64(lock.rawValue) }
}

/// After fork, in the parent.
@c @implementation
public func fs_fork_parent() {
  guard isInitialized else { return }
  closeInternal(process.pointee.childControl)
  process.pointee.childControl = -1
  epollForkParent()
  unlockAll()
  stopPollingListeners()
}

/// After fork, in the child, whose only thread this is.
@c @implementation
public func fs_fork_child() {
  guard isInitialized else { return }
  let hadDaemon = process.pointee.control.descriptor >= 0
  forgetThread()
  epollForkChild()
  process.pointee.generation &+= 1
  closeInternals()
  forgetConnections()
  useChildControl()
  unlockAll()
  // The child may soon be unable to find the daemon: chroot, another user, no descriptors left.
  if hadDaemon, hasListeners { _ = ControlConnection.connect() }
}

/// Has the daemon make the child's connection to it, if the child inherits connections or listeners. The
/// control lock is held.
private func prepareChild() {
  process.pointee.childControl = -1
  guard process.pointee.control.isIntroduced,
    process.pointee.hasInherited || hasConnections || ListenerTable.hasRegistered
  else { return }
  var reply = ControlConnection.Reply()
  guard ControlConnection.request(ControlConnection.message(.fork), descriptor: -1, &reply) else {
    return
  }
  guard reply.message.status == 0, reply.descriptorCount == 1 else {
    reply.closeDescriptors()
    return
  }
  process.pointee.childControl = moveToInternal(reply.descriptors[0])
  process.pointee.forks &+= 1
}

private var hasConnections: Bool {
  for index in 0..<ChannelTable.count {
    let channel = ChannelTable.at(index)
    if channel.isOpen, channel.pointee.socketCount > 0 { return true }
  }
  return false
}

/// Lets the engines know all that was read: the rest is what a child finds. All channels are locked.
private func reportEverything() {
  guard process.pointee.childControl >= 0 else { return }
  for index in 0..<ChannelTable.count where ChannelTable.at(index).isOpen {
    ChannelTable.at(index).reportAll()
  }
}

/// The child has the connection to the daemon that was made for it.
private func useChildControl() {
  let control = process.pointee.childControl
  process.pointee.childControl = -1
  guard control >= 0 else { return }
  process.pointee.control.descriptor = control
  process.pointee.control.isIntroduced = true
  process.pointee.control.generation &+= 1
  process.pointee.hasInherited = true
}

private func unlockAll() {
  // Whoever forks next writes this anew as soon as he has the control lock.
  let (locks, channels) = (process.pointee.forkLocks, process.pointee.forkChannels)
  process.pointee.forkLocks = 0
  process.pointee.forkChannels = InlineArray(repeating: 0)
  release(.sockets, if: locks)
  release(.placeholders, if: locks)
  release(.listeners, if: locks)
  for index in 0..<ChannelTable.count where channels[Int(index) / 64] >> UInt64(index % 64) & 1 != 0
  {
    Lock.release(ChannelTable.at(index).lockWord)
  }
  release(.control, if: locks)
}

private func release(_ lock: ProcessLock, if taken: UInt64) {
  if taken >> UInt64(lock.rawValue) & 1 != 0 { Lock.release(processWord(lock)) }
}

private func forgetThread() {
  // Not `waitEpoll` and its like: the readiness half's own handler comes next.
  fs_thread_state().pointee.identifier = 0
  fs_thread_state().pointee.channel = 0
}

/// Closes our own descriptors and those kept for reuse, all of which the parent uses.
private func closeInternals() {
  let highest = process.pointee.highestDescriptor
  guard highest >= 0 else { return }
  for fd in 0...highest
  where descriptorKind(fd) == .internal && fd != process.pointee.childControl {
    closeInternal(fd)
  }
}

private func forgetConnections() {
  for index in 0..<ChannelTable.count {
    let channel = ChannelTable.at(index)
    channel.openWord.pointee.store(0, ordering: .relaxed)
    channel.owner.pointee.store(0, ordering: .relaxed)
  }
  process.pointee.placeholder4 = -1
  process.pointee.placeholder6 = -1
  process.pointee.control.descriptor = -1
  process.pointee.control.isIntroduced = false
  process.pointee.control.invitationCount = 0
  process.pointee.control.retryAt = 0
  ListenerTable.forgetWatchers()
  if process.pointee.childControl >= 0 {
    ListenerTable.forgetChannels()
  } else {
    ListenerTable.forgetRegistrations()
  }
}

private var hasListeners: Bool {
  for index in 0..<ListenerTable.count where ListenerTable.at(index).pointee.isUsed { return true }
  return false
}
