import CLinux
import FSDevice
import FSRing
import FSStack
import Glibc
import Synchronization

/// One engine with its AF_XDP sockets, and the loop that its thread runs.
///
/// Where a packet goes: `EngineLoop+Packets`. What the control thread asks: `EngineLoop+Control`.
/// When the thread sleeps: `EngineLoop+Sleep`.
struct EngineLoop: ~Copyable {
  /// An AF_XDP socket, and the interface that it belongs to as engines number them. The loop's
  /// owner keeps the socket: on the path of packets no references are counted.
  @safe
  struct Port {
    var interface: Int
    private let reference: Unmanaged<XDPSocket>

    init(_ socket: XDPSocket, interface: Int) {
      self.interface = interface
      unsafe reference = Unmanaged.passUnretained(socket)
    }

    /// Lends the socket.
    @inline(__always)
    func withSocket<Result>(_ body: (XDPSocket) -> Result) -> Result {
      unsafe reference._withUnsafeGuaranteedRef { body($0) }
    }
  }

  /// Where the frames of one interface leave: the first of the engine's sockets there.
  struct Exit {
    var port: Port
    var queue: TransmitQueue
  }

  /// What connects the engines of a daemon.
  struct Peers: Sendable {
    /// Rings from the other engines to this one.
    var incoming: [HandOverRing]
    /// Rings to the other engines, by engine; none to itself.
    var outgoing: [HandOverRing?]
    /// How to wake each engine.
    var doorbells: [EngineDoorbell]
  }

  let index: Int
  let processor: Int
  let policy: IdlePolicy
  var engine: Engine
  let sockets: [XDPSocket]
  let ports: [Port]
  let exits: [Exit]
  /// Kept, because the engine sends to itself in it.
  let loopback: LoopbackFrames
  let peers: Peers
  let mailbox: Mailbox<EngineLoop>
  let outbox: Outbox
  let poller: Poller

  /// Attached channels by number, and the eventfds that wake their applications.
  var channels: [Channel?] = []
  var wakeDescriptors: [Int32] = []
  /// Channels whose eventfd blocked this thread.
  var stuckChannels: [ChannelID] = []
  /// Engines to which frames were handed over in this round.
  var handedOver: [Bool]
  var counters = LoopCounters()
  var isRunning = true
  /// How long frames that could not be transmitted wait for the next attempt; nil: there are none.
  var transmitDelay: UInt64?
  /// Own time without work since the last work.
  var idleNanoseconds: UInt64 = 0

  /// Frames taken from a socket at a time.
  static let burst = 64
  /// How long the ends of connections may take when the daemon stops.
  private static let resettingNanoseconds: UInt64 = 500_000_000

  /// Runs until a task says that it is over.
  mutating func run() {
    var before = MonotonicClock.now
    var cyclesBefore = fs_cycles()
    var hadWork = false
    while isRunning {
      let time = MonotonicClock.now
      let cycles = fs_cycles()
      account(hadWork, nanoseconds: time &- before, cycles: cycles &- cyclesBefore)
      before = time
      cyclesBefore = cycles
      hadWork = round(Instant(nanoseconds: time))
      if hadWork { continue }
      if idleNanoseconds < policy.budgetNanoseconds {
        pause()
      } else if let slept = sleep(Instant(nanoseconds: time)) {
        counters.sleepNanoseconds &+= slept
        idleNanoseconds = 0
        before = MonotonicClock.now
        cyclesBefore = fs_cycles()
      }
    }
    resetPeers()
  }

  /// Tells the peers that their connections end here, as fast as the links take the frames: a peer that does
  /// not hear it is left with a connection. Bounded: a link that takes none is not waited for.
  private mutating func resetPeers() {
    let limit = MonotonicClock.now &+ Self.resettingNanoseconds
    repeat {
      reapCompletions()
      if exits.allSatisfy({ $0.queue.pendingCount == 0 }),
        engine.abortConnections(limit: Self.burst) == 0
      {
        return
      }
      if transmit() == 0 { sched_yield() }
    } while MonotonicClock.now < limit
  }

  /// One time round; whether there was anything to do.
  private mutating func round(_ now: Instant) -> Bool {
    counters.rounds &+= 1
    reapCompletions()
    var work = receive(now)
    work += receiveHandedOver(now)
    work += engine.receiveLoopback(now: now)
    if mailbox.hasTasks { work += runTasks() }
    work += engine.serviceChannels(now: now)
    engine.advance(to: now)
    engine.finishBurst(now: now)
    work += transmit() + engine.loopbackPending
    wakeApplications()
    if work > 0 { reportToControl() }
    return work > 0
  }

  @inline(__always)
  private mutating func account(_ hadWork: Bool, nanoseconds: UInt64, cycles: UInt64) {
    if hadWork {
      counters.busyNanoseconds &+= nanoseconds
      counters.busyCycles &+= cycles
      idleNanoseconds = 0
    } else {
      counters.idleNanoseconds &+= nanoseconds
      counters.idleCycles &+= cycles
      idleNanoseconds &+= min(nanoseconds, IdlePolicy.roundLimit)
    }
  }

  @inline(__always)
  private func pause() {
    switch policy.placement {
    case .merged: sched_yield()
    case .split: fs_relax()
    }
  }
}

extension Instant {
  /// Now, by the clock that all engines are given.
  @inline(__always)
  static var current: Instant { Instant(nanoseconds: MonotonicClock.now) }
}
