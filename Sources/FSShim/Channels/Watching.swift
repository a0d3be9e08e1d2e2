import CShim
import Synchronization

// Who watches a listener, by an epoll link or a waiting thread, and through which channel: what the readiness half
// asks for.

/// EPOLLIN if a connection waits in the channel's queue of the listener, or in that of a channel
/// which no thread calls its own, or in the kernel; with -1, in any.
func listenerReadiness(_ index: Int32, _ channel: Int32) -> UInt32 {
  let record = socketAt(index).pointee.listener
  guard record >= 0 else { return 0 }
  let listener = ListenerTable.at(record)
  if listener.pointee.isKernelReadable { return Ready.input }
  // The channel of a daemon that is gone: whoever had it takes what the next daemon brings.
  let channel = channel >= 0 && channelIsOpen(channel) ? channel : -1
  if channel >= 0, queueLength(record, channel) > 0 { return Ready.input }
  for word in 0..<4 {
    var bits = listener.pointee.channels[word]
    while bits != 0 {
      let joined = Int32(word * 64 + bits.trailingZeroBitCount)
      bits &= bits &- 1
      if channel >= 0, joined != channel, !ChannelTable.at(joined).isNobodys { continue }
      if queueLength(record, joined) > 0 { return Ready.input }
    }
  }
  return 0
}

@inline(__always)
func queueLength(_ record: Int32, _ channel: Int32) -> UInt32 {
  let pointer = ChannelTable.at(channel)
  return pointer.isOpen ? pointer.pointee.queues[Int(record)].count : 0
}

/// A link or a waiting thread begins to watch a listener: its connections shall come to the calling
/// thread's channel, which is answered; -1 if they come from the kernel alone. One that polls gets one at a time.
func listenerWatched(_ index: Int32, isPolling: Bool = false) -> Int32 {
  let record = socketAt(index).pointee.listener
  guard record >= 0 else { return -1 }
  let own = threadChannel()
  if own >= 0, resume(record, own, isPolling: isPolling) {
    ListenerTable.addWatchers(record, 1)
    return own
  }
  let channel = ChannelTable.forThread()
  guard channel >= 0 else {
    ListenerTable.addWatchers(record, 1)
    return -1
  }
  let lock = processWord(.control)
  guard Lock.acquire(lock) else { return -1 }
  let joined = ListenerTable.join(record, channel)
  Lock.release(lock)
  ListenerTable.addWatchers(record, 1)
  guard joined, resume(record, channel, isPolling: isPolling) else { return -1 }
  listenerJoined(index, channel)
  acceptInvitations()
  return channel
}

/// Has a listener watched by whoever polls or accepts without an epoll set: one channel of the
/// process, if none has joined yet.
func listenerPolled(_ index: Int32) {
  let record = socketAt(index).pointee.listener
  guard record >= 0 else { return }
  let listener = ListenerTable.at(record)
  if listener.pointee.watchers > 0, ListenerTable.isJoined(record) { return wantNext(record) }
  // Without a daemon this is asked again and again.
  if listener.pointee.retryAt != 0, monotonicNow() < listener.pointee.retryAt { return }
  let channel = listenerWatched(index, isPolling: true)
  guard channel >= 0 else {
    ListenerTable.addWatchers(record, -1)
    listener.pointee.retryAt = monotonicNow() + 1_000_000_000
    return
  }
  // Another thread may have done the same meanwhile.
  if !ListenerTable.poll(record, channel) { listenerUnwatched(index, channel: channel) }
}

/// Who polls or accepts without an epoll set is at work on one connection until it looks for the next: meanwhile
/// connections are for other processes, as if they waited in one queue. This is a look for the next. Call it when
/// the thread is counted as waiting, or when others are.
func wantNext(_ record: Int32) {
  let channel = ListenerTable.at(record).pointee.polled
  if channel >= 0 { _ = resume(record, channel, more: 0, isPolling: true) }
}

/// The process has forked: perhaps it is now the child that accepts. Listeners that nobody watches at
/// this moment get no connections here until someone does again.
func stopPollingListeners() {
  for record in 0..<ListenerTable.count {
    let listener = ListenerTable.at(record)
    guard listener.pointee.isUsed, listener.pointee.polled >= 0 else { continue }
    let index = listener.pointee.socket
    if SocketTable.at(index).waiters.pointee.load(ordering: .acquiring) != 0 { continue }
    let channel = listener.pointee.polled
    listener.pointee.polled = -1
    listenerUnwatched(Int32(index), channel: channel)
  }
}

/// A listener that engines once knew has taken a connection from the kernel: perhaps there is a daemon
/// again. Asked at most once a second.
func reattachListener(_ index: Int32) {
  let record = socketAt(index).pointee.listener
  guard record >= 0 else { return }
  let listener = ListenerTable.at(record)
  guard !listener.pointee.isRegistered, listener.pointee.watchers > 0 else { return }
  if listener.pointee.retryAt != 0, monotonicNow() < listener.pointee.retryAt { return }
  if ControlConnection.isResting { return }
  listener.pointee.retryAt = monotonicNow() + 1_000_000_000
  let channel = ChannelTable.forThread()
  guard channel >= 0 else { return }
  let lock = processWord(.control)
  guard Lock.acquire(lock) else { return }
  listener.pointee.retryAt = 0
  let joined = ListenerTable.join(record, channel)
  Lock.release(lock)
  guard joined, resume(record, channel) else { return }
  fs_report(Int32(FS_REPORT_LISTENER_ACCELERATED), Int(listener.pointee.descriptor))
  listenerJoined(index, channel)
}

/// Counts `more` watchers of a listener that the channel has joined, and has its connections come to it; false if it has
/// not joined, or nobody watches.
private func resume(
  _ record: Int32, _ channel: Int32, more: UInt32 = 1, isPolling: Bool = false
) -> Bool {
  let pointer = ChannelTable.at(channel)
  guard Lock.acquire(pointer.lockWord) else { return false }
  defer { Lock.release(pointer.lockWord) }
  let queue = pointer.pointee.queues + Int(record)
  guard pointer.isOpen, queue.pointee.isJoined else { return false }
  queue.pointee.watchers += more
  guard queue.pointee.watchers > 0 else { return false }
  pointer.want(record, once: isPolling && queue.pointee.watchers == 1)
  return true
}

/// A link or a waiting thread that `listenerWatched` gave `channel` watches no more.
func listenerUnwatched(_ index: Int32, channel: Int32) {
  let record = socketAt(index).pointee.listener
  guard record >= 0 else { return }
  ListenerTable.addWatchers(record, -1)
  guard channel >= 0 else { return }
  let pointer = ChannelTable.at(channel)
  guard Lock.acquire(pointer.lockWord) else { return }
  defer { Lock.release(pointer.lockWord) }
  let queue = pointer.pointee.queues + Int(record)
  guard pointer.isOpen, queue.pointee.isJoined, queue.pointee.watchers > 0 else { return }
  queue.pointee.watchers -= 1
  guard queue.pointee.watchers == 0 else { return }
  // nginx removes and adds its listeners every few connections: only when the thread waits without
  // having added it again are the connections for somebody else. For another thread's channel there
  // is no such moment: that thread may wait for something else, or have ended (apache2's listener
  // thread removes what the thread that started it has added).
  if pointer.pointee.leavingCount == 32 { pointer.leaveListeners() }
  pointer.pointee.leaving[pointer.pointee.leavingCount] = record
  pointer.pointee.leavingCount += 1
  if channel != threadChannel() { pointer.leaveListeners() }
}

/// The kernel's side of a listener has been found readable.
func kernelBecameReadable(_ index: Int32) {
  let record = socketAt(index).pointee.listener
  if record >= 0 { ListenerTable.at(record).pointee.isKernelReadable = true }
}

extension ListenerTable {
  /// Whether connections come to any channel of the process.
  static func isJoined(_ record: Int32) -> Bool {
    let channels = at(record).pointee.channels
    return channels[0] | channels[1] | channels[2] | channels[3] != 0
  }

  /// Has a channel take connections for calls of accept and poll; false if there is one that does.
  static func poll(_ record: Int32, _ channel: Int32) -> Bool {
    let lock = processWord(.listeners)
    guard Lock.acquire(lock) else { return true }
    defer { Lock.release(lock) }
    let known = at(record).pointee.polled
    guard known < 0 || !channelIsOpen(known) else { return false }
    at(record).pointee.polled = channel
    return true
  }

  /// Counts watchers.
  static func addWatchers(_ record: Int32, _ delta: Int32) {
    let lock = processWord(.listeners)
    guard Lock.acquire(lock) else { return }
    // Links that a forked child inherited were not counted in it.
    let count = Int64(at(record).pointee.watchers) + Int64(delta)
    at(record).pointee.watchers = UInt32(max(count, 0))
    Lock.release(lock)
  }
}
