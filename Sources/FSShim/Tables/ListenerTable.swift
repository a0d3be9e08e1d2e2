import CShim
import Synchronization

/// What is known of a listening socket beyond `Socket`. Registration is under the control lock; the
/// accept queues are each channel's.
struct Listener {
  /// Who takes from the kernel's queue; stands first.
  var acceptLockWord: UInt32 = 0
  var isUsed = false
  /// The daemon of `controlGeneration` knows it, as `number`.
  var isRegistered = false
  /// Whence the last connection came.
  var lastAccept = AcceptSource.kernel
  /// The kernel's socket has been reported readable, and has not been found empty since.
  var isKernelReadable = false
  var socket: UInt32
  var number: UInt32 = 0
  /// A descriptor of it, to be shown to the daemon.
  var descriptor: Int32
  var backlog: Int32
  /// Links and threads that watch it, over all channels; also counts those without channel.
  var watchers: UInt32 = 0
  /// The channel that takes connections for calls of accept and poll, as opposed to epoll sets; -1
  /// for none.
  var polled: Int32 = -1
  /// After a failure: not to be registered again before this moment.
  var retryAt: UInt64 = 0
  /// Channels that have joined, one bit each.
  var channels: InlineArray<4, UInt64> = InlineArray(repeating: 0)
}

typealias ListenerPointer = UnsafeMutablePointer<Listener>

extension UnsafeMutablePointer<Listener> {
  /// Held while a thread takes from the kernel's queue.
  var acceptLock: SharedWord {
    UnsafeMutableRawPointer(self).assumingMemoryBound(to: Atomic<UInt32>.self)
  }
}

/// The listening sockets of the process that engines know, or may get to know.
enum ListenerTable {
  @inline(__always)
  static func at(_ index: Int32) -> ListenerPointer { process.pointee.listeners + Int(index) }

  static var count: Int32 {
    Int32(processWord(.listenerWatermark).pointee.load(ordering: .acquiring))
  }

  /// Takes a free record; -1 when there is none.
  static func take(_ listener: Listener) -> Int32 {
    let lock = processWord(.listeners)
    guard Lock.acquire(lock) else { return -1 }
    defer { Lock.release(lock) }
    let total = count
    var index: Int32 = 0
    while index < total, at(index).pointee.isUsed { index += 1 }
    guard index < Limits.listeners else { return -1 }
    at(index).initialize(to: listener)
    at(index).pointee.isUsed = true
    if index == total {
      processWord(.listenerWatermark).pointee.store(UInt32(index) + 1, ordering: .releasing)
    }
    return index
  }

  /// The record of the daemon's number, or -1.
  @inline(__always)
  static func record(of number: UInt32) -> Int32 {
    // The daemon numbers from small numbers on, and so do we: often they are the same.
    let total = count
    let guess = Int32(truncatingIfNeeded: number & 0xFFFF)
    if guess < total, isRecord(guess, of: number) { return guess }
    for index in 0..<total where isRecord(index, of: number) { return index }
    return -1
  }

  @inline(__always)
  private static func isRecord(_ index: Int32, of number: UInt32) -> Bool {
    let listener = at(index)
    return listener.pointee.number == number && listener.pointee.isRegistered
      && listener.pointee.isUsed
  }

  /// Makes the listener known to the daemon. The control lock is held. False if it stays the
  /// kernel's alone; `refused` then says that the daemon has no interface for it.
  static func register(_ index: Int32, refused: inout Bool) -> Bool {
    let listener = at(index)
    refused = false
    if listener.pointee.isRegistered { return true }
    guard listener.pointee.isUsed else { return false }
    if listener.pointee.retryAt != 0, monotonicNow() < listener.pointee.retryAt { return false }
    guard ControlConnection.ensure() else { return false }
    var reply = ControlConnection.Reply()
    guard show(index, &reply) else { return false }
    guard reply.message.status == 0 else {
      refused = reply.message.status == EOPNOTSUPP
      listener.pointee.retryAt = monotonicNow() + 1_000_000_000
      return false
    }
    listener.pointee.number = reply.message.listener
    listener.pointee.isRegistered = true
    return true
  }

  private static func show(_ index: Int32, _ reply: inout ControlConnection.Reply) -> Bool {
    var message = ControlConnection.message(.listen)
    message.argument = UInt32(bitPattern: at(index).pointee.backlog)
    if fs_accelerates_loopback() { message.flags = ControlFlags.loopback }
    return ControlConnection.request(message, descriptor: at(index).pointee.descriptor, &reply)
  }

  /// Shows a listener that the daemon knows to it once more. The control lock is held.
  static func refresh(_ index: Int32) {
    guard index >= 0, at(index).pointee.isRegistered else { return }
    var reply = ControlConnection.Reply()
    _ = show(index, &reply)
  }

  /// Has connections of the listener come to a channel. The control lock is held, the channel's is
  /// not.
  static func join(_ index: Int32, _ channel: Int32) -> Bool {
    let queue = ChannelTable.at(channel).pointee.queues + Int(index)
    if queue.pointee.isJoined { return true }
    var refused = false
    guard register(index, refused: &refused), channelIsOpen(channel) else { return false }
    var message = ControlConnection.message(.join)
    message.listener = at(index).pointee.number
    message.channel = ChannelTable.at(channel).pointee.number
    // Before the answer, because connections may come before it.
    queue.pointee.isPaused = false
    queue.pointee.takesOne = false
    queue.pointee.isJoined = true
    at(index).pointee.channels[Int(channel) / 64] |= 1 << UInt64(channel % 64)
    var reply = ControlConnection.Reply()
    let answered = ControlConnection.request(message, descriptor: -1, &reply)
    if answered, reply.message.status == 0 { return true }
    queue.pointee.isJoined = false
    at(index).pointee.channels[Int(channel) / 64] &= ~(1 << UInt64(channel % 64))
    return false
  }

  /// The daemon is another one, or none: no registration holds. The control lock is held.
  static func forgetRegistrations() {
    for index in 0..<count where at(index).pointee.isUsed { forgetRegistration(index) }
  }

  /// The watchers were threads of the parent process; epoll sets that are shared with it count
  /// themselves anew.
  static func forgetWatchers() {
    for index in 0..<count { at(index).pointee.watchers = 0 }
  }

  private static func forgetRegistration(_ index: Int32) {
    forgetChannels(index)
    at(index).pointee.isRegistered = false
  }

  /// The process is a child, which the daemon takes for one that has the listeners of its parent, but
  /// which has no channels yet.
  static func forgetChannels() {
    for index in 0..<count where at(index).pointee.isUsed { forgetChannels(index) }
  }

  private static func forgetChannels(_ index: Int32) {
    at(index).pointee.polled = -1
    at(index).pointee.retryAt = 0
    at(index).pointee.channels = InlineArray(repeating: 0)
  }

  /// Whether the daemon knows any listener of the process.
  static var hasRegistered: Bool {
    for index in 0..<count where at(index).pointee.isUsed && at(index).pointee.isRegistered {
      return true
    }
    return false
  }

  /// Follows an invitation. The control lock is held. The listener's record and the channel, each
  /// -1 if it came to nothing.
  static func accept(_ invitation: Invitation) -> (listener: Int32, channel: Int32) {
    let index = record(of: invitation.listener)
    guard index >= 0, at(index).pointee.watchers > 0 else { return (-1, -1) }
    let channel = ChannelTable.forEngine(invitation.engine)
    guard channel >= 0, join(index, channel) else { return (-1, -1) }
    return (index, channel)
  }

  /// The last descriptor of a listener is closed.
  static func close(_ index: Int32) {
    let listener = at(index)
    let lock = processWord(.control)
    let locked = Lock.acquire(lock)
    for channel in 0..<ChannelTable.count where ChannelTable.at(channel).isOpen {
      leave(index, channel)
    }
    if listener.pointee.isRegistered, locked {
      var message = ControlConnection.message(.unlisten)
      message.listener = listener.pointee.number
      var reply = ControlConnection.Reply()
      _ = ControlConnection.request(message, descriptor: -1, &reply)
    }
    listener.pointee.isRegistered = false
    listener.pointee.isUsed = false
    if locked { Lock.release(lock) }
  }

  private static func leave(_ index: Int32, _ channel: Int32) {
    let pointer = ChannelTable.at(channel)
    guard Lock.acquire(pointer.lockWord) else { return }
    let queue = pointer.pointee.queues + Int(index)
    if queue.pointee.isJoined {
      pointer.withdraw(from: index)
      queue.pointee.isJoined = false
      queue.pointee.isPaused = false
      queue.pointee.watchers = 0
    }
    Lock.release(pointer.lockWord)
  }
}
