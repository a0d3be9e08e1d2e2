import CShim
import Synchronization

/// Events that are reported whether or not they were asked for.
let alwaysReported = EPOLLERR.rawValue | EPOLLHUP.rawValue
/// Bits of a mask that are not events.
let maskFlags =
  EPOLLET.rawValue | EPOLLONESHOT.rawValue | EPOLLEXCLUSIVE.rawValue | EPOLLWAKEUP.rawValue

// The ready list of a set and its list of links. All of it is called with the set's lock held.
extension ReadinessMemory {
  func appendReady(_ number: UInt32, to set: EpollSetPointer) {
    let entry = link(number)
    if entry.pointee.isReady { return }
    entry.pointee.isReady = true
    entry.pointee.nextReady = 0
    entry.pointee.previousReady = set.pointee.readyTail
    if set.pointee.readyTail == 0 {
      set.pointee.readyHead = number
    } else {
      link(set.pointee.readyTail).pointee.nextReady = number
    }
    set.pointee.readyTail = number
    set.pointee.readyCount += 1
  }

  func removeReady(_ number: UInt32, from set: EpollSetPointer) {
    let entry = link(number)
    if !entry.pointee.isReady { return }
    entry.pointee.isReady = false
    if entry.pointee.previousReady == 0 {
      set.pointee.readyHead = entry.pointee.nextReady
    } else {
      link(entry.pointee.previousReady).pointee.nextReady = entry.pointee.nextReady
    }
    if entry.pointee.nextReady == 0 {
      set.pointee.readyTail = entry.pointee.previousReady
    } else {
      link(entry.pointee.nextReady).pointee.previousReady = entry.pointee.previousReady
    }
    set.pointee.readyCount -= 1
  }

  func insert(_ number: UInt32, into set: EpollSetPointer) {
    push(number, .ofSet, on: &set.pointee.firstLink)
  }

  func remove(_ number: UInt32, from set: EpollSetPointer) {
    removeReady(number, from: set)
    drop(number, .ofSet, from: &set.pointee.firstLink)
  }

  /// What of a link's mask holds now.
  func readiness(of entry: LinkPointer) -> UInt32 {
    let wanted = entry.pointee.mask & ~maskFlags
    // A link that has fired and was EPOLLONESHOT wants nothing, not even errors.
    if wanted == 0 { return 0 }
    let socket = entry.pointee.socket
    if entry.pointee.isInKernel {
      return listenerReadiness(socket, entry.pointee.channel) & wanted
    }
    return socketReadiness(socket) & wanted
  }

  /// Takes ready events out of the set as epoll_wait(2) does: a level-triggered link that is still
  /// ready goes to the end of the list, an edge-triggered one leaves it, a one-shot one is disarmed.
  func collect(
    _ set: EpollSetPointer, into events: UnsafeMutablePointer<epoll_event>, capacity: Int
  ) -> Int {
    var left = set.pointee.readyCount
    var count = 0
    while left > 0 && count < capacity {
      left -= 1
      let number = set.pointee.readyHead
      let entry = link(number)
      removeReady(number, from: set)
      let now = readiness(of: entry)
      if now == 0 { continue }
      events[count].events = now
      events[count].data.u64 = entry.pointee.data
      count += 1
      if entry.pointee.mask & EPOLLONESHOT.rawValue != 0 {
        entry.pointee.mask &= maskFlags
      } else if entry.pointee.mask & EPOLLET.rawValue == 0 {
        appendReady(number, to: set)
      }
    }
    // What did not fit, and what is level-triggered and may still be ready, is also for another thread
    // that sleeps in the set, and keeps the set readable for whatever it is a member of: also where the
    // kernel's events have taken all the room, and the ring for ours was heard before them.
    if (count > 0 || capacity == 0) && set.pointee.readyCount > 0 { wake(set) }
    return count
  }

  /// How many in the ready list really are ready; not more than `limit`.
  func countReady(_ set: EpollSetPointer, atMost limit: Int) -> Int {
    var count = 0
    var number = set.pointee.readyHead
    while number != 0, count < limit {
      if readiness(of: link(number)) != 0 { count += 1 }
      number = link(number).pointee.nextReady
    }
    return count
  }

  /// Whether anything in the ready list really is ready; what is not leaves it.
  func hasReady(_ set: EpollSetPointer) -> Bool {
    while set.pointee.readyHead != 0 {
      let number = set.pointee.readyHead
      if readiness(of: link(number)) != 0 { return true }
      removeReady(number, from: set)
    }
    return false
  }

  /// The same of the set of a number. No lock is held.
  func hasReady(_ number: UInt32) -> Bool {
    guard Lock.acquire(setLock(number)) else { return false }
    defer { Lock.release(setLock(number)) }
    return hasReady(set(number))
  }
}
