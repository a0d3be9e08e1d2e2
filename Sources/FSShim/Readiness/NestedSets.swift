import CShim
import Synchronization

// Epoll sets in epoll sets. The kernel's set of the inner one stands in the kernel's set of the outer one, with
// a link's sentinel, and makes that readable whenever something may have come. That may be no more than a
// ring for this library, or one that has been heard: the application is told of the inner set only if
// something in it is ready, as Linux has it.

/// epoll_ctl(2) with a set of ours as the descriptor.
func controlMember(
  _ outer: Int32, _ operation: Int32, _ inner: Int32, _ event: UnsafeMutablePointer<epoll_event>?
) -> Int64 {
  let member = UInt32(bitPattern: epollIndex(inner))
  guard operation != EPOLL_CTL_DEL else { return deleteMember(outer, inner, member) }
  guard let event else { return Int64(-EFAULT) }
  guard operation != EPOLL_CTL_ADD else { return addMember(outer, inner, member, event.pointee) }
  guard operation == EPOLL_CTL_MOD, let memory = ReadinessMemory.existing,
    Lock.acquire(memory.nestingLock)
  else { return fs_pass() }
  defer { Lock.release(memory.nestingLock) }
  let number = memory.findMembership(member, of: epollIndex(outer), descriptor: inner)
  guard number != 0 else { return fs_pass() }
  let result = fs_sys_epoll_ctl(
    outer, EPOLL_CTL_MOD, inner, event.pointee.events, Sentinel.link.data(number))
  if result == 0 {
    memory.link(number).pointee.mask = event.pointee.events
    memory.link(number).pointee.data = event.pointee.data.u64
  }
  return Int64(result)
}

private func addMember(_ outer: Int32, _ inner: Int32, _ member: UInt32, _ event: epoll_event)
  -> Int64
{
  guard let memory = ReadinessMemory.existing else { return fs_pass() }
  let found = memory.ensureSet(outer)
  if found < 0 { return found }
  let set = UInt32(found)
  if memory.set(set).pointee.isInherited { memory.adopt(set, descriptor: outer) }
  if memory.set(member).pointee.isInherited { memory.adopt(member, descriptor: inner) }
  let number = memory.allocateLink()
  if number == 0 { return Int64(-ENOMEM) }
  let entry = memory.link(number)
  entry.pointee.set = set
  entry.pointee.member = member
  entry.pointee.descriptor = inner
  entry.pointee.mask = event.events
  entry.pointee.data = event.data.u64
  guard Lock.acquire(memory.nestingLock) else {
    memory.freeLink(number)
    return Int64(-EBUSY)
  }
  defer { Lock.release(memory.nestingLock) }
  // Rings, if it is ready: the kernel tells of what is there now also those who did not ask for EPOLLIN.
  memory.enterMembership(number)
  let result = fs_sys_epoll_ctl(
    outer, EPOLL_CTL_ADD, inner, event.events, Sentinel.link.data(number))
  if result < 0 { memory.leaveMembership(number) }
  return Int64(result)
}

private func deleteMember(_ outer: Int32, _ inner: Int32, _ member: UInt32) -> Int64 {
  guard let memory = ReadinessMemory.existing, Lock.acquire(memory.nestingLock) else {
    return fs_pass()
  }
  defer { Lock.release(memory.nestingLock) }
  let number = memory.findMembership(member, of: epollIndex(outer), descriptor: inner)
  guard number != 0 else { return fs_pass() }
  let result = fs_sys_epoll_ctl(outer, EPOLL_CTL_DEL, inner, 0, 0)
  if result == 0 { memory.leaveMembership(number) }
  return Int64(result)
}

// MARK: The lists, with the nesting lock held

extension ReadinessMemory {
  /// The link of a set under a descriptor number in the set `outer`; 0 for none.
  fileprivate func findMembership(_ member: UInt32, of outer: Int32, descriptor: Int32) -> UInt32 {
    var number = set(member).pointee.firstMembership
    while number != 0 {
      let entry = link(number)
      if entry.pointee.set == UInt32(bitPattern: outer) && entry.pointee.descriptor == descriptor {
        return number
      }
      number = entry.pointee.ofSocket.next
    }
    return 0
  }

  fileprivate func enterMembership(_ number: UInt32) {
    let entry = link(number)
    let (outer, member) = (set(entry.pointee.set), set(entry.pointee.member))
    push(number, .ofSet, on: &outer.pointee.firstMember)
    push(number, .ofSocket, on: &member.pointee.firstMembership)
    guard Lock.acquire(setLock(entry.pointee.member)) else { return }
    beginNesting(member)
    Lock.release(setLock(entry.pointee.member))
  }

  fileprivate func leaveMembership(_ number: UInt32) {
    let entry = link(number).pointee
    let (outer, member) = (set(entry.set), set(entry.member))
    drop(number, .ofSet, from: &outer.pointee.firstMember)
    drop(number, .ofSocket, from: &member.pointee.firstMembership)
    if Lock.acquire(setLock(entry.member)) {
      endNesting(member)
      Lock.release(setLock(entry.member))
    }
    freeLink(number)
  }

  /// In how many sets a set is, counted twice where it is there under two numbers.
  func countMemberships(_ number: UInt32) -> UInt32 {
    var count: UInt32 = 0
    var at = set(number).pointee.firstMembership
    while at != 0 {
      count += 1
      at = link(at).pointee.ofSocket.next
    }
    return count
  }
}

// MARK: Without locks

extension ReadinessMemory {
  /// A set is closed: it leaves the sets in which it is, in the kernel by itself, and those in it.
  func removeFromNesting(_ number: UInt32) {
    guard Lock.acquire(nestingLock) else { return }
    while set(number).pointee.firstMember != 0 { leaveMembership(set(number).pointee.firstMember) }
    while set(number).pointee.firstMembership != 0 {
      leaveMembership(set(number).pointee.firstMembership)
    }
    Lock.release(nestingLock)
  }

  /// Takes up the sets in a set that a parent made: what makes them readable makes that readable.
  func adoptMembers(of number: UInt32) {
    forEachMember(of: number) {
      if set($0).pointee.isInherited { adopt($0, descriptor: set($0).pointee.descriptor) }
    }
  }

  /// Calls `body` with the number of each set in a set.
  private func forEachMember(of number: UInt32, _ body: (UInt32) -> Void) {
    var at: UInt32 = 0
    while true {
      guard Lock.acquire(nestingLock) else { return }
      // One that has left meanwhile leads nowhere.
      let isThere = at == 0 || link(at).pointee.member != 0 && link(at).pointee.set == number
      let next = at == 0 ? set(number).pointee.firstMember : link(at).pointee.ofSet.next
      let member = isThere && next != 0 ? link(next).pointee.member : 0
      Lock.release(nestingLock)
      if member == 0 { return }
      body(member)
      at = next
    }
  }

  /// Whether the link of a sentinel is that of a set.
  func isMembership(_ number: UInt32) -> Bool {
    number < linkLimit && link(number).pointee.member != 0
  }

  /// The kernel calls a set in the set `outer` readable: the application's word for it, or nil if
  /// there is nothing in it.
  func report(member number: UInt32, of outer: UInt32) -> UInt64? {
    guard let entry = membership(number, of: outer) else { return nil }
    if isReadable(entry.member) { return entry.data }
    // The kernel takes EPOLLONESHOT for used up. It cannot be set again once the number with which the
    // set was added is closed: then the event is one too many, which is better than none.
    guard entry.mask & EPOLLONESHOT.rawValue != 0, Lock.acquire(nestingLock) else { return nil }
    defer { Lock.release(nestingLock) }
    guard link(number).pointee.set == outer, link(number).pointee.member == entry.member else {
      return nil
    }
    let result = fs_sys_epoll_ctl(
      set(outer).pointee.descriptor, EPOLL_CTL_MOD, entry.descriptor, link(number).pointee.mask,
      Sentinel.link.data(number))
    return result == 0 ? nil : entry.data
  }

  private func membership(_ number: UInt32, of outer: UInt32) -> Link? {
    guard Lock.acquire(nestingLock) else { return nil }
    defer { Lock.release(nestingLock) }
    let entry = link(number).pointee
    return entry.set == outer && entry.member != 0 ? entry : nil
  }

  /// Whether something in a set is ready, of ours, of the kernel's or in a set in it. To be asked when
  /// the kernel says so: what it finds may be the shim's own, and no more than a ring that was heard.
  func isReadable(_ number: UInt32) -> Bool {
    for _ in 0..<3 {
      if silence(number) { return true }
      // Still, unless a ring has come.
      if fs_sys_poll_now(set(number).pointee.descriptor, Int16(POLLIN)) == 0 { return false }
    }
    return true
  }

  /// Takes the rings that stand in a set, and in the sets in it, unless something of ours is ready there.
  /// Whether that is so in the set itself.
  private func silence(_ number: UInt32) -> Bool {
    if hasReady(number) { return true }
    takeRings(number)
    if hasReady(number) { return true }
    forEachMember(of: number) { _ = silence($0) }
    return false
  }
}
