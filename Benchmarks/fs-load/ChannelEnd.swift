import FSRing
import Foundation

/// The application's end of a channel to an engine of the same thread: what libfsocket.so does, without
/// descriptors, sleeping and a second process.
///
/// Every send chunk holds the same bytes, written once, a request in its first half and a response in
/// its second: sending copies nothing into it.
@safe
struct ChannelEnd {
  private struct Chunk {
    /// The next one of the same connection.
    var next: UInt32
    /// Bytes sent from it.
    var length: UInt32
  }

  /// The chunks of one connection, in the order of their bytes.
  struct ChunkQueue {
    var first = UInt32.max
    var last = UInt32.max
    /// Bytes of the first one that are acknowledged.
    var acknowledged: UInt32 = 0
  }

  let geometry: ChannelGeometry
  let memory: UnsafeMutableRawPointer
  private var commands: RingProducer<Command>
  private(set) var events: RingConsumer<Event>
  private let chunks: UnsafeMutablePointer<Chunk>
  private let freeChunks: UnsafeMutablePointer<UInt32>
  private(set) var freeChunkCount: Int
  private let freeSlots: UnsafeMutablePointer<UInt32>
  private(set) var freeSlotCount: Int

  /// Where the response begins in a chunk.
  static let responseOffset = ChannelGeometry.sendChunkSize / 2

  /// A channel for `connections` of either side, whose chunks to send, `sendChunks`, hold `payload`.
  init(connections: Int, payload: [UInt8], sendChunks: Int = 4096) {
    let slots = UInt32(connections * 2)
    geometry = ChannelGeometry(
      commandCapacity: 4096, eventCapacity: 4096, receiveChunkCount: 8192,
      sendChunkCount: UInt32(sendChunks),
      slotCount: max(slots, 2))
    precondition(geometry.isValid && payload.count <= ChannelGeometry.sendChunkSize)
    unsafe memory = .allocate(byteCount: geometry.byteCount, alignment: 4096)
    unsafe memory.initializeMemory(as: UInt8.self, repeating: 0, count: geometry.byteCount)
    let header = unsafe ChannelHeader(base: memory)
    unsafe commands = RingProducer(
      elements: (memory + geometry.commandOffset).assumingMemoryBound(to: Command.self),
      capacity: geometry.commandCapacity, producerIndex: header.commandTail,
      consumerIndex: header.commandHead)
    unsafe events = RingConsumer(
      elements: (memory + geometry.eventOffset).assumingMemoryBound(to: Event.self),
      capacity: geometry.eventCapacity, producerIndex: header.eventTail,
      consumerIndex: header.eventHead)
    let chunkCount = Int(geometry.sendChunkCount)
    unsafe chunks = .allocate(capacity: chunkCount)
    unsafe chunks.initialize(repeating: Chunk(next: .max, length: 0), count: chunkCount)
    unsafe freeChunks = .allocate(capacity: chunkCount)
    freeChunkCount = chunkCount
    for number in 0..<chunkCount {
      unsafe freeChunks[number] = UInt32(chunkCount - 1 - number)
      let place = geometry.sendOffset + number * ChannelGeometry.sendChunkSize
      for (offset, byte) in payload.enumerated() {
        unsafe memory.storeBytes(of: byte, toByteOffset: place + offset, as: UInt8.self)
      }
    }
    freeSlotCount = Int(geometry.slotCount - geometry.firstConnectSlot)
    unsafe freeSlots = .allocate(capacity: freeSlotCount)
    for number in 0..<freeSlotCount {
      unsafe freeSlots[number] = geometry.slotCount - 1 - UInt32(number)
    }
  }

  func deallocate() {
    unsafe memory.deallocate()
    unsafe chunks.deallocate()
    unsafe freeChunks.deallocate()
    unsafe freeSlots.deallocate()
  }

  // MARK: Commands

  /// Whether the ring has room for what one event may lead to.
  mutating func hasRoom() -> Bool { (commands.freeCount(atLeast: 8) ?? 0) >= 8 }

  mutating func submit(_ command: Command) { commands.append(command) }

  mutating func publish() {
    if commands.hasUnpublished { commands.publish() }
  }

  mutating func takeSlot() -> UInt32? {
    guard freeSlotCount > 0 else { return nil }
    freeSlotCount -= 1
    return unsafe freeSlots[freeSlotCount]
  }

  mutating func giveSlot(_ slot: UInt32) {
    unsafe freeSlots[freeSlotCount] = slot
    freeSlotCount += 1
  }

  /// Sends `length` bytes of a chunk on a connection. False: all chunks are with the engine.
  mutating func send(
    _ length: Int, from offset: Int = 0, on slot: UInt32, _ queue: inout ChunkQueue
  ) -> Bool {
    guard freeChunkCount > 0 else { return false }
    freeChunkCount -= 1
    let chunk = unsafe freeChunks[freeChunkCount]
    unsafe chunks[Int(chunk)] = Chunk(next: .max, length: UInt32(length))
    if queue.last == .max {
      queue.first = chunk
    } else {
      unsafe chunks[Int(queue.last)].next = chunk
    }
    queue.last = chunk
    var command = Command(.send, slot: slot)
    command.chunk = chunk
    command.offset = UInt16(offset)
    command.length = UInt32(length)
    commands.append(command)
    return true
  }

  /// Takes back the chunks whose bytes are acknowledged.
  mutating func reclaim(_ bytes: UInt32, _ queue: inout ChunkQueue) {
    queue.acknowledged += bytes
    while queue.first != .max {
      let chunk = unsafe chunks[Int(queue.first)]
      guard queue.acknowledged >= chunk.length else { return }
      queue.acknowledged -= chunk.length
      takeBackFirst(&queue, chunk)
    }
  }

  /// Takes all chunks back from a connection that has ended.
  mutating func reclaimAll(_ queue: inout ChunkQueue) {
    while queue.first != .max { takeBackFirst(&queue, unsafe chunks[Int(queue.first)]) }
    queue.acknowledged = 0
  }

  private mutating func takeBackFirst(_ queue: inout ChunkQueue, _ chunk: Chunk) {
    unsafe freeChunks[freeChunkCount] = queue.first
    freeChunkCount += 1
    queue.first = chunk.next
    if queue.first == .max { queue.last = .max }
  }

  // MARK: Events

  /// Events that can be read.
  func readyCount() throws -> UInt32 {
    guard let count = events.readyCount() else { throw ChannelBroken() }
    return count
  }

  mutating func release(_ count: UInt32) { events.release(count) }

  /// The bytes of an event.
  func bytes(of event: Event) -> UnsafeRawBufferPointer {
    let place =
      geometry.receiveOffset + Int(event.chunk) * ChannelGeometry.receiveChunkSize
      + Int(event.offset)
    return unsafe UnsafeRawBufferPointer(start: memory + place, count: Int(event.length))
  }
}

/// The engine's index is impossible.
struct ChannelBroken: Error, CustomStringConvertible {
  let description = "the channel's index of events is impossible"
}
