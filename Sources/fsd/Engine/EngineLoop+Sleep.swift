import FSStack
import Synchronization

extension EngineLoop {
  /// A deadline nearer than this is waited for awake: sleeping takes about as long.
  private static let shortestSleep: UInt64 = 20_000

  /// Sleeps until a packet, a command, a task or the next deadline. Returns the nanoseconds, or nil
  /// when there was something to do after all.
  mutating func sleep(_ now: Instant) -> UInt64? {
    // Timers alone may have given it something to say.
    reportToControl()
    var timeout: UInt64?
    if let deadline = engine.nextDeadline() {
      let span = (deadline - now).nanoseconds
      if span < Self.shortestSleep { return nil }
      timeout = span
    }
    if let transmitDelay { timeout = min(timeout ?? .max, transmitDelay) }

    let doorbell = peers.doorbells[index]
    doorbell.announceSleep()
    guard engine.prepareSleep() else {
      doorbell.endSleep()
      counters.sleepsAverted &+= 1
      return nil
    }
    atomicMemoryFence(ordering: .sequentiallyConsistent)
    guard !mailbox.hasTasks, peers.incoming.allSatisfy({ $0.isEmpty }) else {
      engine.endSleep()
      doorbell.endSleep()
      counters.sleepsAverted &+= 1
      return nil
    }
    counters.sleeps &+= 1
    let start = MonotonicClock.now
    // Whatever woke it, the next round looks at everything.
    poller.wait(nanoseconds: timeout) { _ in }
    engine.endSleep()
    doorbell.endSleep()
    return MonotonicClock.now &- start
  }
}
