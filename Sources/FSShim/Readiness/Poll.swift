import CShim
import Synchronization

private let readableBits = Int16(POLLIN)

/// poll(2) and, by way of it, select(2), when at least one descriptor is not the kernel's alone.
@c @implementation
public func fs_poll(
  _ descriptors: UnsafeMutablePointer<pollfd>, _ count: Int, _ timeout: Int64,
  _ mask: UnsafePointer<sigset_t>?, _ scratch: UnsafeMutablePointer<pollfd>
) -> Int64 {
  guard let memory = ReadinessMemory.current else { return Int64(-ENOMEM) }
  var poll = Poll(
    memory: memory, descriptors: descriptors, count: count, scratch: scratch)
  poll.prepare()
  let result = poll.run(timeout: timeout, mask: mask)
  // For select(2), which takes what was closed meanwhile for ready, and what was closed before for a mistake.
  scratch[count].revents = poll.hasWaited ? 1 : 0
  return result
}

/// One call of poll(2).
private struct Poll {
  let memory: ReadinessMemory
  let descriptors: UnsafeMutablePointer<pollfd>
  let count: Int
  /// What the kernel is asked: the same descriptors with ours taken out, and at the end the
  /// thread's waiter.
  let scratch: UnsafeMutablePointer<pollfd>
  /// Whether the kernel has anything to be asked for but the waiter.
  var hasKernelSide = false
  var channels = ChannelBits()
  /// `Process.handedOver` before the first look.
  let handedOver = process.pointee.handedOver
  /// Whether the call has waited.
  var hasWaited = false

  /// Finds out who is responsible for which descriptor.
  mutating func prepare() {
    for i in 0..<count {
      let fd = descriptors[i].fd
      scratch[i] = descriptors[i]
      scratch[i].revents = 0
      KernelSocket.settle(fd)
      switch descriptorKind(fd) {
      case .internal:
        scratch[i].fd = -1
      case .epoll:
        hasKernelSide = true
        insertChannels(ofSet: UInt32(bitPattern: epollIndex(fd)), descriptor: fd)
      case .none:
        if fd >= 0 { hasKernelSide = true }
      default:
        let socket = socketIndex(fd)
        if isListening(socket) {
          hasKernelSide = true
          channels.insert(watching: socket)
          scratch[i].events = readableBits
        } else {
          scratch[i].fd = Self.mark(socket)
          channels.insert(channelOf(socket))
        }
      }
    }
  }

  /// What stands for a connection among what the kernel is asked: a negative number, which poll
  /// skips, and from which the socket can be told even if another thread closes the descriptor.
  private static func mark(_ socket: Int32) -> Int32 { -2 - socket }

  private mutating func insertChannels(ofSet number: UInt32, descriptor: Int32) {
    let set = memory.set(number)
    if set.pointee.isInherited { memory.adopt(number, descriptor: descriptor) }
    for i in 0..<Int(set.pointee.channelCount) { channels.insert(Int32(set.pointee.channels[i])) }
  }

  mutating func run(timeout: Int64, mask: UnsafePointer<sigset_t>?) -> Int64 {
    var deadline = UInt64.max
    var ready = look(ownOnly: false)
    // With a mask of its own the call is interrupted by a signal that pends, also if it does not wait.
    if ready != 0 || timeout == 0 && mask == nil { return Int64(ready) }
    if timeout >= 0 { deadline = monotonicNow() &+ UInt64(timeout) }
    let number = memory.threadWaiter()
    if number == 0 { return Int64(-ENOMEM) }
    let waiter = memory.waiter(number)
    channels.forEach {
      waiter.pointee.registrations.add($0, to: waiter.pointee.descriptor, exclusive: true)
    }
    let outer = waiter.pointee.socket
    waiter.pointee.socket =
      count == 1 ? max(socketIndex(descriptors[0].fd), Waiter.none) : Waiter.several
    defer { waiter.pointee.socket = outer }
    var hasAsked = false
    while true {
      let isQuiet = begin(number)
      hasWaited = true
      var result: Int32 = 0
      if isQuiet && look(ownOnly: true) == 0 {
        result = sleep(number, until: deadline, mask: mask)
        hasAsked = result == 0
      }
      end(number)
      if result < 0 { return Int64(result) }
      ready = look(ownOnly: false)
      if ready != 0 { return Int64(ready) }
      // Only the kernel knows of signals.
      let isAnswered = hasAsked || mask == nil
      if isAnswered && deadline != .max && monotonicNow() >= deadline { return 0 }
    }
  }

  // MARK: Looking

  /// Fills in `revents` and counts what is ready. `ownOnly` leaves out the kernel's side and does
  /// not drain.
  private mutating func look(ownOnly: Bool) -> Int32 {
    if !ownOnly {
      channels.drain()
      askKernelForMoved()
      if hasKernelSide {
        let result = fs_sys_poll_look(scratch, count)
        if result < 0 { return result }
      }
    }
    var ready: Int32 = 0
    for i in 0..<count {
      let bits = readiness(i)
      descriptors[i].revents = bits
      if bits != 0 { ready += 1 }
    }
    return ready
  }

  /// Connections that have become the kernel's since `prepare` are the kernel's to ask for. If none has, those
  /// that are not ours any more were closed, though there may still be a socket under the number.
  private mutating func askKernelForMoved() {
    for i in 0..<count where scratch[i].fd <= Self.mark(0) {
      let fd = descriptors[i].fd
      KernelSocket.settle(fd)
      guard descriptorKind(fd) == .none, process.pointee.handedOver != handedOver else { continue }
      scratch[i].fd = fd
      hasKernelSide = true
    }
  }

  private func readiness(_ i: Int) -> Int16 {
    let fd = descriptors[i].fd
    if fd < 0 { return 0 }
    let wanted = UInt32(UInt16(bitPattern: descriptors[i].events)) | alwaysReported
    switch descriptorKind(fd) {
    case .none: return scratch[i].fd <= Self.mark(0) ? Int16(POLLNVAL) : scratch[i].revents
    case .internal: return Int16(POLLNVAL)
    case .epoll: return epollReadiness(fd, scratch[i].revents, wanted)
    default: break
    }
    let socket = socketIndex(fd)
    if isListening(socket) && scratch[i].revents != 0 {
      kernelBecameReadable(socket)
      scratch[i].revents = 0
    }
    return Int16(truncatingIfNeeded: socketReadiness(socket) & wanted)
  }

  /// An epoll set is readable when something in it is ready, of ours or of the kernel's.
  private func epollReadiness(_ fd: Int32, _ kernel: Int16, _ wanted: UInt32) -> Int16 {
    let number = UInt32(bitPattern: epollIndex(fd))
    guard memory.hasReady(number) || kernel != 0 && memory.isReadable(number) else { return 0 }
    return Int16(truncatingIfNeeded: (EPOLLIN.rawValue | EPOLLRDNORM.rawValue) & wanted)
  }

  // MARK: Sleeping

  /// Counts the thread as a sleeper everywhere; false when a channel has events.
  private func begin(_ number: UInt32) -> Bool {
    for i in 0..<count {
      if scratch[i].fd <= Self.mark(0) {
        memory.waits(number, for: Self.mark(scratch[i].fd))
      } else if hasKernelSide {
        withOwnKernelSide(i) {
          memory.waits(number, for: $0)
          listenerPolled($0)
        } set: {
          memory.beginNesting($0)
        }
      }
    }
    return channels.beginWaiting()
  }

  private func end(_ number: UInt32) {
    channels.endWaiting()
    for i in 0..<count {
      if scratch[i].fd <= Self.mark(0) {
        memory.waitsNoMore(number, for: Self.mark(scratch[i].fd))
      } else if hasKernelSide {
        withOwnKernelSide(i) {
          memory.waitsNoMore(number, for: $0)
        } set: {
          memory.endNesting($0)
        }
      }
    }
  }

  /// Calls one of the bodies if a descriptor that the kernel is asked for as well is ours: a
  /// listener, or an epoll set.
  private func withOwnKernelSide(
    _ i: Int, _ listener: (Int32) -> Void, set: (EpollSetPointer) -> Void
  ) {
    let fd = descriptors[i].fd
    switch descriptorKind(fd) {
    case .listener:
      listener(socketIndex(fd))
    case .epoll:
      let number = UInt32(bitPattern: epollIndex(fd))
      guard Lock.acquire(memory.setLock(number)) else { return }
      set(memory.set(number))
      Lock.release(memory.setLock(number))
    case .none, .undecided, .connection, .internal: return
    }
  }

  /// Sleeps until the kernel's side or a channel moves: -errno, or not negative.
  private func sleep(_ number: UInt32, until deadline: UInt64, mask: UnsafePointer<sigset_t>?)
    -> Int32
  {
    let left = remaining(until: deadline)
    let waiter = memory.waiter(number).pointee.descriptor
    // Without any time epoll_wait(2) does not look for signals, poll(2) does.
    if !hasKernelSide && left != 0 { return memory.sleep(in: number, left, mask) }
    scratch[count] = pollfd(fd: waiter, events: readableBits, revents: 0)
    let result = fs_next_poll(scratch, count + 1, left, mask)
    if result > 0 && scratch[count].revents != 0 { memory.takeEdges(number) }
    return result
  }
}
