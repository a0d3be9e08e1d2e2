import FSRing
import Synchronization

@testable import FSStack

/// The application's side of a channel, in plain Swift: what the shim does, without descriptors.
///
/// It keeps the rules of the shared memory, and notes when the engine does not.
final class TestApplication {
  let geometry: ChannelGeometry
  unowned let engine: SimulatedEngine
  let channel: ChannelID
  private let memory: UnsafeMutableRawPointer
  private let header: ChannelHeader
  var commands: RingProducer<Command>
  private var events: RingConsumer<Event>
  /// Commands for which the ring had no room.
  private var waiting: [Command] = []
  private var rungFor: UInt32 = 0
  private var inquiries: Int32 = 0
  var freeChunks: [UInt32]
  private var freeSlots: [UInt32]
  private(set) var sockets: [UInt32: TestSocket] = [:]
  /// Accepted connections, oldest first.
  var accepted: [TestSocket] = []
  /// Ports of the listeners.
  private var listenerPorts: [UInt32: UInt16] = [:]
  /// What the engine did that it must not.
  private(set) var problems: [String] = []
  private(set) var eventCount = 0
  /// Called when the application has been woken and has taken all events.
  var onWake: (() -> Void)?
  /// How long it takes from the wake-up until the application runs.
  var latency = Interval(nanoseconds: 0)
  private var isWaking = false
  /// It hangs: woken, it does nothing.
  var isStopped = false
  /// The engine has given up the memory.
  var isReleased = false
  /// Its process has ended.
  private(set) var isDead = false

  static let small = ChannelGeometry(
    commandCapacity: 64, eventCapacity: 64, receiveChunkCount: 64, sendChunkCount: 64,
    slotCount: 16)

  init(on engine: SimulatedEngine, geometry: ChannelGeometry = TestApplication.small) {
    self.geometry = geometry
    self.engine = engine
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
    freeChunks = Array((0..<geometry.sendChunkCount).reversed())
    freeSlots = Array((geometry.firstConnectSlot..<geometry.slotCount).reversed())
    let (memory, geometry) = (self.memory, geometry)
    let id = engine.control { $0.attachChannel(memory: memory, geometry: geometry) }
    guard let id else { fatalError("no room for a channel") }
    channel = id
    engine.applications[id] = self
    header.applicationWaiters.pointee.store(1, ordering: .relaxed)
  }

  deinit { memory.deallocate() }

  // MARK: Calls

  /// Listens on a port of every address, and joins.
  func listen(
    _ number: UInt32 = 1, port: UInt16, backlog: Int = 8, isIPv4: Bool = true, remote: Bool = false,
    now: Instant
  ) {
    listenerPorts[number] = port
    let channel = self.channel
    engine.control { engine in
      engine.addListener(
        number, address: isIPv4 ? IPAddress(v4: 0, 0, 0, 0) : .unspecified, port: port,
        ipv6Only: false, backlog: backlog)
      _ = engine.joinListener(number, channel: channel, remote: remote, now: now)
    }
  }

  /// connect(2); the socket tells how it ends. Where both sides connect, one must be the server of
  /// the pattern, and both must name its port.
  @discardableResult
  func connect(
    to address: IPAddress, port: UInt16, from local: IPAddress = .unspecified,
    localPort: UInt16 = 0, serverPort: UInt16? = nil
  ) -> TestSocket {
    guard let slot = freeSlots.popLast() else { fatalError("no free slot") }
    let isServer = serverPort != nil && serverPort == localPort
    let socket = TestSocket(self, slot: slot, port: serverPort ?? port, isServer: isServer)
    socket.isConnected = false
    sockets[slot] = socket
    var command = Command(.connect, slot: slot)
    command.remoteHigh = address.high
    command.remoteLow = address.low
    command.localHigh = local.high
    command.localLow = local.low
    command.remotePort = port
    command.localPort = localPort
    submit(command)
    publish()
    return socket
  }

  /// Goes on with a connection that another application has lost by export. What that has sent and the
  /// export has not taken is sent anew; what it has read since then, from `position` on, comes again.
  func `continue`(
    _ old: TestSocket, _ exported: ExportedConnection, from position: Int, now: Instant
  ) -> TestSocket? {
    guard let slot = freeSlots.popLast() else { return nil }
    let taken = old.bytesAcknowledged - exported.unacknowledged.count - exported.unsent.count
    let socket = TestSocket(
      self, slot: slot, continuing: old, sent: taken, received: position)
    sockets[slot] = socket
    let channel = self.channel
    let id = engine.control { engine in
      engine.continueConnection(exported, channel: channel, slot: slot, now: now)
    }
    guard id != nil else { return nil }
    socket.send(old.bytesSent - taken)
    if exported.isWriteShut { socket.shutdown() }
    return socket
  }

  /// The next accepted connection.
  func accept() -> TestSocket? { accepted.isEmpty ? nil : accepted.removeFirst() }

  /// Whether it can connect.
  var hasFreeSlot: Bool { !freeSlots.isEmpty }
  /// Whether commands wait for room in the ring, and there may be some.
  var isHeldUp: Bool { !waiting.isEmpty && !isDead }

  /// The process ends.
  func die(_ end: Engine.ApplicationEnd, now: Instant) {
    isDead = true
    isStopped = true
    onWake = nil
    let channel = self.channel
    engine.control { $0.detachChannel(channel, end, now: now) }
  }

  /// Stops or resumes accepting.
  func pause(_ number: UInt32, _ pauses: Bool) {
    submit(Command(pauses ? .pause : .resume), number)
  }

  /// Accepts one connection.
  func takeOne(_ number: UInt32) { submit(Command(.resume, flags: CommandFlags.once), number) }

  private func submit(_ command: Command, _ number: UInt32) {
    var command = command
    command.length = number
    submit(command)
    publish()
  }

  // MARK: Commands

  func submit(_ command: Command) {
    waiting.append(command)
    flush()
  }

  private func flush() {
    while let command = waiting.first, let free = commands.freeCount(), free > 0 {
      commands.append(command)
      waiting.removeFirst()
    }
  }

  /// Shows the commands to the engine, and rings if it sleeps and has not been rung for.
  func publish() {
    flush()
    guard commands.hasUnpublished else { return }
    commands.publish()
    ringDoorbell()
  }

  /// Wakes the engine if it sleeps and has not been woken since it fell asleep.
  private func ringDoorbell() {
    atomicMemoryFence(ordering: .sequentiallyConsistent)
    let sleep = header.engineSleep.pointee.load(ordering: .relaxed)
    if sleep & 1 == 1, rungFor != sleep {
      rungFor = sleep
      engine.doorbells += 1
      engine.isDue = true
    }
  }

  func takeChunk() -> UInt32? {
    // A command must fit, too.
    guard waiting.isEmpty, let free = commands.freeCount(), free > 0 else { return nil }
    return freeChunks.popLast()
  }

  func write(_ byte: UInt8, _ chunk: UInt32, _ offset: Int) {
    let place = geometry.sendOffset + Int(chunk) * ChannelGeometry.sendChunkSize + offset
    memory.storeBytes(of: byte, toByteOffset: place, as: UInt8.self)
  }

  func received(_ chunk: UInt32, _ offset: Int) -> UInt8 {
    let place = geometry.receiveOffset + Int(chunk) * ChannelGeometry.receiveChunkSize + offset
    return memory.load(fromByteOffset: place, as: UInt8.self)
  }

  /// Writes an index of the shared header, as only a broken application does.
  func corrupt(_ index: (ChannelHeader) -> SharedIndex, _ value: UInt32) {
    index(header).pointee.store(value, ordering: .releasing)
    engine.isDue = true
  }

  /// The report that an inquiry asks for, nil as long as it is not complete.
  func inquire(_ inquiry: Command) -> () -> ConnectionReport? {
    var command = inquiry
    let place = inquiry.length
    inquiries += 1
    command.value = inquiries
    submit(command)
    publish()
    return { [self, sequence = UInt32(bitPattern: inquiries)] in
      guard place < ChannelHeader.reportCount,
        header.reportSequence(place).pointee.load(ordering: .acquiring) == sequence
      else { return nil }
      return header.report(place).pointee
    }
  }

  // MARK: Events

  /// The eventfd was written.
  func wake(in simulation: Simulation) {
    guard !isWaking, !isStopped else { return }
    isWaking = true
    if latency.nanoseconds == 0 {
      run()
    } else {
      simulation.after(latency) { [self] in run() }
    }
  }

  /// Takes all events, does what there is to do, and goes to sleep.
  func run() {
    isWaking = false
    guard !isDead else { return }
    header.applicationWaiters.pointee.store(0, ordering: .relaxed)
    repeat {
      takeEvents()
      onWake?()
      publish()
      header.applicationWaiters.pointee.store(1, ordering: .relaxed)
      atomicMemoryFence(ordering: .sequentiallyConsistent)
      if header.eventsWait.pointee.load(ordering: .relaxed) != 0 { ringDoorbell() }
    } while events.readyCount() != 0
  }

  /// Going to sleep without room to send, the application says so.
  func wantSpace() {
    submit(Command(.wantSpace))
    publish()
  }

  private func takeEvents() {
    guard let count = events.readyCount() else {
      problems.append("impossible event index")
      return
    }
    for position in 0..<count { take(events.element(at: position)) }
    events.release(count)
    eventCount += Int(count)
  }

  private func take(_ event: Event) {
    guard let kind = EventKind(rawValue: event.kind), event.slot < geometry.slotCount else {
      problems.append("event of kind \(event.kind) for slot \(event.slot)")
      return
    }
    switch kind {
    case .accepted:
      accepts(event)
    case .progress:
      guard let socket = sockets[event.slot] else {
        // Stale: posted before the engine saw the close.
        if event.acknowledged > 0 { problems.append("acknowledged on a free slot") }
        return
      }
      note(socket.take(event), socket)
      forgetIfOver(socket)
    case .released:
      guard let socket = sockets.removeValue(forKey: event.slot) else {
        problems.append("released slot \(event.slot) was free")
        return
      }
      note(socket.release(), socket)
      freeSlots.append(event.slot)
    }
  }

  private func accepts(_ event: Event) {
    guard sockets[event.slot] == nil, event.slot < geometry.firstConnectSlot,
      let port = listenerPorts[event.listener], port == event.localPort
    else {
      problems.append("accepted on slot \(event.slot) for listener \(event.listener)")
      return
    }
    let socket = TestSocket(self, slot: event.slot, port: port, isServer: true)
    socket.endpoint = event
    sockets[event.slot] = socket
    accepted.append(socket)
    note(socket.take(event), socket)
  }

  private func note(_ problem: String?, _ socket: TestSocket) {
    if let problem { problems.append("slot \(socket.slot): \(problem)") }
  }

  /// An accepted slot is the engine's again when its connection is closed and its chunks are back.
  func forgetIfOver(_ socket: TestSocket) {
    if socket.isClosed, socket.isDrained, socket.slot < geometry.firstConnectSlot {
      sockets[socket.slot] = nil
    }
  }

  /// What should not be there when all connections are over.
  func leftovers() -> [String] {
    var found = problems
    if isDead { return found }
    if freeChunks.count != Int(geometry.sendChunkCount) {
      found.append("\(Int(geometry.sendChunkCount) - freeChunks.count) send chunks with the engine")
    }
    for (slot, socket) in sockets {
      found.append("slot \(slot) in use, \(socket.isClosed ? "closed" : "open")")
    }
    if !waiting.isEmpty { found.append("\(waiting.count) commands waiting") }
    return found
  }
}
