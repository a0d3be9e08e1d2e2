import CProcessor
import FSRing

/// The number of a channel in its engine.
public struct ChannelID: SlabIndex, BitwiseCopyable, Hashable, Sendable {
  /// The number.
  public var raw: UInt32

  /// The channel of a number.
  public init(raw: UInt32) { self.raw = raw }
}

/// The engine's record of one receive chunk.
struct ReceiveChunk: BitwiseCopyable {
  /// The next chunk of the same connection, or of the free list.
  var next: UInt32
  /// Bytes written into it.
  var filled: UInt16
  /// Bytes the application has been told of.
  var posted: UInt16
  /// Bytes the application has read.
  var consumed: UInt16
}

/// The engine's record of one send chunk.
struct SendChunk: BitwiseCopyable {
  /// The next chunk of the same connection.
  var next: UInt32
  var offset: UInt16
  /// Bytes to be sent from it; zero when the chunk is the application's.
  var length: UInt16
}

/// One channel as its engine sees it: the shared memory, and what the engine alone knows of it.
///
/// Nothing in the shared memory is trusted: chunk and slot numbers are looked up here, in private
/// memory, and the payload is only ever copied.
@safe
struct ChannelState {
  let geometry: ChannelGeometry
  let header: ChannelHeader
  var commands: RingConsumer<Command>
  var events: RingProducer<Event>
  private let receiveMemory: UnsafeMutableRawPointer
  private let sendMemory: UnsafeMutableRawPointer
  private let receiveChunks: UnsafeMutablePointer<ReceiveChunk>
  private let sendChunks: UnsafeMutablePointer<SendChunk>
  /// Slot to connection, plus one; zero for none. Initialized as far as slots have been in use: that is what
  /// a channel with few connections costs.
  private let slots: UnsafeMutablePointer<UInt32>
  private var firstFreeChunk: UInt32 = .max
  private var chunkWatermark: UInt32 = 0
  /// Receive chunks in use.
  private(set) var receiveChunksInUse: UInt32 = 0
  /// Send chunks in use.
  var sendChunksInUse: UInt32 = 0
  /// Free slots of the engine's half that have been in use, as a stack.
  private let freeSlots: UnsafeMutablePointer<UInt32>
  private var freeSlotCount: UInt32 = 0
  /// Slots of the engine's half that have been in use.
  private var slotWatermark: UInt32 = 0
  /// The end of the slots of the application's half that have been in use.
  private var connectWatermark: UInt32
  /// Connections that refer to the channel, those without slot included.
  var connectionCount = 0
  /// Connections with something to tell the application.
  var dirty = ListHead<ConnectionID>()
  /// Slots of the application's half whose release or refusal must be told.
  private let toldSlots: UnsafeMutablePointer<UInt32>
  private var toldCount = 0
  /// The application waits for room: the next acknowledgement wakes it.
  var wantsSpace = false
  /// It is to be woken at the end of the burst.
  var isWaking = false
  /// The ring of events was too full for all that the application must know.
  private(set) var hasEventsWaiting = false
  /// The application broke the rules: nothing of it is read any more.
  var isViolated = false
  /// The process is gone, or the channel was closed: it ends with its last connection.
  var isDetached = false

  /// Whether neither commands are read nor events posted.
  var isClosed: Bool { isDetached || isViolated }

  init(memory: UnsafeMutableRawPointer, geometry: ChannelGeometry) {
    self.geometry = geometry
    unsafe header = ChannelHeader(base: memory)
    unsafe commands = RingConsumer(
      elements: (memory + geometry.commandOffset).assumingMemoryBound(to: Command.self),
      capacity: geometry.commandCapacity, producerIndex: header.commandTail,
      consumerIndex: header.commandHead)
    unsafe events = RingProducer(
      elements: (memory + geometry.eventOffset).assumingMemoryBound(to: Event.self),
      capacity: geometry.eventCapacity, producerIndex: header.eventTail,
      consumerIndex: header.eventHead)
    unsafe receiveMemory = unsafe memory + geometry.receiveOffset
    unsafe sendMemory = unsafe memory + geometry.sendOffset
    unsafe receiveChunks = .allocate(capacity: Int(geometry.receiveChunkCount))
    unsafe sendChunks = .allocate(capacity: Int(geometry.sendChunkCount))
    unsafe sendChunks.initialize(
      repeating: SendChunk(next: .max, offset: 0, length: 0), count: Int(geometry.sendChunkCount))
    unsafe slots = .allocate(capacity: Int(geometry.slotCount))
    connectWatermark = geometry.firstConnectSlot
    unsafe freeSlots = .allocate(capacity: Int(geometry.firstConnectSlot))
    unsafe toldSlots = .allocate(capacity: Int(geometry.firstConnectSlot))
  }

  /// Frees the engine's own memory; the shared memory is the daemon's to unmap.
  func deallocate() {
    unsafe receiveChunks.deallocate()
    unsafe sendChunks.deallocate()
    unsafe slots.deallocate()
    unsafe freeSlots.deallocate()
    unsafe toldSlots.deallocate()
  }
}

// Slots.
extension ChannelState {
  private func hasBeenUsed(_ slot: UInt32) -> Bool {
    slot < slotWatermark || slot >= geometry.firstConnectSlot && slot < connectWatermark
  }

  /// The first slot from `slot` on that has been in use; nil if there is none.
  func usedSlot(from slot: UInt32) -> UInt32? {
    let next = slot < slotWatermark ? slot : max(slot, geometry.firstConnectSlot)
    return hasBeenUsed(next) ? next : nil
  }

  /// A slot of the application's half is in use from now on. Applications number them in order, but need not.
  private mutating func touch(_ slot: UInt32) {
    while connectWatermark <= slot {
      unsafe slots[Int(connectWatermark)] = 0
      connectWatermark += 1
    }
  }

  /// Asks for a slot in the cache; any value may be asked for.
  @inline(__always)
  func prefetch(slot: UInt32) {
    if slot < geometry.slotCount { unsafe fs_prefetch(slots + Int(slot)) }
  }

  /// The connection on a slot, if the slot is in range and has one.
  func connection(on slot: UInt32) -> ConnectionID? {
    guard hasBeenUsed(slot) else { return nil }
    let stored = unsafe slots[Int(slot)]
    return stored == 0 || stored >= Self.refused ? nil : ConnectionID(raw: stored - 1)
  }

  /// A slot of the application's half that is free, but the application has not been told.
  private static var releasing: UInt32 { .max }
  /// A slot on which a connect has failed at once, until the application closes it; in its low half the
  /// error, as long as the application has not been told.
  private static var refused: UInt32 { 0xfffe_0000 }

  private static func isRefused(_ stored: UInt32) -> Bool { stored >> 16 == refused >> 16 }

  /// Whether a connect on this slot has failed at once, and the application has not closed it yet.
  func isRefused(_ slot: UInt32) -> Bool {
    unsafe hasBeenUsed(slot) && Self.isRefused(slots[Int(slot)])
  }

  /// A connect on this free slot of the application's half has failed.
  mutating func refuse(_ slot: UInt32, _ error: UInt16) {
    touch(slot)
    unsafe slots[Int(slot)] = Self.refused | UInt32(error)
    tellLater(slot)
  }

  /// Whether the application may open a connection on a slot of its half.
  func isFree(_ slot: UInt32) -> Bool {
    unsafe !hasBeenUsed(slot) || slots[Int(slot)] == 0
  }

  /// Whether the engine can give a slot to another accepted connection.
  var hasFreeSlot: Bool { freeSlotCount > 0 || slotWatermark < geometry.firstConnectSlot }

  /// Whether the application can be given an accepted connection.
  var canAccept: Bool { hasFreeSlot && !isClosed }

  /// Whether a thread of the application sleeps, and is to be woken for what it is told.
  var applicationSleeps: Bool {
    unsafe header.applicationWaiters.pointee.load(ordering: .relaxed) != 0
  }

  /// Gives an accepted connection a slot of the engine's half.
  mutating func assignSlot(to id: ConnectionID) -> UInt32? {
    let slot: UInt32
    if freeSlotCount > 0 {
      freeSlotCount -= 1
      slot = unsafe freeSlots[Int(freeSlotCount)]
    } else {
      guard slotWatermark < geometry.firstConnectSlot else { return nil }
      slot = slotWatermark
      slotWatermark += 1
    }
    unsafe slots[Int(slot)] = id.raw + 1
    return slot
  }

  /// Takes up a connection on a free slot of the application's half.
  mutating func occupy(_ slot: UInt32, by id: ConnectionID) {
    touch(slot)
    unsafe slots[Int(slot)] = id.raw + 1
  }

  /// Makes a slot free; for one of the application's half `takeSlotNews` says so.
  mutating func release(_ slot: UInt32) {
    if slot < geometry.firstConnectSlot {
      unsafe slots[Int(slot)] = 0
      unsafe freeSlots[Int(freeSlotCount)] = slot
      freeSlotCount += 1
    } else {
      let stored = unsafe slots[Int(slot)]
      let isListed = Self.isRefused(stored) && stored != Self.refused
      unsafe slots[Int(slot)] = Self.releasing
      if !isListed { tellLater(slot) }
    }
  }

  private mutating func tellLater(_ slot: UInt32) {
    unsafe toldSlots[toldCount] = slot
    toldCount += 1
  }

  /// Whether releases or refusals of slots wait to be told.
  var hasSlotNews: Bool { toldCount > 0 }

  /// What the application must be told of the next slot: that it is free, or that its connect has failed.
  mutating func takeSlotNews() -> Event? {
    guard toldCount > 0 else { return nil }
    toldCount -= 1
    let slot = unsafe toldSlots[toldCount]
    let stored = unsafe slots[Int(slot)]
    guard Self.isRefused(stored) else {
      unsafe slots[Int(slot)] = 0
      return Event(.released, slot: slot)
    }
    unsafe slots[Int(slot)] = Self.refused
    var event = Event(.progress, slot: slot)
    event.flags = EventFlags.failed
    event.error = UInt16(truncatingIfNeeded: stored)
    return event
  }
}

// Events.
extension ChannelState {
  /// Whether there is something that the application has not been told.
  var hasNews: Bool { !dirty.isEmpty || hasSlotNews }

  /// Notes, for the application too, whether news are left over for want of room in the ring. To be
  /// called after posting what had room. True if that has changed.
  mutating func noteEventsWaiting() -> Bool {
    guard hasNews != hasEventsWaiting else { return false }
    hasEventsWaiting.toggle()
    unsafe header.eventsWait.pointee.store(hasEventsWaiting ? 1 : 0, ordering: .relaxed)
    return true
  }

  /// Whether the application has made room for events that wait.
  mutating func canPostWaiting() -> Bool { hasEventsWaiting && events.freeCount() != 0 }
}

// Received bytes.
extension ChannelState {
  /// Receive chunks that are free.
  var freeReceiveChunks: UInt32 { geometry.receiveChunkCount - receiveChunksInUse }

  /// Takes a free receive chunk.
  mutating func allocateReceiveChunk() -> UInt32? {
    let chunk: UInt32
    if firstFreeChunk != .max {
      chunk = firstFreeChunk
      firstFreeChunk = unsafe receiveChunks[Int(chunk)].next
    } else {
      guard chunkWatermark < geometry.receiveChunkCount else { return nil }
      chunk = chunkWatermark
      chunkWatermark += 1
    }
    receiveChunksInUse += 1
    unsafe receiveChunks[Int(chunk)] = ReceiveChunk(next: .max, filled: 0, posted: 0, consumed: 0)
    return chunk
  }

  /// Gives a receive chunk back.
  mutating func freeReceiveChunk(_ chunk: UInt32) {
    unsafe receiveChunks[Int(chunk)].next = firstFreeChunk
    firstFreeChunk = chunk
    receiveChunksInUse -= 1
  }

  /// The record of a receive chunk.
  subscript(receive chunk: UInt32) -> ReceiveChunk {
    get { unsafe receiveChunks[Int(chunk)] }
    nonmutating set { unsafe receiveChunks[Int(chunk)] = newValue }
  }

  /// The bytes of a chunk that the application has not read. It may have changed them.
  func unreadBytes(_ chunk: UInt32) -> UnsafeRawBufferPointer {
    let record = unsafe receiveChunks[Int(chunk)]
    return unsafe UnsafeRawBufferPointer(
      start: receiveMemory + Int(chunk) * ChannelGeometry.receiveChunkSize + Int(record.consumed),
      count: Int(record.filled - record.consumed))
  }

  /// Copies received bytes behind those already in the chunk; they must fit.
  func append(_ bytes: UnsafeRawBufferPointer, to chunk: UInt32) {
    let filled = unsafe Int(receiveChunks[Int(chunk)].filled)
    precondition(filled + bytes.count <= ChannelGeometry.receiveChunkSize)
    guard let source = bytes.baseAddress else { return }
    unsafe (receiveMemory + Int(chunk) * ChannelGeometry.receiveChunkSize + filled)
      .copyMemory(from: source, byteCount: bytes.count)
    unsafe receiveChunks[Int(chunk)].filled = UInt16(filled + bytes.count)
  }
}

// Bytes to be sent.
extension ChannelState {
  /// The record of a send chunk.
  subscript(send chunk: UInt32) -> SendChunk {
    get { unsafe sendChunks[Int(chunk)] }
    nonmutating set { unsafe sendChunks[Int(chunk)] = newValue }
  }

  /// Asks for the first bytes of a send chunk in the cache.
  @inline(__always)
  func prefetchSendBytes(_ chunk: UInt32) { unsafe fs_prefetch(sendBytes(chunk)) }

  /// Where the bytes of a send chunk begin. The record says how many there are; the application may
  /// change the bytes at any time, so they are copied once and not looked at.
  func sendBytes(_ chunk: UInt32) -> UnsafeRawPointer {
    let offset = unsafe Int(sendChunks[Int(chunk)].offset)
    return unsafe UnsafeRawPointer(sendMemory + Int(chunk) * ChannelGeometry.sendChunkSize + offset)
  }
}
