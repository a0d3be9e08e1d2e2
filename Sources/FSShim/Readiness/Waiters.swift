import CShim
import Synchronization

// How a thread sleeps outside epoll_wait: in an epoll set of the kernel of its own, its waiter, over
// the eventfds of channels. An engine's ring wakes one such thread, which takes what has come to the channel, and
// rouses those whose sockets it is for.
extension ReadinessMemory {
  /// The calling thread's waiter, made now if need be; 0 when none can be made.
  func threadWaiter() -> UInt32 {
    let thread = fs_thread_state()
    if thread.pointee.waitEpoll != 0 { return thread.pointee.waitEpoll }
    guard Lock.acquire(lock) else { return 0 }
    defer { Lock.release(lock) }
    let number = freeWaiter()
    if number == 0 { return 0 }
    let low = fs_sys_epoll_create(Int32(EPOLL_CLOEXEC))
    let descriptor = low < 0 ? low : moveToInternal(low)
    if descriptor < 0 { return 0 }
    if header.pointee.readableDescriptor < 0 {
      let readable = fs_sys_eventfd(1, Int32(EFD_CLOEXEC | EFD_NONBLOCK))
      header.pointee.readableDescriptor = readable < 0 ? readable : moveToInternal(readable)
    }
    let added = fs_sys_epoll_ctl(
      descriptor, EPOLL_CTL_ADD, header.pointee.readableDescriptor, roused, Sentinel.wake.data(0))
    if added < 0 {
      closeInternal(descriptor)
      return 0
    }
    let waiter = waiter(number)
    waiter.pointee.isUsed = true
    waiter.pointee.descriptor = descriptor
    waiter.pointee.socket = Waiter.none
    waiter.pointee.registrations = ChannelRegistrations(generations: InlineArray(repeating: 0))
    thread.pointee.waitEpoll = number
    fs_remember_thread()
    return number
  }

  private func freeWaiter() -> UInt32 {
    let touched = header.pointee.waitersTouched
    for number in 1..<touched where !waiter(number).pointee.isUsed { return number }
    if touched == waiterLimit { return 0 }
    header.pointee.waitersTouched = touched + 1
    return touched
  }

  /// Sleeps in a waiter: -errno, or not negative. What has woken it is done, also for others.
  func sleep(in number: UInt32, _ left: Int64, _ mask: UnsafePointer<sigset_t>?) -> Int32 {
    withEdgeBuffer { edges, capacity in
      let count = fs_next_epoll_wait(
        waiter(number).pointee.descriptor, edges, capacity, left, mask)
      if count > 0 { react(edges, Int(count)) }
      if count == capacity { takeEdges(number) }
      return count
    }
  }

  /// Takes the edges that have come to a waiter.
  func takeEdges(_ number: UInt32) {
    withEdgeBuffer { edges, capacity in
      var count: Int32
      repeat {
        count = fs_sys_epoll_look(waiter(number).pointee.descriptor, edges, capacity)
        if count > 0 { react(edges, Int(count)) }
      } while count == capacity
    }
  }

  /// What edges ask for. A ring of a channel may have woken nobody else, and be for another thread: the waiter has in it
  /// all channels for which its thread has ever waited.
  private func react(_ edges: UnsafeMutablePointer<epoll_event>, _ count: Int) {
    let tag = header.pointee.sentinelTag
    for i in 0..<count {
      guard let sentinel = Sentinel.decode(edges[i].data.u64, tag: tag) else { continue }
      switch sentinel.kind {
      case .control: processControlMessages()
      case .channel: drainChannel(Int32(sentinel.number))
      case .wake, .link: break
      }
    }
  }

  /// The events of the descriptor that is always readable.
  private var roused: UInt32 { EPOLLIN.rawValue | EPOLLET.rawValue }

  /// Wakes the thread of a waiter, also if it is just about to sleep: what is readable and set anew is an edge. If the
  /// thread has ended nothing happens, whatever its descriptor is now. The calling thread is awake, and looks at what it
  /// waits for when it has taken what has come.
  func rouse(_ number: UInt32) {
    if number == fs_thread_state().pointee.waitEpoll { return }
    _ = fs_sys_epoll_ctl(
      waiter(number).pointee.descriptor, EPOLL_CTL_MOD, header.pointee.readableDescriptor, roused,
      Sentinel.wake.data(0))
  }

  /// Wakes all threads that wait for a socket, or may do so; with `Waiter.none`, for any.
  func rouseAll(waitingFor socket: Int32) {
    for number in 1..<header.pointee.waitersTouched where waiter(number).pointee.isUsed {
      let wanted = waiter(number).pointee.socket
      if wanted == socket || wanted == Waiter.several || socket == Waiter.none { rouse(number) }
    }
  }

  /// Counts a thread that is about to wait for a socket. Its waiter says so already.
  func waits(_ number: UInt32, for socket: Int32) {
    let before = socketWaiters(socket).pointee.wrappingAdd(1, ordering: .sequentiallyConsistent)
    if before.oldValue != 0 { return }
    socketAt(socket).onlyWaiter.pointee.store(number, ordering: .releasing)
  }

  /// A thread waits no more.
  func waitsNoMore(_ number: UInt32, for socket: Int32) {
    // Before it is counted out: as long as it is named it counts.
    let only = socketAt(socket).onlyWaiter
    if only.pointee.load(ordering: .relaxed) == number { only.pointee.store(0, ordering: .relaxed) }
    _ = socketWaiters(socket).pointee.wrappingSubtract(1, ordering: .releasing)
  }
}

/// A few events on the stack.
func withEdgeBuffer<Result>(
  _ body: (UnsafeMutablePointer<epoll_event>, Int32) -> Result
) -> Result {
  var edges: InlineArray<8, epoll_event> = InlineArray(repeating: epoll_event())
  return withUnsafeMutablePointer(to: &edges) { pointer in
    body(UnsafeMutableRawPointer(pointer).assumingMemoryBound(to: epoll_event.self), 8)
  }
}

/// Wakes the threads that sleep in `waitForSocket` or poll for a socket, when the channel's events
/// were taken by another thread. Whoever is about to sleep looks at the ring after it has counted
/// itself, and finds either the event still there or the readiness that came of it.
func wakeWaiters(of socket: Int32) {
  let count = socketWaiters(socket).pointee.load(ordering: .acquiring)
  guard count > 0, let memory = ReadinessMemory.existing else { return }
  let only = socketAt(socket).onlyWaiter.pointee.load(ordering: .acquiring)
  if count == 1, only != 0 {
    memory.rouse(only)
  } else {
    memory.rouseAll(waitingFor: socket)
  }
}

/// Sleeps until one of `events`, an error or a hang-up holds on a socket: 0; or until the deadline:
/// EAGAIN; or until a signal that is to interrupt the call: EINTR. If another thread closes the descriptor
/// meanwhile, the call goes on under the number that `fd` is afterwards.
func waitForSocket(_ socket: Int32, fd: inout Int32, events: UInt32, deadline: UInt64) -> Int32 {
  guard let memory = ReadinessMemory.current else { return ENOMEM }
  let number = memory.threadWaiter()
  if number == 0 { return ENOMEM }
  let isListener = isListening(socket)
  forgetAbandonedCall()
  let isCounted = socketAt(socket).callWaits(fd)
  defer { if isCounted { socketAt(socket).callHasWaited(&fd) } }
  let wanted = events | alwaysReported
  // A signal handler may interrupt a call that waits for another.
  let outer = memory.waiter(number).pointee.socket
  memory.waiter(number).pointee.socket = socket
  defer { memory.waiter(number).pointee.socket = outer }
  while true {
    // Closed, or the kernel's by now.
    if socketIndex(fd) != socket { return 0 }
    memory.waits(number, for: socket)
    var channels = ChannelBits()
    if isListener {
      channels.insert(watching: socket)
    } else {
      channels.insert(channelOf(socket))
    }
    let waiter = memory.waiter(number)
    channels.forEach {
      waiter.pointee.registrations.add($0, to: waiter.pointee.descriptor, exclusive: true)
    }
    var result: Int32 = 0
    if channels.beginWaiting() && socketReadiness(socket) & wanted == 0
      && socketIndex(fd) == socket && !hasMoved(socket)
    {
      result = memory.sleep(number, socket, listener: isListener ? fd : -1, until: deadline)
    }
    memory.waitsNoMore(number, for: socket)
    channels.endWaiting()
    channels.drain()
    if socketReadiness(socket) & wanted != 0 || hasMoved(socket) { return 0 }
    if result == -EINTR && !(deadline == .max && fs_signals_restart()) { return EINTR }
    if deadline != .max && monotonicNow() >= deadline { return EAGAIN }
  }
}

/// Whether the kernel has the connection by now, and its socket is to be fetched.
private func hasMoved(_ socket: Int32) -> Bool {
  socketAt(socket).pointee.flags.contains(.moved)
}

extension ReadinessMemory {
  /// Sleeps in a waiter, and for a listener also on the kernel's side of it.
  fileprivate func sleep(
    _ number: UInt32, _ socket: Int32, listener: Int32, until deadline: UInt64
  ) -> Int32 {
    let left = remaining(until: deadline)
    let descriptor = waiter(number).pointee.descriptor
    if listener < 0 { return sleep(in: number, left, nil) }
    var both: InlineArray<2, pollfd> = [
      pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0),
      pollfd(fd: listener, events: Int16(POLLIN), revents: 0),
    ]
    let result = withUnsafeMutablePointer(to: &both) { pointer in
      fs_next_poll(
        UnsafeMutableRawPointer(pointer).assumingMemoryBound(to: pollfd.self), 2, left, nil)
    }
    if result > 0 && both[0].revents != 0 { takeEdges(number) }
    if result > 0 && both[1].revents != 0 { kernelBecameReadable(socket) }
    return result
  }
}

/// Nanoseconds until a deadline, or -1 for none.
func remaining(until deadline: UInt64) -> Int64 {
  if deadline == .max { return -1 }
  let now = monotonicNow()
  return now < deadline ? Int64(deadline - now) : 0
}

/// The calling thread ends: its waiter goes.
func readinessThreadEnds() {
  forgetAbandonedCall()
  guard let memory = ReadinessMemory.existing else { return }
  memory.forgetAbandonedWait()
  let thread = fs_thread_state()
  let number = thread.pointee.waitEpoll
  guard number != 0 else { return }
  thread.pointee.waitEpoll = 0
  closeInternal(memory.waiter(number).pointee.descriptor)
  guard Lock.acquire(memory.lock) else { return }
  memory.waiter(number).pointee.isUsed = false
  Lock.release(memory.lock)
}
