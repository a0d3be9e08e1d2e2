import CShim
import Synchronization

/// epoll_wait(2) and its relatives on a set that watches descriptors of ours.
@c @implementation
public func fs_epoll_wait(
  _ set: Int32, _ events: UnsafeMutablePointer<epoll_event>?, _ capacity: Int32, _ timeout: Int64,
  _ mask: UnsafePointer<sigset_t>?
) -> Int64 {
  let kind = descriptorKind(set)
  if kind == .internal { return Int64(-EBADF) }
  let index = epollIndex(set)
  guard kind == .epoll, index > 0, let memory = ReadinessMemory.existing else {
    return kind == .none ? fs_pass() : Int64(-EINVAL)
  }
  if capacity <= 0 || Int(capacity) > Int(Int32.max) / MemoryLayout<epoll_event>.size {
    return Int64(-EINVAL)
  }
  guard let events else { return Int64(-EFAULT) }
  let number = UInt32(index)
  if memory.set(number).pointee.isInherited { memory.adopt(number, descriptor: set) }
  let wait = EpollWait(
    memory: memory, number: number, descriptor: set, events: events, capacity: Int(capacity))
  return wait.run(timeout: timeout, mask: mask)
}

/// What a thread that was in libc's epoll_wait(2) has found, in a set that meanwhile has become one of
/// ours: what of it is the application's, or what comes before the deadline.
@c @implementation
public func fs_epoll_waited(
  _ set: Int32, _ events: UnsafeMutablePointer<epoll_event>, _ capacity: Int32, _ found: Int32,
  _ deadline: UInt64, _ mask: UnsafePointer<sigset_t>?
) -> Int64 {
  let index = epollIndex(set)
  guard index > 0, let memory = ReadinessMemory.existing else { return Int64(found) }
  let wait = EpollWait(
    memory: memory, number: UInt32(index), descriptor: set, events: events,
    capacity: Int(capacity))
  return wait.goOn(found: Int(found), until: deadline, mask: mask)
}

/// One call of epoll_wait(2).
private struct EpollWait {
  let memory: ReadinessMemory
  let number: UInt32
  let descriptor: Int32
  let events: UnsafeMutablePointer<epoll_event>
  let capacity: Int

  private var set: EpollSetPointer { memory.set(number) }

  func run(timeout: Int64, mask: UnsafePointer<sigset_t>?) -> Int64 {
    let count = gather()
    if count > 0 { return Int64(count) }
    if timeout == 0 {
      // Nothing of ours is ready, so the kernel's side has not been looked at recently enough.
      return Int64(look(atMost: capacity))
    }
    let deadline = timeout < 0 ? UInt64.max : monotonicNow() &+ UInt64(timeout)
    if spin(until: deadline) {
      let found = gather()
      if found > 0 { return Int64(found) }
    }
    return sleepOften(until: deadline, mask: mask)
  }

  /// Goes on where libc's epoll_wait has left off.
  func goOn(found: Int, until deadline: UInt64, mask: UnsafePointer<sigset_t>?) -> Int64 {
    // Others who sleep like this have to come here too; each wakes the next.
    if fs_epoll_sleepers(descriptor) > 0 { fs_sys_ring(set.pointee.wakeDescriptor) }
    let kept = takeSentinels(found)
    drain()
    let count = kept + collect(from: kept)
    if count > 0 { return Int64(count) }
    return sleepOften(until: deadline, mask: mask)
  }

  private func sleepOften(until deadline: UInt64, mask: UnsafePointer<sigset_t>?) -> Int64 {
    guard memory.callWaits(in: number) else {
      // Closed, or a signal handler has interrupted this thread there.
      return Int64(epollIndex(descriptor) == Int32(number) ? -EINTR : -EBADF)
    }
    defer { memory.callHasWaited(in: number) }
    while true {
      let result = sleep(until: deadline, mask: mask)
      if result != 0 { return Int64(result) }
      if deadline != .max && monotonicNow() >= deadline { return 0 }
    }
  }

  // MARK: Without sleeping

  /// Lets the channels' events come in.
  private func drain() {
    let thread = fs_thread_state()
    thread.pointee.waiting.1 = UInt64(number)
    for i in 0..<Int(set.pointee.channelCount) {
      drainChannel(Int32(set.pointee.channels[i]))
    }
    thread.pointee.waiting.1 = 0
    // The thread's own channel may not be among them: the last listener that it watched there has just
    // left the set, and what has come for it is for others.
    drainAllChannelsForThread()
  }

  private func collect(from start: Int) -> Int {
    guard Lock.acquire(memory.setLock(number)) else { return 0 }
    let count = memory.collect(set, into: events + start, capacity: capacity - start)
    Lock.release(memory.setLock(number))
    return count
  }

  /// How many of ours are ready, so many as there is room for.
  private func countReady() -> Int {
    guard Lock.acquire(memory.setLock(number)) else { return capacity }
    defer { Lock.release(memory.setLock(number)) }
    return memory.countReady(set, atMost: capacity)
  }

  /// Whether something of ours really is ready; a level-triggered link that was read empty is still
  /// in the list.
  private func hasReady() -> Bool { memory.hasReady(number) }

  /// What is ready of ours; and, when the last look is a while ago, of the kernel's. If ours fill
  /// the whole room, the kernel's get half of it when it is their turn, and the other way round.
  private func gather() -> Int {
    drain()
    if set.pointee.readyCount == 0 || !hasReady() { return 0 }
    // A set that is a member of another is looked at each time: what made it readable to the other
    // has to go.
    if set.pointee.nested == 0 && fs_ticks() &- set.pointee.lastLook <= fs_ticks_per_look() {
      return collect(from: 0)
    }
    if capacity > 1 {
      // Room that ours do not need is the kernel's as well.
      return look(atMost: max(capacity / 2, capacity - countReady()))
    }
    set.pointee.kernelTurn.toggle()
    return set.pointee.kernelTurn ? look(atMost: 1) : collect(from: 0)
  }

  /// Looks at the kernel's side without waiting, for `room` events; what is ready of ours follows.
  private func look(atMost room: Int) -> Int {
    var count = 0
    var result: Int32
    repeat {
      result = fs_sys_epoll_look(descriptor, events, Int32(room))
      count = result > 0 ? takeSentinels(Int(result)) : 0
      // If the shim's own have taken all the room, the application's are behind them. What makes something of ours
      // ready, the kernel's side of a listener, may be reported again and again.
    } while result == room && count == 0 && !hasReady()
    set.pointee.lastLook = fs_ticks()
    return count + collect(from: count)
  }

  /// Takes the shim's own out of `count` events from the kernel and does what they ask for; what is
  /// left moves together. Its number.
  private func takeSentinels(_ count: Int) -> Int {
    let tag = memory.header.pointee.sentinelTag
    var kept = 0
    for i in 0..<count {
      guard let sentinel = Sentinel.decode(events[i].data.u64, tag: tag) else {
        if kept != i { events[kept] = events[i] }
        kept += 1
        continue
      }
      switch sentinel.kind {
      case .channel, .wake: drain()
      case .link:
        guard memory.isMembership(sentinel.number) else {
          kernelSide(sentinel.number)
          break
        }
        if let data = memory.report(member: sentinel.number, of: number) {
          events[kept].events = events[i].events
          events[kept].data.u64 = data
          kept += 1
        }
      case .control: processControlMessages()
      }
    }
    return kept
  }

  /// The kernel says that the real socket of a listener is readable.
  private func kernelSide(_ link: UInt32) {
    guard link < linkLimit, Lock.acquire(memory.setLock(number)) else { return }
    let entry = memory.link(link)
    if entry.pointee.set == number && entry.pointee.isInKernel {
      kernelBecameReadable(entry.pointee.socket)
      memory.appendReady(link, to: set)
    }
    Lock.release(memory.setLock(number))
  }

  // MARK: Sleeping

  /// If spinning is asked for: watches the rings for that long. True if something came.
  private func spin(until deadline: UInt64) -> Bool {
    let nanoseconds = memory.header.pointee.spinNanoseconds
    if nanoseconds == 0 { return false }
    let end = min(deadline, monotonicNow() &+ nanoseconds)
    while true {
      for _ in 0..<32 {
        for i in 0..<Int(set.pointee.channelCount)
        where channelHasEvents(Int32(set.pointee.channels[i])) {
          return true
        }
        fs_pause()
      }
      if monotonicNow() >= end { return false }
    }
  }

  /// Sleeps in the kernel until something happens: the number of events, -errno, or 0 when there
  /// is nothing to report (yet).
  private func sleep(until deadline: UInt64, mask: UnsafePointer<sigset_t>?) -> Int {
    guard Lock.acquire(memory.setLock(number)) else { return Int(-EINTR) }
    let isQuiet = memory.beginSleep(set) && set.pointee.readyCount == 0
    Lock.release(memory.setLock(number))
    var result: Int32 = 0
    if isQuiet {
      let left: Int64
      if deadline == .max {
        left = -1
      } else {
        let now = monotonicNow()
        left = now < deadline ? Int64(deadline - now) : 0
      }
      // The call's own may have been closed.
      result = fs_next_epoll_wait(
        set.pointee.descriptor, events, Int32(capacity), left, mask)
      set.pointee.lastLook = fs_ticks()
    }
    if Lock.acquire(memory.setLock(number)) {
      memory.endSleep(set)
      Lock.release(memory.setLock(number))
    }
    if result < 0 { return Int(result) }
    let count = result > 0 ? takeSentinels(Int(result)) : 0
    drain()
    return count + collect(from: count)
  }
}
