import Synchronization

/// Tasks that the control thread leaves for an engine. They are rare: a lock and an allocation cost
/// nothing here, and the engine looks at one flag per round.
final class Mailbox<Owner: ~Copyable>: Sendable {
  /// Something to do with the engine, on its thread.
  typealias Task = @Sendable (inout Owner) -> Void

  // The engine looks at the flag in each round: its cache line is nobody else's.
  private let spaceBefore = InlineArray<16, UInt64>(repeating: 0)
  private let isFlagged = Atomic<Bool>(false)
  private let spaceBetween = InlineArray<16, UInt64>(repeating: 0)
  private let tasks = Mutex<[Task]>([])
  private let doorbell: EngineDoorbell

  init(doorbell: EngineDoorbell) {
    self.doorbell = doorbell
  }

  /// Leaves a task. Any thread's.
  func post(_ task: @escaping Task) {
    tasks.withLock { $0.append(task) }
    isFlagged.store(true, ordering: .releasing)
    _ = doorbell.ringIfAsleep()
  }

  /// Whether tasks wait.
  @inline(__always)
  var hasTasks: Bool { isFlagged.load(ordering: .acquiring) }

  /// Takes the tasks that wait, in order. The engine's.
  func take() -> [Task] {
    isFlagged.store(false, ordering: .relaxed)
    return tasks.withLock { waiting in
      let taken = waiting
      waiting = []
      return taken
    }
  }
}

/// What engines have to say to the control thread.
final class Outbox: Sendable {
  private let notices = Mutex<[EngineNotice]>([])
  /// In the control thread's epoll set.
  let event: EventDescriptor

  init() throws(SystemError) {
    event = try EventDescriptor()
  }

  /// Leaves notices. Any engine's.
  func post(_ new: [EngineNotice]) {
    notices.withLock { $0 += new }
    event.ring()
  }

  /// Takes the notices that wait, in order. The control thread's.
  func take() -> [EngineNotice] {
    event.drain()
    return notices.withLock { waiting in
      let taken = waiting
      waiting = []
      return taken
    }
  }
}
