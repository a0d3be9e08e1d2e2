import Glibc
import Synchronization

extension timespec {
  /// A moment of the wall clock, for calls that wait until then.
  init(afterMilliseconds milliseconds: Int) {
    self.init()
    unsafe clock_gettime(CLOCK_REALTIME, &self)
    let nanoseconds = tv_nsec + milliseconds * 1_000_000
    tv_sec += nanoseconds / 1_000_000_000
    tv_nsec = nanoseconds % 1_000_000_000
  }
}

/// A result that one thread waits for and another delivers, once.
@safe
final class Reply<Result: Sendable>: Sendable {
  private let result = Mutex<Result?>(nil)
  private nonisolated(unsafe) let semaphore: UnsafeMutablePointer<sem_t>

  init() {
    unsafe semaphore = .allocate(capacity: 1)
    unsafe sem_init(semaphore, 0, 0)
  }

  deinit {
    unsafe sem_destroy(semaphore)
    unsafe semaphore.deallocate()
  }

  /// Delivers the result.
  func deliver(_ value: Result) {
    result.withLock { $0 = value }
    unsafe sem_post(semaphore)
  }

  /// Waits for the result; nil when it has not come after so many milliseconds.
  func wait(milliseconds: Int) -> Result? {
    var deadline = timespec(afterMilliseconds: milliseconds)
    while unsafe sem_timedwait(semaphore, &deadline) == -1 {
      if errno != EINTR { return nil }
    }
    return result.withLock { $0 }
  }
}
