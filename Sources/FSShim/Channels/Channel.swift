import CShim
import Synchronization

/// What the application's side knows of one slot.
struct Slot {
  /// The socket plus one; 0 for none: closed by the application, or never used.
  var socket: UInt32
  /// For a free slot of the application's half: the next free one.
  var next: UInt32
  var sent: SendQueue
}

/// Established connections of one listener that wait in one channel for accept().
struct AcceptQueue {
  var head: UInt32
  var tail: UInt32
  var count: UInt32
  /// Epoll links and accepting threads that watch the listener through this channel.
  var watchers: UInt32
  /// The daemon has been told that the channel takes connections of the listener.
  var isJoined: Bool
  /// ... and then that it takes none for now.
  var isPaused: Bool
  /// It takes one at a time.
  var takesOne: Bool
}

/// A channel as this process sees it: the shared memory, the slots and the chunks, and what it keeps
/// for reuse. Protected by `lockWord`, which stands first.
struct Channel {
  var lock: UInt32 = 0
  /// 1 while the daemon is behind it, and it is this process's own. Read without the lock.
  var isOpenBits: UInt32 = 0
  /// The thread whose primary channel it is; 0 when that has ended.
  var ownerBits: UInt32 = 0
  var generation: UInt32
  /// The process generation that opened it.
  var processGeneration: UInt32
  /// The daemon's number for it.
  var number: UInt32
  var engine: UInt32
  /// The processor on which the engine runs (SO_INCOMING_CPU).
  var processor: Int32 = -1
  var wakeDescriptor: Int32
  var doorbell: Int32
  /// The value of `engineSleep` for which the doorbell has been rung.
  var rungFor: UInt32 = 0
  /// Inquiries made so far, and the places of reports that are taken, one bit each.
  var inquiries: UInt32 = 0
  var reportsInUse: UInt32 = 0
  /// Sockets that refer to it; its number can be used again only when there are none.
  var socketCount: UInt32 = 0
  /// Opened on an engine of which it was invited, not by a thread for itself.
  var isInvited = false

  let memory: UnsafeMutableRawPointer
  let geometry: ChannelGeometry
  let header: ChannelHeader
  var events: RingConsumer<Event>
  var commands: RingProducer<Command>

  let pieces: ReceivePieces
  var chunks: SendChunks
  let slots: UnsafeMutablePointer<Slot>
  let queues: UnsafeMutablePointer<AcceptQueue>
  var firstFreeSlot: UInt32 = .max
  var slotWatermark: UInt32
  /// Slots of the engine's half have been used below this.
  var acceptWatermark: UInt32 = 0
  /// Listeners that nobody watches here any more; whether for good shows when the thread waits.
  var leaving: InlineArray<32, Int32> = InlineArray(repeating: -1)
  var leavingCount = 0
  /// Sockets whose last write found too little room.
  var wantingCount: UInt32 = 0
  /// The engine has been told that acknowledgements are awaited, and has posted nothing since.
  var hasAskedForSpace = false
  /// Sockets that wait for send chunks, in order.
  var starvedHead: UInt32 = .max
  var starvedTail: UInt32 = .max
  /// Sockets whose connections are the kernel's by now, and that nobody has looked at since.
  var movedHead: UInt32 = .max
  /// Slots of sockets with bytes read and not reported.
  let unreported: UnsafeMutablePointer<UInt32>
  var unreportedCount = 0
  /// Commands that found the ring full, in order.
  let delayed: UnsafeMutablePointer<Command>
  var delayedCount = 0

  /// Free places in the socket table, so that accept and close need no process-wide lock.
  var firstFreeSocket: UInt32 = .max
  var freeSocketCount = 0
  var placeholders4: DescriptorPool
  var placeholders6: DescriptorPool
  var fresh4: DescriptorPool
  var fresh6: DescriptorPool

  static var unreportedCapacity: Int { 256 }
  static var delayedCapacity: Int { 1 << 16 }
}

typealias ChannelPointer = UnsafeMutablePointer<Channel>

extension UnsafeMutablePointer<Channel> {
  @inline(__always)
  var lockWord: SharedWord {
    UnsafeMutableRawPointer(self).assumingMemoryBound(to: Atomic<UInt32>.self)
  }
  @inline(__always)
  var openWord: SharedWord { lockWord + 1 }
  @inline(__always)
  var owner: SharedWord { lockWord + 2 }

  @inline(__always)
  var isOpen: Bool { openWord.pointee.load(ordering: .acquiring) != 0 }

  /// Whether it is no thread's own: opened for an invitation, or left behind by its thread.
  var isNobodys: Bool { owner.pointee.load(ordering: .relaxed) == 0 }

  /// Where the bytes of a receive chunk are.
  @inline(__always)
  func receiveBytes(_ chunk: UInt32) -> UnsafeMutableRawPointer {
    pointee.memory + pointee.geometry.receiveOffset + Int(chunk) * ChannelGeometry.receiveChunkSize
  }

  /// Where the bytes of a send chunk are.
  @inline(__always)
  func sendBytes(_ chunk: UInt32) -> UnsafeMutableRawPointer {
    pointee.memory + pointee.geometry.sendOffset + Int(chunk) * ChannelGeometry.sendChunkSize
  }
}

/// The channels of the process. A number, once used, stays with its channel until no socket refers
/// to it any more.
enum ChannelTable {
  @inline(__always)
  static func at(_ index: Int32) -> ChannelPointer { process.pointee.channels + Int(index) }

  /// Channels that exist have numbers below this.
  @inline(__always)
  static var count: Int32 {
    Int32(processWord(.channelWatermark).pointee.load(ordering: .acquiring))
  }
}

// What the readiness half asks for.

/// The calling thread's own channel, or -1.
@inline(__always)
func threadChannel() -> Int32 {
  let channel = Int32(bitPattern: fs_thread_state().pointee.channel) - 1
  return channel >= 0 && channelIsOpen(channel) ? channel : -1
}

/// Numbers of channels are below this.
func channelCount() -> Int32 { isInitialized ? ChannelTable.count : 0 }

/// Whether a channel can be used.
@inline(__always)
func channelIsOpen(_ channel: Int32) -> Bool { ChannelTable.at(channel).isOpen }

/// Never 0; another one whenever the number stands for another eventfd than before.
func channelGeneration(_ channel: Int32) -> UInt32 { ChannelTable.at(channel).pointee.generation }

/// The eventfd that the engine writes to wake the application.
func channelWakeDescriptor(_ channel: Int32) -> Int32 {
  ChannelTable.at(channel).pointee.wakeDescriptor
}

/// Whether events wait to be dispatched. One load.
@inline(__always)
func channelHasEvents(_ channel: Int32) -> Bool {
  let pointer = ChannelTable.at(channel)
  return pointer.isOpen && pointer.pointee.events.readyCount() != 0
}

/// Counts a thread that is about to sleep (+1), or has slept (-1), and watches the channel. False
/// with +1 if there is something to be dispatched: then it must not sleep.
func channelWaitersAdd(_ channel: Int32, _ delta: Int32) -> Bool {
  let pointer = ChannelTable.at(channel)
  guard pointer.isOpen else { return delta < 0 }
  _ = pointer.pointee.header.applicationWaiters.pointee.wrappingAdd(
    UInt32(bitPattern: delta), ordering: .sequentiallyConsistent)
  return delta < 0 || channelIsQuiet(channel)
}

/// Whether a thread that has been counted may sleep: false if there is something to be dispatched.
/// An engine with events that had no room in the ring is told that there is room now.
func channelIsQuiet(_ channel: Int32) -> Bool {
  let pointer = ChannelTable.at(channel)
  guard pointer.isOpen else { return true }
  atomicMemoryFence(ordering: .sequentiallyConsistent)
  if pointer.hasEventsWaiting { pointer.ringDoorbell() }
  // Commands that found their ring full: nobody tells when there is room for them.
  if pointer.pointee.delayedCount > 0 {
    fs_sys_yield()
    return false
  }
  return pointer.pointee.events.readyCount() == 0
}
