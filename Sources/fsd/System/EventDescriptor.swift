import CLinux
import Glibc

/// An eventfd that wakes a thread which sleeps in epoll.
struct EventDescriptor: Sendable {
  /// The descriptor, non-blocking and close-on-exec.
  let descriptor: Descriptor

  /// Makes a new one.
  init() throws(SystemError) {
    let number = eventfd(0, Int32(EFD_CLOEXEC | EFD_NONBLOCK))
    guard number >= 0 else { throw SystemError("eventfd") }
    descriptor = Descriptor(adopting: number)
  }

  /// Wakes the reader. A counter that is full (EAGAIN) has woken it already.
  func ring() {
    Self.ring(descriptor.number)
  }

  /// As `ring()`, for a bare descriptor. False when the write blocked and was interrupted.
  @inline(__always)
  @discardableResult
  static func ring(_ number: Int32) -> Bool {
    eventfd_write(number, 1) == 0 || errno != EINTR
  }

  /// Whether one with a full counter would block who rings it: its flags belong to all who have it.
  static func blocks(_ number: Int32) -> Bool {
    let flags = fcntl(number, F_GETFL)
    return flags >= 0 && flags & O_NONBLOCK == 0
  }

  /// Takes what was rung so far; false when nothing was.
  @discardableResult
  func drain() -> Bool {
    var value: UInt64 = 0
    return unsafe eventfd_read(descriptor.number, &value) == 0
  }
}
