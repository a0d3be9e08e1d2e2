import CShim
import Synchronization

// fork(2): all locks are taken before, so that what the child inherits is whole. The child then
// forgets channels, which are its parent's, but keeps the listeners. Connections that it uses it gets as
// sockets of the kernel (`KernelSocket`); those that it does not use stay where they are.

/// Before fork, in the parent.
@c @implementation
public func fs_fork_prepare() {
  guard isInitialized else { return }
  process.pointee.childControl = -1
  process.pointee.heldByForker = ForkersLocks()
  if lockToFork(.control) { prepareChild() }
  for index in 0..<ChannelTable.count where !Lock.acquire(ChannelTable.at(index).lockWord) {
    process.pointee.heldByForker.channels.insert(index)
  }
  reportEverything()
  _ = lockToFork(.listeners)
  _ = lockToFork(.placeholders)
  _ = lockToFork(.sockets)
  epollForkPrepare()
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
  keepHeldLocks()
  unlockAll()
  // The child may soon be unable to find the daemon: chroot, another user, no descriptors left.
  if hadDaemon, hasListeners { _ = ControlConnection.connect() }
}

/// Has the daemon make the child's connection to it, if the child inherits connections or listeners. The
/// control lock is held.
private func prepareChild() {
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
  for index in 0..<ChannelTable.count
  where ChannelTable.at(index).isOpen && !process.pointee.heldByForker.channels.contains(index) {
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

// MARK: Locks

/// Locks that the thread had before it forks, because a signal handler does that which has interrupted it
/// there. They stay its own, here and in the child.
struct ForkersLocks {
  /// One bit for each of `ProcessLock`.
  var process: UInt32 = 0
  var channels = ChannelBits()
}

/// Takes a lock; false if this thread has it already.
private func lockToFork(_ lock: ProcessLock) -> Bool {
  if Lock.acquire(processWord(lock)) { return true }
  process.pointee.heldByForker.process |= 1 << UInt32(lock.rawValue)
  return false
}

private func unlock(_ lock: ProcessLock) {
  guard process.pointee.heldByForker.process >> UInt32(lock.rawValue) & 1 == 0 else { return }
  Lock.release(processWord(lock))
}

private func unlockAll() {
  unlock(.sockets)
  unlock(.placeholders)
  unlock(.listeners)
  for index in 0..<ChannelTable.count
  where !process.pointee.heldByForker.channels.contains(index) {
    Lock.release(ChannelTable.at(index).lockWord)
  }
  unlock(.control)
}

/// In the child the thread has another number.
private func keepHeldLocks() {
  let me = currentThreadID()
  for lock in 0..<UInt32(32) where process.pointee.heldByForker.process >> lock & 1 != 0 {
    guard let lock = ProcessLock(rawValue: Int(lock)) else { continue }
    processWord(lock).pointee.store(me, ordering: .relaxed)
  }
  process.pointee.heldByForker.channels.forEach {
    ChannelTable.at($0).lockWord.pointee.store(me, ordering: .relaxed)
  }
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
