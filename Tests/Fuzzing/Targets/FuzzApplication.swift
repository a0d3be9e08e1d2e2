import FSRing
import Synchronization

@testable import FSStack

/// The application's side of a channel: it keeps just enough to be a correct one, and can be made to
/// write anything.
final class FuzzApplication {
  static let geometry = ChannelGeometry(
    commandCapacity: 64, eventCapacity: 64, receiveChunkCount: 32, sendChunkCount: 16,
    slotCount: 16)

  /// What the application knows of a slot.
  struct Slot {
    var isOpen = false
    /// Of the application's half, and not yet released by the engine.
    var isHeld = false
    /// The sending side was shut down, or the connection has failed.
    var isShut = false
    /// Received bytes not yet read.
    var unread: UInt32 = 0
    /// Lengths of the sends that the engine has not given back, oldest first.
    var sent: [(chunk: UInt32, length: UInt32)] = []
    var acknowledged: UInt32 = 0
  }

  let channel: ChannelID
  let listener: UInt32
  private(set) var slots = [Slot](repeating: Slot(), count: Int(geometry.slotCount))
  var violation: ChannelViolation?
  var isViolated: Bool { violation != nil }
  /// All its commands are those of the methods below, so that its books must agree with the engine's.
  var keepsRules = true
  var isReleased = false
  let header: ChannelHeader
  private let memory: UnsafeMutableRawPointer
  private var commands: RingProducer<Command>
  private var events: RingConsumer<Event>
  private var freeChunks = Array(0..<geometry.sendChunkCount)
  /// Bytes received in all.
  private(set) var received = 0

  init(in engine: inout Engine, listener: UInt32) {
    self.listener = listener
    let geometry = Self.geometry
    memory = .allocate(byteCount: geometry.byteCount, alignment: 4096)
    memory.initializeMemory(as: UInt8.self, repeating: 0, count: geometry.byteCount)
    header = ChannelHeader(base: memory)
    commands = RingProducer(
      elements: (memory + geometry.commandOffset).assumingMemoryBound(to: Command.self),
      capacity: geometry.commandCapacity, producerIndex: header.commandTail,
      consumerIndex: header.commandHead)
    events = RingConsumer(
      elements: (memory + geometry.eventOffset).assumingMemoryBound(to: Event.self),
      capacity: geometry.eventCapacity, producerIndex: header.eventTail,
      consumerIndex: header.eventHead)
    guard let id = engine.attachChannel(memory: memory, geometry: geometry) else {
      fatalError("no room for a channel")
    }
    channel = id
  }

  deinit { memory.deallocate() }

  /// Slots with a connection.
  var openSlots: [UInt32] {
    slots.indices.filter { slots[$0].isOpen }.map { UInt32($0) }
  }

  /// Puts a command into the ring, if there is room.
  func submit(_ command: Command) {
    guard let free = commands.freeCount(), free > 0 else { return }
    commands.append(command)
    commands.publish()
  }

  // MARK: Correct calls

  func connect(to address: IPAddress, port: UInt16, localPort: UInt16) {
    let first = Int(Self.geometry.firstConnectSlot)
    guard let slot = slots.indices.dropFirst(first).first(where: { !slots[$0].isHeld }) else {
      return
    }
    slots[slot].isOpen = true
    slots[slot].isHeld = true
    var command = Command(.connect, slot: UInt32(slot))
    command.remoteHigh = address.high
    command.remoteLow = address.low
    command.remotePort = port
    command.localPort = localPort
    submit(command)
  }

  func send(_ slot: UInt32, _ length: UInt32, flags: UInt8) {
    guard length > 0, !slots[Int(slot)].isShut, let chunk = freeChunks.popLast() else { return }
    var command = Command(.send, slot: slot, flags: flags)
    command.chunk = chunk
    command.length = length
    slots[Int(slot)].sent.append((chunk, length))
    submit(command)
  }

  func consume(_ slot: UInt32, _ count: UInt32) {
    let part = min(count, slots[Int(slot)].unread)
    slots[Int(slot)].unread -= part
    var command = Command(.consume, slot: slot)
    command.length = part
    submit(command)
  }

  func shutdown(_ slot: UInt32, _ flags: UInt8) {
    if flags & CommandFlags.shutWrite != 0 { slots[Int(slot)].isShut = true }
    submit(Command(.shutdown, slot: slot, flags: flags))
  }

  func close(_ slot: UInt32, resets: Bool) {
    slots[Int(slot)].isOpen = false
    submit(Command(.close, slot: slot, flags: resets ? CommandFlags.reset : 0))
  }

  // MARK: Events

  /// Takes the events; they must be possible ones.
  func takeEvents() {
    guard let count = events.readyCount() else { fatalError("impossible event index") }
    for position in 0..<count { take(events.element(at: position)) }
    events.release(count)
  }

  private func take(_ event: Event) {
    guard let kind = EventKind(rawValue: event.kind), event.slot < Self.geometry.slotCount else {
      fatalError("event of kind \(event.kind) for slot \(event.slot)")
    }
    let slot = Int(event.slot)
    if kind == .released {
      slots[slot] = Slot()
      return
    }
    if kind == .accepted {
      let isFree = !slots[slot].isOpen && slots[slot].sent.isEmpty
      check(isFree || !keepsRules, "slot \(slot) accepted twice")
      slots[slot] = Slot(isOpen: true)
    }
    if event.flags & EventFlags.data != 0 {
      check(event.chunk < Self.geometry.receiveChunkCount)
      let end = Int(event.offset) + Int(event.length)
      check(end <= ChannelGeometry.receiveChunkSize)
      slots[slot].unread += UInt32(event.length)
      received += Int(event.length)
    }
    giveBack(slot, event.acknowledged)
    if event.flags & EventFlags.failed != 0 { fail(slot) }
  }

  /// The event that tells of a failure gives all chunks back. What is sent afterwards nobody counts, so a
  /// correct application sends nothing.
  private func fail(_ slot: Int) {
    guard keepsRules else { return }
    freeChunks += slots[slot].sent.map(\.chunk)
    slots[slot].sent = []
    slots[slot].acknowledged = 0
    slots[slot].isShut = true
  }

  /// Acknowledged bytes free their chunks, in order.
  private func giveBack(_ slot: Int, _ bytes: UInt32) {
    guard keepsRules else { return }
    slots[slot].acknowledged += bytes
    while let first = slots[slot].sent.first, first.length <= slots[slot].acknowledged {
      slots[slot].acknowledged -= first.length
      slots[slot].sent.removeFirst()
      freeChunks.append(first.chunk)
    }
    if slots[slot].sent.isEmpty {
      check(slots[slot].acknowledged == 0, "slot \(slot): more acknowledged than sent")
    }
  }
}
