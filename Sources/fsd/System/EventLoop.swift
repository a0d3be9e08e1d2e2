import CLinux
import Glibc

/// The control thread's loop: descriptors with something to read, and seconds.
final class EventLoop {
  private let poller: Poller
  private var handlers: [UInt64: () -> Void] = [:]
  private var nextToken: UInt64 = 1
  private var isRunning = false
  /// Called about once a second while `needsTicks` says so.
  var onTick: () -> Void = {}
  /// Whether seconds matter now. An idle daemon does not wake up for them.
  var needsTicks: () -> Bool = { false }

  init() throws(SystemError) {
    poller = try Poller()
  }

  /// Calls `handler` whenever `descriptor` has something to read. The result is for `remove`.
  func add(_ descriptor: Int32, _ handler: @escaping () -> Void) throws(SystemError) -> UInt64 {
    let token = nextToken
    nextToken += 1
    try poller.add(descriptor, token: token)
    handlers[token] = handler
    return token
  }

  /// Forgets a descriptor, before it is closed.
  func remove(_ token: UInt64, descriptor: Int32) {
    poller.remove(descriptor)
    handlers[token] = nil
  }

  /// Runs until `stop()`.
  func run() {
    isRunning = true
    var lastTick = MonotonicClock.now
    while isRunning {
      let ticking = needsTicks()
      let sinceTick = MonotonicClock.now &- lastTick
      let second: UInt64 = 1_000_000_000
      poller.wait(nanoseconds: ticking ? second - min(sinceTick, second) : nil) { token in
        // A handler may have removed a descriptor that was reported together with its own.
        handlers[token]?()
      }
      let now = MonotonicClock.now
      guard ticking, now &- lastTick >= second else { continue }
      lastTick = now
      onTick()
    }
  }

  /// Waits once, at most that long, and handles what is ready: for tests.
  func runOnce(nanoseconds: UInt64) {
    poller.wait(nanoseconds: nanoseconds) { handlers[$0]?() }
  }

  /// Ends `run()` after the current handler.
  func stop() {
    isRunning = false
  }
}

/// CLOCK_MONOTONIC.
enum MonotonicClock {
  /// Nanoseconds since some moment before the machine's start.
  @inline(__always)
  static var now: UInt64 {
    var time = timespec()
    unsafe clock_gettime(CLOCK_MONOTONIC, &time)
    return UInt64(time.tv_sec) &* 1_000_000_000 &+ UInt64(time.tv_nsec)
  }
}
