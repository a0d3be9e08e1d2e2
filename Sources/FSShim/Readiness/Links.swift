import CShim
import Synchronization

// The link lists of the sockets, and what happens to links when something happens to a socket.
//
// Order of locks: a channel's, then a shard's (the link lists of some sockets), then a set's.
extension ReadinessMemory {
  /// The link of a socket under a descriptor number in a set. The shard's lock is held.
  func findLink(_ socket: Int32, set: UInt32, descriptor: Int32) -> UInt32 {
    var number = socketAt(socket).pointee.firstLink
    while number != 0 {
      let entry = link(number)
      if entry.pointee.set == set && entry.pointee.descriptor == descriptor { return number }
      number = entry.pointee.ofSocket.next
    }
    return 0
  }

  /// Puts a link at the head of its socket's list. The shard's lock is held.
  func insertIntoSocket(_ number: UInt32) {
    let socket = socketAt(link(number).pointee.socket)
    push(number, .ofSocket, on: &socket.pointee.firstLink)
  }

  /// Takes a link out of its socket's list. The shard's lock is held.
  func removeFromSocket(_ number: UInt32) {
    let socket = socketAt(link(number).pointee.socket)
    drop(number, .ofSocket, from: &socket.pointee.firstLink)
  }

  // The lists themselves. What a link is of is a socket, or a set in a set (NestedSets.swift).

  /// Puts a link at the head of a list.
  @inline(__always)
  func push(_ number: UInt32, _ list: LinkList, on first: inout UInt32) {
    link(number).pointee[list] = Neighbours(next: first)
    if first != 0 { link(first).pointee[list].previous = number }
    first = number
  }

  /// Takes a link out of a list.
  @inline(__always)
  func drop(_ number: UInt32, _ list: LinkList, from first: inout UInt32) {
    let own = link(number).pointee[list]
    if own.previous == 0 {
      first = own.next
    } else {
      link(own.previous).pointee[list].next = own.next
    }
    if own.next != 0 { link(own.next).pointee[list].previous = own.previous }
  }

  /// Takes a link out of its set, also out of the kernel's. The shard's lock is held. `isClosed` says that this is
  /// because the socket is closed.
  func removeFromSet(_ number: UInt32, isClosed: Bool = false) {
    let entry = link(number)
    let setNumber = entry.pointee.set
    guard Lock.acquire(setLock(setNumber)) else { return }
    let set = set(setNumber)
    remove(number, from: set)
    removeChannel(entry.pointee.channel, from: set)
    leaveKernel(number, isClosed)
    Lock.release(setLock(setNumber))
  }

  /// Takes what the kernel has of a link out of its set. The set's lock is held.
  private func leaveKernel(_ number: UInt32, _ isClosed: Bool) {
    let entry = link(number)
    let set = set(entry.pointee.set)
    // What a child closes stays in a set that is its parent's, too (redis closes its listeners in the child that
    // saves), and in one that it has not used.
    let stays = isClosed ? set.pointee.isShared : set.pointee.isInherited
    if entry.pointee.isInKernel && !entry.pointee.isStale && set.pointee.descriptor >= 0 && !stays {
      _ = fs_sys_epoll_ctl(
        set.pointee.descriptor, EPOLL_CTL_DEL, entry.pointee.descriptor, 0, 0)
    }
  }

  /// Notes that a link may be ready, and wakes whoever waits for that. The shard's lock is held.
  func notify(_ number: UInt32) {
    let setNumber = link(number).pointee.set
    guard Lock.acquire(setLock(setNumber)) else { return }
    let set = set(setNumber)
    appendReady(number, to: set)
    // The thread that collects for this very set will see it.
    if fs_thread_state().pointee.waiting.1 != UInt64(setNumber) || set.pointee.nested > 0 {
      wake(set)
    }
    Lock.release(setLock(setNumber))
  }

  /// `notify` for the links of a socket that want one of `events` (0: all links) and, when
  /// `channel` is not negative, belong to that channel. Whether there was one. The shard's lock is
  /// held.
  private func notifyLinks(_ socket: Int32, _ events: UInt32, _ channel: Int32) -> Bool {
    var isFound = false
    var number = socketAt(socket).pointee.firstLink
    while number != 0 {
      let entry = link(number)
      let next = entry.pointee.ofSocket.next
      let isConcerned = channel < 0 || entry.pointee.channel == channel
      if isConcerned { isFound = true }
      let isWanted = events == 0 || entry.pointee.mask & events != 0
      if isConcerned && isWanted { notify(number) }
      number = next
    }
    return isFound
  }

  func notifyLinks(_ socket: Int32, events: UInt32, channel: Int32 = -1) {
    guard Lock.acquire(shardLock(socket)) else { return }
    if !notifyLinks(socket, events, channel) && channel >= 0 {
      // A channel of no thread in particular: whoever watches the listener may take it.
      _ = notifyLinks(socket, events, -1)
    }
    Lock.release(shardLock(socket))
  }
}

/// An edge on a connection: `events` are newly there (0: look at everything). Called under the
/// channel's lock, after the socket's readiness has been updated.
func socketBecameReady(_ socket: Int32, _ events: UInt32) {
  wakeWaiters(of: socket)
  guard let memory = ReadinessMemory.existing, socketAt(socket).pointee.firstLink != 0 else {
    return
  }
  memory.notifyLinks(socket, events: wakeKey(events))
}

/// For whom Linux makes an edge of what has happened: a change of state is one for every link,
/// received data also one for those who asked only for urgent data.
@inline(__always)
private func wakeKey(_ events: UInt32) -> UInt32 {
  if events & (EPOLLRDHUP.rawValue | alwaysReported) != 0 { return 0 }
  var key = events
  if events & EPOLLIN.rawValue != 0 { key |= EPOLLPRI.rawValue | EPOLLRDBAND.rawValue }
  if events & EPOLLOUT.rawValue != 0 { key |= EPOLLWRBAND.rawValue }
  return key
}

/// Connections of a listener have come to `channel`: a matter for the sets whose links that
/// channel's thread has added, so that one connection does not wake every thread. -1 means that the
/// channel is not known, or that they came from the kernel: all sets.
func listenerBecameReady(_ socket: Int32, _ channel: Int32) {
  wakeWaiters(of: socket)
  guard let memory = ReadinessMemory.existing else { return }
  memory.notifyLinks(socket, events: EPOLLIN.rawValue | EPOLLRDNORM.rawValue, channel: channel)
}

/// The last descriptor of a socket is going: it leaves all sets.
func socketClosed(_ socket: Int32) {
  wakeWaiters(of: socket)
  guard let memory = ReadinessMemory.existing, socketAt(socket).pointee.firstLink != 0,
    Lock.acquire(memory.shardLock(socket))
  else { return }
  while socketAt(socket).pointee.firstLink != 0 {
    let number = socketAt(socket).pointee.firstLink
    memory.removeFromSet(number, isClosed: true)
    memory.removeFromSocket(number)
    memory.freeLink(number)
  }
  Lock.release(memory.shardLock(socket))
}

/// One of several descriptors of a socket was closed. Its links stay, as on Linux.
func socketDescriptorClosed(_ socket: Int32, fd: Int32) {
  guard let memory = ReadinessMemory.existing, socketAt(socket).pointee.firstLink != 0,
    Lock.acquire(memory.shardLock(socket))
  else { return }
  var number = socketAt(socket).pointee.firstLink
  while number != 0 {
    let entry = memory.link(number)
    if entry.pointee.descriptor == fd { entry.pointee.isStale = true }
    number = entry.pointee.ofSocket.next
  }
  Lock.release(memory.shardLock(socket))
}

/// A socket that was in sets before it was known whose it would be has been decided. If it is the
/// kernel's, its links become ordinary entries of the kernel's sets; if it is ours, they now concern
/// its channel (or, for a listener, the kernel's side as well).
func socketDecided(_ socket: Int32, fd: Int32, kernel: Bool) {
  guard let memory = ReadinessMemory.existing, socketAt(socket).pointee.firstLink != 0,
    Lock.acquire(memory.shardLock(socket))
  else { return }
  var number = socketAt(socket).pointee.firstLink
  while number != 0 {
    let entry = memory.link(number)
    let next = entry.pointee.ofSocket.next
    if kernel {
      memory.moveToKernel(number)
    } else {
      memory.moveToEngine(number)
    }
    number = next
  }
  Lock.release(memory.shardLock(socket))
}

/// A socket that may have been put into sets while it was undecided listens now.
func socketListens(_ socket: Int32) {
  guard let memory = ReadinessMemory.existing, socketAt(socket).pointee.firstLink != 0 else {
    return
  }
  while true {
    guard Lock.acquire(memory.shardLock(socket)) else { return }
    let number = memory.linkToWatch(socket)
    Lock.release(memory.shardLock(socket))
    if number == 0 { return }
    let channel = listenerWatched(socket)
    guard Lock.acquire(memory.shardLock(socket)) else { return }
    let isStill = memory.linkToWatch(socket) == number
    if isStill { memory.moveToListener(number, channel) }
    Lock.release(memory.shardLock(socket))
    if !isStill { listenerUnwatched(socket, channel: channel) }
  }
}

/// A listener listens no more, and may yet do so again: its links are those of an undecided socket.
func socketStopsListening(_ socket: Int32) {
  guard let memory = ReadinessMemory.existing, Lock.acquire(memory.shardLock(socket)) else {
    return
  }
  var number = socketAt(socket).pointee.firstLink
  while number != 0 {
    memory.moveFromListener(number)
    number = memory.link(number).pointee.ofSocket.next
  }
  Lock.release(memory.shardLock(socket))
}

/// Connections of a listener come to one more channel. If that is not a particular thread's, every
/// set that watches the listener has to wake up for it; it stays in those sets as long as they live.
func listenerJoined(_ socket: Int32, _ channel: Int32) {
  guard let memory = ReadinessMemory.existing, Lock.acquire(memory.shardLock(socket)) else {
    return
  }
  let isInvited = ChannelTable.at(channel).pointee.isInvited
  var number = socketAt(socket).pointee.firstLink
  while number != 0 {
    let entry = memory.link(number)
    let setNumber = entry.pointee.set
    let own = entry.pointee.channel
    // A link whose channel died with its daemon takes what the next daemon brings.
    let isConcerned = isInvited || own < 0 || !channelIsOpen(own)
    if own != channel && isConcerned && Lock.acquire(memory.setLock(setNumber)) {
      let set = memory.set(setNumber)
      if set.pointee.channelUses[Int(channel)] == 0 {
        memory.addChannel(channel, to: set, descriptor: set.pointee.descriptor)
      }
      Lock.release(memory.setLock(setNumber))
    }
    number = entry.pointee.ofSocket.next
  }
  Lock.release(memory.shardLock(socket))
}

extension ReadinessMemory {
  /// A link of a listener that was made when the socket was undecided. The shard's lock is held.
  fileprivate func linkToWatch(_ socket: Int32) -> UInt32 {
    var number = socketAt(socket).pointee.firstLink
    while number != 0 {
      let entry = link(number)
      if !entry.pointee.isInKernel { return number }
      number = entry.pointee.ofSocket.next
    }
    return 0
  }

  /// Makes a link of an undecided socket one of a listener. The shard's lock is held.
  fileprivate func moveToListener(_ number: UInt32, _ channel: Int32) {
    let entry = link(number)
    guard Lock.acquire(setLock(entry.pointee.set)) else { return }
    let set = set(entry.pointee.set)
    _ = fs_sys_epoll_ctl(
      set.pointee.descriptor, EPOLL_CTL_ADD, entry.pointee.descriptor, entry.pointee.mask,
      Sentinel.link.data(number))
    entry.pointee.isInKernel = true
    entry.pointee.channel = channel
    addListeningChannel(channel, to: set, descriptor: set.pointee.descriptor)
    Lock.release(setLock(entry.pointee.set))
  }

  /// Makes a link of a listener one of an undecided socket. The shard's lock is held.
  fileprivate func moveFromListener(_ number: UInt32) {
    let entry = link(number)
    guard entry.pointee.isInKernel, Lock.acquire(setLock(entry.pointee.set)) else { return }
    let set = set(entry.pointee.set)
    leaveKernel(number, true)
    entry.pointee.isInKernel = false
    removeChannel(entry.pointee.channel, from: set)
    entry.pointee.channel = -1
    appendReady(number, to: set)
    wake(set)
    Lock.release(setLock(entry.pointee.set))
  }

  /// Makes a link an ordinary entry of the kernel's set. The shard's lock is held.
  fileprivate func moveToKernel(_ number: UInt32) {
    let entry = link(number)
    let setNumber = entry.pointee.set
    // A set that is the parent's so far shows the child's descriptors when the child uses it.
    if !entry.pointee.isStale, !set(setNumber).pointee.isInherited {
      _ = fs_sys_epoll_ctl(
        set(setNumber).pointee.descriptor, EPOLL_CTL_ADD, entry.pointee.descriptor,
        entry.pointee.mask, entry.pointee.data)
    }
    removeFromSet(number)
    removeFromSocket(number)
    freeLink(number)
  }

  /// Makes a link of an undecided socket one of a connection. The shard's lock is held.
  fileprivate func moveToEngine(_ number: UInt32) {
    let entry = link(number)
    let setNumber = entry.pointee.set
    let channel = channelOf(entry.pointee.socket)
    guard entry.pointee.channel != channel, Lock.acquire(setLock(setNumber)) else {
      return
    }
    let set = set(setNumber)
    // That of an attempt that failed.
    removeChannel(entry.pointee.channel, from: set)
    entry.pointee.channel = channel
    addChannel(entry.pointee.channel, to: set, descriptor: set.pointee.descriptor)
    if readiness(of: entry) != 0 {
      appendReady(number, to: set)
      wake(set)
    }
    Lock.release(setLock(setNumber))
  }
}
