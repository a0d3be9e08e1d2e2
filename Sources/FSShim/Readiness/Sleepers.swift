import CShim
import Synchronization

// Who sleeps in a set, and which channels have to ring for them. A set counts as one sleeper on
// each of its channels while any thread sleeps in it, and as long as it is a member of another set
// or of a poll. All of it is called with the set's lock held.
extension ReadinessMemory {
  private func sleepers(_ set: EpollSetPointer) -> UInt32 {
    set.pointee.waiters + set.pointee.nested
  }

  private func addToChannels(_ set: EpollSetPointer) -> Bool {
    var isQuiet = true
    for i in 0..<Int(set.pointee.channelCount)
    where !beginWaiting(Int32(set.pointee.channels[i])) {
      isQuiet = false
    }
    return isQuiet
  }

  private func removeFromChannels(_ set: EpollSetPointer) {
    for i in 0..<Int(set.pointee.channelCount) {
      _ = channelWaitersAdd(Int32(set.pointee.channels[i]), -1)
    }
  }

  /// Counts the calling thread as a sleeper; false when a channel has events, so that it must not
  /// sleep now. Always to be paired with `endSleep`.
  func beginSleep(_ set: EpollSetPointer) -> Bool {
    set.pointee.waiters += 1
    return sleepers(set) == 1 ? addToChannels(set) : areQuiet(set)
  }

  /// Whether none of the set's channels, on which it is counted already, has events.
  private func areQuiet(_ set: EpollSetPointer) -> Bool {
    var isQuiet = true
    for i in 0..<Int(set.pointee.channelCount)
    where !channelIsQuiet(Int32(set.pointee.channels[i])) {
      isQuiet = false
    }
    return isQuiet
  }

  func endSleep(_ set: EpollSetPointer) {
    // Not in a child that a signal handler has forked inside the call.
    guard set.pointee.waiters > 0 else { return }
    set.pointee.waiters -= 1
    if sleepers(set) == 0 { removeFromChannels(set) }
  }

  /// Counts one more set or poll that has this set as a member.
  func beginNesting(_ set: EpollSetPointer) {
    set.pointee.nested += 1
    let isQuiet = sleepers(set) > 1 ? areQuiet(set) : addToChannels(set)
    if !isQuiet || set.pointee.readyCount > 0 { fs_sys_ring(set.pointee.wakeDescriptor) }
  }

  func endNesting(_ set: EpollSetPointer) {
    if set.pointee.nested == 0 { return }
    set.pointee.nested -= 1
    if sleepers(set) == 0 { removeFromChannels(set) }
  }

  /// Wakes one thread that sleeps in the set, and makes the set readable for whatever it is a
  /// member of.
  func wake(_ set: EpollSetPointer) {
    if sleepers(set) > 0 { fs_sys_ring(set.pointee.wakeDescriptor) }
  }

  /// A link of the set concerns `channel`: its eventfd goes into the kernel's set, open as
  /// `descriptor`.
  func addChannel(_ channel: Int32, to set: EpollSetPointer, descriptor: Int32) {
    guard channel >= 0 && channel < channelLimit else { return }
    set.pointee.registrations.add(channel, to: descriptor)
    set.pointee.channelUses[Int(channel)] += 1
    if set.pointee.channelUses[Int(channel)] > 1 { return }
    set.pointee.channels[Int(set.pointee.channelCount)] = UInt8(channel)
    set.pointee.channelCount += 1
    if sleepers(set) > 0 && !beginWaiting(channel) { wake(set) }
  }

  /// A link of the set is a listener's whose connections come by `channel`. The channel stays in the set
  /// as long as that lives: connections may still be on their way when the link has gone, and who
  /// sleeps in the set has to give them back.
  func addListeningChannel(_ channel: Int32, to set: EpollSetPointer, descriptor: Int32) {
    guard channel >= 0 && channel < channelLimit else { return }
    addChannel(channel, to: set, descriptor: descriptor)
    let (word, bit) = (Int(channel) >> 6, UInt64(1) << UInt64(channel & 63))
    guard set.pointee.listeningChannels[word] & bit == 0 else { return }
    set.pointee.listeningChannels[word] |= bit
    addChannel(channel, to: set, descriptor: descriptor)
  }

  func removeChannel(_ channel: Int32, from set: EpollSetPointer) {
    guard channel >= 0 && channel < channelLimit else { return }
    set.pointee.channelUses[Int(channel)] -= 1
    if set.pointee.channelUses[Int(channel)] > 0 { return }
    let last = Int(set.pointee.channelCount) - 1
    for i in 0...last where set.pointee.channels[i] == UInt8(channel) {
      set.pointee.channels[i] = set.pointee.channels[last]
      break
    }
    set.pointee.channelCount -= 1
    if sleepers(set) > 0 { _ = channelWaitersAdd(channel, -1) }
  }

  /// Takes the rings that stand in the kernel's part of a set, so that it is readable only if a
  /// descriptor of the kernel's in it is ready, and does what they were rung for: the channels' events
  /// come in, and whoever sleeps for them is woken by his set or socket. No lock is held.
  func takeRings(_ number: UInt32) {
    let set = set(number)
    // Also the channels that no link concerns any more: their eventfds stay in the kernel's set.
    for channel in 0..<channelCount()
    where channelIsOpen(channel) && set.pointee.registrations.contains(channel) {
      fs_sys_unring(channelWakeDescriptor(channel))
      drainChannel(channel)
    }
    guard Lock.acquire(setLock(number)) else { return }
    fs_sys_unring(set.pointee.wakeDescriptor)
    if hasReady(set) { wake(set) }
    Lock.release(setLock(number))
  }
}
