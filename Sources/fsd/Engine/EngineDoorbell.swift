import Synchronization

/// How other threads of the daemon wake an engine: it says that it is about to sleep, fences, looks
/// at its rings once more and sleeps; they publish, fence and write only if it said so.
final class EngineDoorbell: Sendable {
  // Made by one thread and used by many: the word has its cache lines to itself.
  private let spaceBefore = InlineArray<16, UInt64>(repeating: 0)
  private let sleeping = Atomic<Bool>(false)
  /// In the engine's epoll set.
  let event: EventDescriptor
  private let spaceAfter = InlineArray<16, UInt64>(repeating: 0)

  init() throws(SystemError) {
    event = try EventDescriptor()
  }

  /// The engine is about to sleep. A fence must follow before it looks at its rings.
  func announceSleep() {
    sleeping.store(true, ordering: .relaxed)
  }

  /// The engine is awake.
  func endSleep() {
    sleeping.store(false, ordering: .relaxed)
  }

  /// Wakes the engine if it sleeps; true when it had to. What it shall find must be published.
  func ringIfAsleep() -> Bool {
    atomicMemoryFence(ordering: .sequentiallyConsistent)
    guard sleeping.load(ordering: .relaxed), sleeping.exchange(false, ordering: .relaxed) else {
      return false
    }
    event.ring()
    return true
  }
}
