import FSRing

/// The application's side of a channel in the engine's own process: rings and chunks, without
/// descriptors, wake-ups and threads. It sends at most one chunk at a time on a connection.
@safe
final class RingApplication {
  let geometry: ChannelGeometry
  /// What the engine attaches.
  let memory: UnsafeMutableRawPointer
  private var commands: RingProducer<Command>
  private var events: RingConsumer<Event>
  private let freeChunks: UnsafeMutablePointer<UInt32>
  private var freeChunkCount: Int
  /// The chunk under way of each slot, and its bytes that are not acknowledged.
  private let chunks: UnsafeMutablePointer<UInt32>
  private let unacknowledged: UnsafeMutablePointer<UInt32>
  /// Received bytes of each slot that the engine has not been told to be read.
  private let unread: UnsafeMutablePointer<UInt32>

  init(geometry: ChannelGeometry) {
    self.geometry = geometry
    unsafe memory = .allocate(byteCount: geometry.byteCount, alignment: 4096)
    unsafe memory.initializeMemory(as: UInt8.self, repeating: 0, count: geometry.byteCount)
    let header = unsafe ChannelHeader(base: memory)
    commands = unsafe RingProducer(
      elements: (memory + geometry.commandOffset).assumingMemoryBound(to: Command.self),
      capacity: geometry.commandCapacity, producerIndex: header.commandTail,
      consumerIndex: header.commandHead)
    events = unsafe RingConsumer(
      elements: (memory + geometry.eventOffset).assumingMemoryBound(to: Event.self),
      capacity: geometry.eventCapacity, producerIndex: header.eventTail,
      consumerIndex: header.eventHead)
    freeChunkCount = Int(geometry.sendChunkCount)
    unsafe freeChunks = .allocate(capacity: freeChunkCount)
    for index in 0..<freeChunkCount {
      unsafe freeChunks[index] = UInt32(freeChunkCount - 1 - index)
    }
    let slots = Int(geometry.slotCount)
    unsafe chunks = .allocate(capacity: slots)
    unsafe chunks.initialize(repeating: .max, count: slots)
    unsafe unacknowledged = .allocate(capacity: slots)
    unsafe unacknowledged.initialize(repeating: 0, count: slots)
    unsafe unread = .allocate(capacity: slots)
    unsafe unread.initialize(repeating: 0, count: slots)
  }

  deinit {
    unsafe memory.deallocate()
    unsafe freeChunks.deallocate()
    unsafe chunks.deallocate()
    unsafe unacknowledged.deallocate()
    unsafe unread.deallocate()
  }

  /// Commands that may still be given in this round.
  func commandRoom() -> Int {
    guard let free = commands.freeCount(atLeast: geometry.commandCapacity / 2) else {
      fatalError("the engine has lost its place")
    }
    return Int(free)
  }

  /// Gives `body` each event that is there, after its bytes and acknowledgements have been noted.
  /// Returns how many there were.
  func takeEvents(_ body: (Event) -> Void) -> Int {
    guard let ready = events.readyCount() else { fatalError("the engine has lost its place") }
    for position in 0..<ready {
      let event = events.element(at: position)
      note(event)
      body(event)
    }
    events.release(ready)
    return Int(ready)
  }

  private func note(_ event: Event) {
    let slot = Int(event.slot)
    if event.flags & EventFlags.data != 0 { unsafe unread[slot] += UInt32(event.length) }
    guard event.acknowledged > 0 else { return }
    unsafe unacknowledged[slot] -= event.acknowledged
    if unsafe unacknowledged[slot] == 0 {
      unsafe freeChunks[freeChunkCount] = unsafe chunks[slot]
      freeChunkCount += 1
      unsafe chunks[slot] = .max
    }
  }

  private func submit(_ command: Command) {
    guard let free = commands.freeCount(), free > 0 else { fatalError("the command ring is full") }
    commands.append(command)
  }

  /// Shows the engine all commands given.
  func publish() {
    if commands.hasUnpublished { commands.publish() }
  }

  /// Opens a connection on a slot of the upper half.
  func connect(_ slot: UInt32, _ remote: Endpoint, _ local: Endpoint) {
    var command = Command(.connect, slot: slot)
    command.remoteHigh = remote.high
    command.remoteLow = remote.low
    command.remotePort = remote.port
    command.localHigh = local.high
    command.localLow = local.low
    command.localPort = local.port
    submit(command)
  }

  /// Sends bytes on a connection on which nothing is under way.
  func send(_ slot: UInt32, _ bytes: [UInt8]) {
    precondition(freeChunkCount > 0 && bytes.count <= ChannelGeometry.sendChunkSize)
    precondition(unsafe chunks[Int(slot)] == .max)
    freeChunkCount -= 1
    let chunk = unsafe freeChunks[freeChunkCount]
    let place = geometry.sendOffset + Int(chunk) * ChannelGeometry.sendChunkSize
    unsafe bytes.withUnsafeBytes { source in
      unsafe UnsafeMutableRawBufferPointer(start: memory + place, count: source.count)
        .copyMemory(from: source)
    }
    var command = Command(.send, slot: slot)
    command.chunk = chunk
    command.length = UInt32(bytes.count)
    submit(command)
    unsafe chunks[Int(slot)] = chunk
    unsafe unacknowledged[Int(slot)] = UInt32(bytes.count)
  }

  /// Says that all received bytes have been read.
  func consume(_ slot: UInt32) {
    var command = Command(.consume, slot: slot)
    command.length = unsafe unread[Int(slot)]
    unsafe unread[Int(slot)] = 0
    submit(command)
  }

  /// Reads what is there and closes.
  func close(_ slot: UInt32) {
    var command = Command(.close, slot: slot)
    command.length = unsafe unread[Int(slot)]
    unsafe unread[Int(slot)] = 0
    submit(command)
  }

  /// An address, as two words in memory order, and a port.
  struct Endpoint {
    var high: UInt64 = 0
    var low: UInt64 = 0
    var port: UInt16 = 0
  }
}
