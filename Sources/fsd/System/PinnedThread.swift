import CLinux
import Glibc

/// A POSIX thread bound to one processor. Swift's own pool of threads cannot be bound, so engines
/// do not run in it.
struct PinnedThread {
  private let handle: pthread_t

  private final class Body {
    let run: @Sendable () -> Void
    init(_ run: @escaping @Sendable () -> Void) { self.run = run }
  }

  /// Stack of a thread. Engines keep their state in slabs of their own.
  static let stackSize = 1 << 20

  /// Starts `body` on `processor`, under `name` (at most 15 bytes are kept).
  init(
    name: String, processor: Int, _ body: @escaping @Sendable () -> Void
  ) throws(SystemError) {
    var attributes = pthread_attr_t()
    unsafe pthread_attr_init(&attributes)
    defer { unsafe pthread_attr_destroy(&attributes) }
    unsafe pthread_attr_setstacksize(&attributes, Self.stackSize)
    var set = ProcessorSet()
    set.insert(processor)
    let code = unsafe set.withMask { mask, size in
      unsafe pthread_attr_setaffinity_np(&attributes, size, mask)
    }
    guard code == 0 else { throw SystemError("pthread_attr_setaffinity_np", code: code) }
    let box = unsafe Unmanaged.passRetained(Body(body))
    var thread = pthread_t()
    let created = unsafe pthread_create(
      &thread, &attributes,
      { argument in
        if let argument = unsafe argument {
          unsafe Unmanaged<Body>.fromOpaque(argument).takeRetainedValue().run()
        }
        return nil
      }, box.toOpaque())
    guard created == 0 else {
      unsafe box.release()
      throw SystemError("pthread_create on processor \(processor)", code: created)
    }
    _ = unsafe pthread_setname_np(thread, String(name.prefix(15)))
    handle = thread
  }

  /// Waits for the thread's end.
  func join() {
    pthread_join(handle, nil)
  }
}
