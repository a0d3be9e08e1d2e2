import CShim
import Synchronization

// How epoll sets come and go.
extension ReadinessMemory {
  /// The number of the set that `descriptor` stands for, which becomes one now if it was the
  /// kernel's alone; or -errno, as epoll_ctl(2) would fail.
  func ensureSet(_ descriptor: Int32) -> Int64 {
    let known = epollIndex(descriptor)
    if known > 0 { return Int64(known) }
    guard Lock.acquire(lock) else { return Int64(-EBUSY) }
    defer { Lock.release(lock) }
    let meanwhile = epollIndex(descriptor)
    if meanwhile > 0 { return Int64(meanwhile) }
    guard let number = freeSet() else { return Int64(-ENOMEM) }
    let flags = fs_sys_fcntl(descriptor, F_GETFD, 0)
    if flags < 0 { return Int64(flags) }
    let low = fs_sys_eventfd(0, Int32(EFD_CLOEXEC | EFD_NONBLOCK))
    if low < 0 { return Int64(low) }
    let wake = moveToInternal(low)
    if wake < 0 { return Int64(wake) }
    // Fails when the descriptor is not an epoll set at all.
    let added = fs_sys_epoll_ctl(
      descriptor, EPOLL_CTL_ADD, wake, EPOLLIN.rawValue | EPOLLET.rawValue, Sentinel.wake.data(0))
    if added < 0 {
      closeInternal(wake)
      return Int64(added)
    }
    prepare(number, descriptor: descriptor, wake: wake)
    descriptorAssign(
      descriptor, kind: .epoll, index: number, closeOnExec: flags & FD_CLOEXEC != 0)
    // Whoever sleeps in it by way of libc has to sleep here: fs_epoll_waited. Who is about to looks at the entry after he
    // has counted himself.
    atomicMemoryFence(ordering: .sequentiallyConsistent)
    if fs_epoll_sleepers(descriptor) > 0 { fs_sys_ring(wake) }
    return Int64(number)
  }

  private func freeSet() -> UInt32? {
    let touched = header.pointee.setsTouched
    for number in 1..<touched where !set(number).pointee.isUsed { return number }
    if touched == epollSetLimit { return nil }
    header.pointee.setsTouched = touched + 1
    return touched
  }

  /// Makes a free set an empty one.
  private func prepare(_ number: UInt32, descriptor: Int32, wake: Int32) {
    let set = set(number)
    set.pointee.isUsed = true
    set.pointee.isInherited = false
    set.pointee.isShared = false
    set.pointee.descriptor = descriptor
    set.pointee.wakeDescriptor = wake
    set.pointee.references = 1
    set.pointee.firstLink = 0
    set.pointee.firstMember = 0
    set.pointee.firstMembership = 0
    set.pointee.readyHead = 0
    set.pointee.readyTail = 0
    set.pointee.readyCount = 0
    set.pointee.waiters = 0
    set.pointee.calls = 0
    set.pointee.isLeftToCalls = false
    set.pointee.nested = 0
    set.pointee.lastLook = 0
    set.pointee.channelCount = 0
    set.pointee.channelUses = InlineArray(repeating: 0)
    set.pointee.listeningChannels = InlineArray(repeating: 0)
    set.pointee.registrations = ChannelRegistrations(generations: InlineArray(repeating: 0))
  }

  /// Takes up a set that a parent made: the parent's channels are not this process's, nor is the
  /// eventfd; the listeners in it are watched from here now, and the connections become the kernel's.
  func adopt(_ number: UInt32, descriptor: Int32) {
    let set = set(number)
    let low = fs_sys_eventfd(0, Int32(EFD_CLOEXEC | EFD_NONBLOCK))
    let wake = low < 0 ? low : moveToInternal(low)
    guard Lock.acquire(setLock(number)) else { return }
    set.pointee.isInherited = false
    set.pointee.descriptor = descriptor
    set.pointee.wakeDescriptor = wake
    var entry = set.pointee.firstLink
    Lock.release(setLock(number))
    if wake >= 0 {
      _ = fs_sys_epoll_ctl(
        descriptor, EPOLL_CTL_ADD, wake, EPOLLIN.rawValue | EPOLLET.rawValue,
        Sentinel.wake.data(0))
    }
    while entry != 0 {
      let next = link(entry).pointee.ofSet.next
      if link(entry).pointee.isInKernel {
        let channel = listenerWatched(link(entry).pointee.socket)
        if Lock.acquire(setLock(number)) {
          link(entry).pointee.channel = channel
          addListeningChannel(channel, to: set, descriptor: descriptor)
          Lock.release(setLock(number))
        }
      }
      entry = next
    }
    settleConnections(of: number)
    adoptMembers(of: number)
  }

  /// Has the connections in a set that a parent made become the kernel's, as at any other use that a child
  /// makes of them; they leave our lists with that.
  private func settleConnections(of number: UInt32) {
    var at: UInt32 = 0
    while true {
      guard Lock.acquire(setLock(number)) else { return }
      // One that has left the set meanwhile leads nowhere: another round, which is shorter.
      let isThere = at != 0 && link(at).pointee.set == number
      at = isThere ? link(at).pointee.ofSet.next : set(number).pointee.firstLink
      let entry = link(at).pointee
      Lock.release(setLock(number))
      if at == 0 { return }
      if !entry.isInKernel && !entry.isStale { KernelSocket.settle(entry.descriptor) }
    }
  }

  /// Takes every link out of a set.
  func removeAllLinks(_ number: UInt32) {
    let set = set(number)
    while true {
      guard Lock.acquire(setLock(number)) else { return }
      let first = set.pointee.firstLink
      let socket = first == 0 ? -1 : link(first).pointee.socket
      Lock.release(setLock(number))
      if first == 0 { return }
      guard Lock.acquire(shardLock(socket)) else { return }
      // Another thread may have removed it in between.
      let isStill = link(first).pointee.set == number && link(first).pointee.socket == socket
      let isListener = isStill && link(first).pointee.isInKernel
      let channel = link(first).pointee.channel
      if isStill {
        removeFromSet(first)
        removeFromSocket(first)
        freeLink(first)
      }
      Lock.release(shardLock(socket))
      if isListener { listenerUnwatched(socket, channel: channel) }
    }
  }
}

/// `copy` is a duplicate of a descriptor of an epoll set, whose entry in the table is given.
func epollDuplicated(_ entry: DescriptorEntry, _ copy: Int32, _ closeOnExec: Bool) {
  // Above the limit of numbers it would be the kernel's alone: a set of the kernel's members.
  guard copy < FS_DESCRIPTOR_LIMIT, let memory = ReadinessMemory.existing,
    Lock.acquire(memory.setLock(entry.index))
  else { return }
  memory.set(entry.index).pointee.references += 1
  Lock.release(memory.setLock(entry.index))
  descriptorAssign(copy, kind: .epoll, index: entry.index, closeOnExec: closeOnExec)
}

/// A descriptor of an epoll set is about to be closed; its entry in the table is cleared already.
func epollClosed(_ index: Int32, fd: Int32) {
  guard let memory = ReadinessMemory.existing else { return }
  let number = UInt32(bitPattern: index)
  let set = memory.set(number)
  guard Lock.acquire(memory.setLock(number)) else { return }
  set.pointee.references -= 1
  let isLast = set.pointee.references == 0 && !memory.leaveToCalls(set, fd)
  if isLast {
    // The kernel forgets its part by itself.
    set.pointee.descriptor = -1
  } else if set.pointee.descriptor == fd {
    set.pointee.descriptor = otherDescriptor(ofSet: index, than: fd)
  }
  Lock.release(memory.setLock(number))
  if isLast { memory.dispose(number) }
}

/// Another descriptor of a set. Sets with several are so rare that they may be searched for.
private func otherDescriptor(ofSet index: Int32, than fd: Int32) -> Int32 {
  for candidate in 0..<Int32(FS_DESCRIPTOR_LIMIT)
  where candidate != fd && epollIndex(candidate) == index {
    return candidate
  }
  return -1
}

// In Linux a call that waits in a set holds it, also when its last descriptor is closed.
extension ReadinessMemory {
  /// A call is about to wait in a set; false if that is none any more.
  func callWaits(in number: UInt32) -> Bool {
    forgetAbandonedWait()
    guard Lock.acquire(setLock(number)) else { return false }
    defer { Lock.release(setLock(number)) }
    guard set(number).pointee.isUsed, set(number).pointee.descriptor >= 0 else { return false }
    set(number).pointee.calls += 1
    fs_thread_state().pointee.blockedInSet = number
    return true
  }

  /// The call has waited: the last one closes a set that was left to them.
  func callHasWaited(in number: UInt32) {
    fs_thread_state().pointee.blockedInSet = 0
    let set = set(number)
    guard Lock.acquire(setLock(number)) else { return }
    if set.pointee.calls > 0 { set.pointee.calls -= 1 }
    let isOver = set.pointee.isLeftToCalls && set.pointee.calls == 0
    let descriptor = set.pointee.descriptor
    if isOver {
      set.pointee.isLeftToCalls = false
      set.pointee.descriptor = -1
    }
    Lock.release(setLock(number))
    guard isOver else { return }
    dispose(number)
    closeInternal(descriptor)
  }

  /// A call of this thread that waited in a set will never return: the thread ends, or has left it by
  /// longjmp.
  func forgetAbandonedWait() {
    let number = fs_thread_state().pointee.blockedInSet
    if number != 0 { callHasWaited(in: number) }
  }

  /// The last descriptor of a set, `fd`, is about to be closed: if calls wait in it they get one of their
  /// own. The set's lock is held.
  fileprivate func leaveToCalls(_ set: EpollSetPointer, _ fd: Int32) -> Bool {
    guard set.pointee.calls > 0 else { return false }
    let copy = fs_sys_fcntl(fd, F_DUPFD_CLOEXEC, Int(process.pointee.internalBase))
    guard copy >= 0 else { return false }
    guard copy < FS_DESCRIPTOR_LIMIT else {
      _ = fs_sys_close(copy)
      return false
    }
    descriptorAssign(copy, kind: .internal, index: 0, closeOnExec: true)
    set.pointee.descriptor = copy
    set.pointee.isLeftToCalls = true
    return true
  }

  fileprivate func dispose(_ number: UInt32) {
    let set = set(number)
    removeAllLinks(number)
    removeFromNesting(number)
    let wake = set.pointee.wakeDescriptor
    guard Lock.acquire(lock) else { return }
    set.pointee.wakeDescriptor = -1
    set.pointee.isUsed = false
    Lock.release(lock)
    closeInternal(wake)
  }
}

/// Before fork. A lock that another thread holds is not waited for: the child resets them all, and
/// what they protect is consistent enough for a process that gives every link up.
func epollForkPrepare() {}

func epollForkParent() {}

/// In a forked child: no other thread exists, so no lock is held; eventfds and waiters have been
/// closed, and no channel is this process's.
func epollForkChild() {
  guard let memory = ReadinessMemory.existing else { return }
  memory.lock.pointee.store(0, ordering: .relaxed)
  memory.nestingLock.pointee.store(0, ordering: .relaxed)
  for shard in 0..<Int32(shardCount) {
    memory.shardLock(shard).pointee.store(0, ordering: .relaxed)
  }
  for number in 1..<memory.header.pointee.setsTouched
  where memory.set(number).pointee.isUsed {
    let set = memory.set(number)
    memory.setLock(number).pointee.store(0, ordering: .relaxed)
    set.pointee.isInherited = true
    set.pointee.isShared = true
    set.pointee.wakeDescriptor = -1
    set.pointee.waiters = 0
    set.pointee.calls = 0
    set.pointee.nested = memory.countMemberships(number)
    set.pointee.channelCount = 0
    set.pointee.channelUses = InlineArray(repeating: 0)
    set.pointee.listeningChannels = InlineArray(repeating: 0)
    set.pointee.registrations = ChannelRegistrations(generations: InlineArray(repeating: 0))
    var link = set.pointee.firstLink
    while link != 0 {
      memory.link(link).pointee.channel = -1
      link = memory.link(link).pointee.ofSet.next
    }
  }
  for number in 1..<memory.header.pointee.waitersTouched
  where memory.waiter(number).pointee.isUsed {
    memory.waiter(number).pointee.isUsed = false
  }
  memory.header.pointee.readableDescriptor = -1
  fs_thread_state().pointee.waitEpoll = 0
}
