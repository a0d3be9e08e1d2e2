import CLinux
import Glibc

/// An epoll set whose members are known by a number of the user's choice.
struct Poller: Sendable {
  /// The epoll descriptor.
  let descriptor: Descriptor

  /// Makes an empty set.
  init() throws(SystemError) {
    let number = epoll_create1(Int32(EPOLL_CLOEXEC))
    guard number >= 0 else { throw SystemError("epoll_create1") }
    descriptor = Descriptor(adopting: number)
  }

  /// Watches `member` for input; `edge` reports each arrival once instead of a state.
  func add(_ member: Int32, token: UInt64, edge: Bool = false) throws(SystemError) {
    var event = unsafe epoll_event()
    unsafe event.events = EPOLLIN.rawValue | (edge ? EPOLLET.rawValue : 0)
    unsafe event.data.u64 = token
    let result = unsafe epoll_ctl(descriptor.number, EPOLL_CTL_ADD, member, &event)
    guard result == 0 else { throw SystemError("epoll_ctl") }
  }

  /// Forgets `member`.
  func remove(_ member: Int32) {
    var event = unsafe epoll_event()
    _ = unsafe epoll_ctl(descriptor.number, EPOLL_CTL_DEL, member, &event)
  }

  /// Waits at most `nanoseconds` (nil: for ever) and gives each ready member's token to `body`.
  func wait(nanoseconds: UInt64?, _ body: (UInt64) -> Void) {
    unsafe withUnsafeTemporaryAllocation(of: epoll_event.self, capacity: 64) { events in
      var count: Int32
      if let nanoseconds {
        var timeout = timespec(
          tv_sec: Int(nanoseconds / 1_000_000_000), tv_nsec: Int(nanoseconds % 1_000_000_000))
        count = unsafe epoll_pwait2(descriptor.number, events.baseAddress, 64, &timeout, nil)
      } else {
        count = unsafe epoll_wait(descriptor.number, events.baseAddress, 64, -1)
      }
      // -1 is EINTR, which is as good as nothing ready.
      count = max(count, 0)
      for index in 0..<Int(count) { unsafe body(events[index].data.u64) }
    }
  }
}
