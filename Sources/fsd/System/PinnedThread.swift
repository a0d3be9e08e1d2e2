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
          PinnedThread.allowInterruption()
          PinnedThread.shortenTimeSlice()
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

  /// Interrupts the system call in which the thread may be stuck. `prepareInterruption` comes first.
  func interrupt() {
    pthread_kill(handle, Self.interruption)
  }

  /// Sent to no one by default, and ignored.
  private static let interruption = SIGURG

  /// A signal that is ignored interrupts nothing: this one gets a handler that does nothing.
  static func prepareInterruption() {
    var action = sigaction()
    unsafe action.__sigaction_handler.sa_handler = { _ in }
    unsafe sigaction(interruption, &action, nil)
  }

  /// The calling thread can be interrupted, whatever its maker has blocked.
  private static func allowInterruption() {
    var set = sigset_t()
    unsafe sigemptyset(&set)
    unsafe sigaddset(&set, interruption)
    unsafe pthread_sigmask(SIG_UNBLOCK, &set, nil)
  }

  /// An engine works for tens of microseconds and sleeps again. With a short slice the scheduler lets it run as
  /// soon as a packet wakes it, whoever computes on the processor; with the usual one of milliseconds it waits.
  private static let timeSlice: UInt64 = 100_000

  /// Without a short slice the engine runs a little later: no reason to fail.
  private static func shortenTimeSlice() {
    _ = fs_set_time_slice(timeSlice)
  }

  /// Waits for the thread's end.
  func join() {
    pthread_join(handle, nil)
  }

  /// Waits for the thread's end; false if it has not come after so many milliseconds. After true the thread is
  /// no more.
  func join(milliseconds: Int) -> Bool {
    var deadline = timespec(afterMilliseconds: milliseconds)
    return unsafe pthread_timedjoin_np(handle, nil, &deadline) == 0
  }
}
