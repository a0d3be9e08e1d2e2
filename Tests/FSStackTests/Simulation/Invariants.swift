import FSRing

@testable import FSStack

/// What must be true of an engine between bursts, whatever its peers, its applications and the
/// links do. One of these belongs to each engine and remembers what may only grow.
struct Invariants {
  /// What was seen of a connection after the burst before.
  private struct Memory {
    var flow: Flow
    var channel: ChannelID
    var sendUnacknowledged: SequenceNumber
    var sendMaximum: SequenceNumber
    var receiveNext: SequenceNumber
    var receiveEdge: SequenceNumber
  }

  private var memories: [UInt32: Memory] = [:]
  private var opens: UInt64 = 0
  /// What has been met: states of connections, closed windows, smaller paths.
  private(set) var states: Set<TCPState> = []
  private(set) var hasPersisted = false
  private(set) var hasReducedPath = false
  private var problems: [String] = []

  /// Looks at everything; returns what is wrong.
  mutating func check(_ engine: borrowing Engine, now: Instant) -> [String] {
    problems.removeAll(keepingCapacity: true)
    let connections = engine.connections
    var earliest = Instant.never
    var count: UInt32 = 0
    var uncommonCount: UInt32 = 0
    for raw in 0..<connections.watermark {
      let id = ConnectionID(raw: raw)
      guard connections.isAllocated(id) else { continue }
      count += 1
      let connection = connections[id]
      states.insert(connection.state)
      if connection.flags.contains(.persisting) { hasPersisted = true }
      let mtu = engine.interfaces[Int(connection.interface)].mtu
      if Int(connection.pathSegmentSize) < mtu - (connection.flow.local.isIPv4 ? 40 : 60) {
        hasReducedPath = true
      }
      let name = "connection \(raw) in \(connection.state): "
      let before = problems.count
      checkSequences(connection)
      checkTimers(
        connection, engine.uncommon(id), deadline: engine.deadline(of: id),
        isWaiting: engine.outputLinks.contains(id), now: now)
      checkReassembly(
        connection, engine.reassembly,
        hasRunShort: engine.drops[Int(DropReason.noReceiveChunk.rawValue)] > 0)
      problems += FlightInvariants(connection, engine).problems
      checkChunks(connection, engine.channels)
      checkTables(id, connection, engine)
      for index in before..<problems.count { problems[index] = name + problems[index] }
      earliest = min(earliest, engine.deadline(of: id))
      if connection.uncommon != .none { uncommonCount += 1 }
    }
    expect(
      uncommonCount == engine.uncommonStates.count,
      "\(engine.uncommonStates.count) uncommon states of \(uncommonCount) connections")
    expect(count == connections.count, "\(connections.count) connections, \(count) allocated")
    // A tick is a millisecond, and the wheel rounds up.
    let deadline = engine.nextDeadline() ?? .never
    expect(
      earliest == .never || deadline <= earliest + .milliseconds(2),
      "the wheel turns later than the earliest timer")
    checkTotals(engine)
    remember(engine)
    return problems
  }

  private mutating func expect(_ condition: Bool, _ problem: @autoclosure () -> String) {
    if !condition { problems.append(problem()) }
  }

  // MARK: Sequence space

  private mutating func checkSequences(_ connection: Connection) {
    let una = connection.sendUnacknowledged
    let flags = connection.flags
    expect(connection.sendNext - una >= 0, "SND.NXT is \(una - connection.sendNext) before SND.UNA")
    expect(connection.sendMaximum - connection.sendNext >= 0, "SND.NXT is beyond what was sent")
    let beyond = connection.sendMaximum - connection.sendQueueEnd
    expect(beyond <= (flags.contains(.finSent) ? 1 : 0), "\(beyond) sent beyond the queue")
    expect(
      !flags.contains(.finSent) || flags.contains(.finQueued),
      "a FIN sent that nobody has asked for")
    switch connection.state {
    case .finWait1, .closing, .lastAck:
      expect(flags.contains(.finSent) && beyond == 1, "no FIN was sent")
      expect(!connection.isFinAcknowledged, "the FIN is acknowledged")
    case .finWait2:
      expect(connection.isFinAcknowledged, "the FIN is not acknowledged")
    case .established, .closeWait, .synReceived, .synSent:
      expect(!flags.contains(.finSent), "a FIN was sent")
    case .listen, .timeWait:
      expect(false, "no state of a connection")
    case .closed:
      break
    }
    if connection.state >= .synReceived {
      expect(connection.receiveEdge - connection.receiveNext >= 0, "RCV.NXT is beyond the window")
      expect(connection.congestion.window >= 1, "no congestion window")
    }
  }

  // MARK: Timers

  /// Timers run if and only if they are needed.
  private mutating func checkTimers(
    _ connection: Connection, _ uncommon: UncommonState, deadline: Instant, isWaiting: Bool,
    now: Instant
  ) {
    let flags = connection.flags
    guard connection.state != .closed else {
      expect(deadline == .never, "a timer runs")
      return
    }
    expect(deadline == .never || deadline + .milliseconds(2) > now, "a timer is overdue")
    let hasTimer = connection.retransmitAt != .never
    if !isWaiting, !flags.contains(.awaitsPath) {
      if connection.hasOutstanding {
        expect(hasTimer, "data in flight without a timer")
      } else if connection.hasUnsent, connection.state >= .established {
        expect(
          hasTimer || uncommon.pushAt != .never || uncommon.pacer.isWaiting,
          "data waits for the window without a timer")
      } else {
        expect(!hasTimer, "a retransmission timer for nothing")
      }
    }
    expect(hasTimer || !flags.contains(.persisting), "persisting without a timer")
    expect(
      connection.state != .finWait2 || !flags.contains(.orphaned) || connection.lifeAt != .never,
      "an orphan waits for a FIN without a timer")
    guard connection.state >= .established else { return }
    expect(isWaiting || !flags.contains(.acknowledgeNow), "an acknowledgement was not sent")
    expect(
      connection.receiveNext - connection.lastAcknowledgementSent <= 0
        || connection.acknowledgeAt != .never || flags.contains(.acknowledgeNow),
      "received bytes without a timer to acknowledge them")
  }

  // MARK: Memory

  private mutating func checkReassembly(
    _ connection: Connection, _ buffers: ReassemblyBuffers, hasRunShort: Bool
  ) {
    let queue = connection.reassembly
    expect(queue == .none || connection.state != .closed, "segments queued")
    expect(buffers.count(of: queue) <= Int(buffers.perConnection), "too many buffers")
    // Ahead of a gap, unless nobody has taken the connection yet, or there was no room: then the chunk
    // that another connection gives back is used when something comes.
    let hasRoom = connection.channel != .none && !hasRunShort
    let next = connection.receiveNext
    expect(
      !hasRoom || buffers.bytes(of: queue, at: next).isEmpty, "the next bytes are queued")
    expect(!hasRoom || buffers.fin(of: queue) != next, "the FIN is next, and queued")
    var blocks = InlineArray<4, SACKBlock>(repeating: SACKBlock())
    let count = buffers.selectiveBlocks(of: queue, after: 0, limit: 4, into: &blocks)
    for position in 0..<count {
      let block = blocks[position]
      expect(block.right > block.left, "an empty range is reported")
      expect(
        block.left > next || connection.channel == .none || !hasRoom,
        "a range is reported that is not ahead")
      expect(block.right - connection.receiveEdge <= 1, "a range beyond the window is reported")
      for other in 0..<position {
        let isApart = blocks[other].left > block.right || block.left > blocks[other].right
        expect(isApart, "reported ranges overlap")
      }
    }
  }

  private mutating func checkChunks(
    _ connection: Connection, _ channels: Slab<ChannelID, ChannelState>
  ) {
    guard connection.channel != .none else {
      expect(connection.sendHead == .max && connection.receiveHead == .max, "chunks of no channel")
      return
    }
    let channel = channels[connection.channel]
    var sent = connection.sendHeadSequence
    var isCursorFound = connection.sendCursor == .max
    for (chunk, length) in Self.sendChunks(connection, channel) {
      expect(length > 0, "send chunk \(chunk) is empty")
      if chunk == connection.sendCursor {
        isCursorFound = true
        expect(sent == connection.sendCursorSequence, "the cursor's number is wrong")
      }
      sent += UInt32(length)
    }
    expect(isCursorFound, "the cursor stands in no chunk of the queue")
    if connection.state != .closed {
      let end = connection.sendHead == .max ? connection.sendUnacknowledged : sent
      let missing = connection.sendQueueEnd - end
      expect(
        connection.sendHead == .max
          ? missing <= 0 || connection.state < .established : missing == 0,
        "\(missing) queued bytes have no chunk")
    }
    var unread = 0
    for (chunk, record) in Self.receiveChunks(connection, channel) {
      expect(
        record.consumed <= record.posted && record.posted <= record.filled,
        "receive chunk \(chunk): \(record.consumed) <= \(record.posted) <= \(record.filled)")
      unread += Int(record.filled) - Int(record.consumed)
    }
    expect(
      unread == Int(connection.unreadBytes),
      "\(unread) bytes in chunks, \(connection.unreadBytes) counted")
  }

  /// The send chunks of a connection with their lengths; bounded, should they form a circle.
  private static func sendChunks(
    _ connection: Connection, _ channel: ChannelState
  ) -> [(chunk: UInt32, length: Int)] {
    var found: [(chunk: UInt32, length: Int)] = []
    var chunk = connection.sendHead
    while chunk != .max, found.count <= Int(channel.geometry.sendChunkCount) {
      found.append((chunk, Int(channel[send: chunk].length)))
      chunk = channel[send: chunk].next
    }
    return found
  }

  private static func receiveChunks(
    _ connection: Connection, _ channel: ChannelState
  ) -> [(chunk: UInt32, record: ReceiveChunk)] {
    var found: [(chunk: UInt32, record: ReceiveChunk)] = []
    var chunk = connection.receiveHead
    while chunk != .max, found.count <= Int(channel.geometry.receiveChunkCount) {
      found.append((chunk, channel[receive: chunk]))
      chunk = channel[receive: chunk].next
    }
    return found
  }

  // MARK: Tables

  private mutating func checkTables(
    _ id: ConnectionID, _ connection: Connection, _ engine: borrowing Engine
  ) {
    let isIndexed = connection.flags.contains(.indexed)
    expect(isIndexed == (connection.state != .closed), "indexed: \(isIndexed)")
    if isIndexed {
      let hash = engine.secret.hash(connection.flow)
      expect(
        engine.flows.find(connection.flow, hash: hash) == .connection(id),
        "its flow finds something else")
    }
    guard connection.channel != .none else {
      expect(connection.endpoint != .none, "neither application nor listener")
      return
    }
    let channel = engine.channels[connection.channel]
    guard connection.slot != .max else {
      expect(connection.flags.contains(.orphaned), "no slot")
      expect(connection.state != .closed, "neither peer nor application")
      return
    }
    expect(channel.connection(on: connection.slot) == id, "its slot has another")
    let reports: ConnectionFlags = [
      .reportConnected, .reportFinished, .reportFailed, .reportMoved,
    ]
    let hasNews =
      connection.unreportedAcknowledged > 0
      || !connection.flags.contains(.orphaned)
        && (!connection.flags.isDisjoint(with: reports) || connection.receiveUnposted != .max
          || !connection.flags.contains(.announced))
    expect(
      !hasNews || channel.isClosed || engine.ownerLinks.contains(id),
      "the application will not be told")
  }

  /// What connections hold is what their channels and endpoints have given.
  private mutating func checkTotals(_ engine: borrowing Engine) {
    let all = Self.connections(of: engine)
    for raw in 0..<engine.channels.watermark where engine.channels.isAllocated(ChannelID(raw: raw))
    {
      let channel = engine.channels[ChannelID(raw: raw)]
      let own = all.filter { $0.channel == ChannelID(raw: raw) }
      expect(
        own.count == channel.connectionCount,
        "channel \(raw): \(own.count) connections, \(channel.connectionCount) counted")
      let sent = own.reduce(0) { $0 + Self.sendChunks($1, channel).count }
      expect(
        sent == Int(channel.sendChunksInUse),
        "channel \(raw): \(sent) send chunks, \(channel.sendChunksInUse) counted")
      let received = own.reduce(0) { $0 + Self.receiveChunks($1, channel).count }
      expect(
        received == Int(channel.receiveChunksInUse),
        "channel \(raw): \(received) receive chunks, \(channel.receiveChunksInUse) counted")
    }
    let queued = all.reduce(0) { $0 + engine.reassembly.count(of: $1.reassembly) }
    expect(
      queued == engine.reassembly.count,
      "\(queued) buffers queued, \(engine.reassembly.count) in use")
    let orphans = all.count { $0.flags.contains(.countedOrphan) }
    expect(orphans == engine.orphanCount, "\(orphans) orphans, \(engine.orphanCount) counted")
    let rates = all.count { $0.receiveRate != .none }
    expect(
      rates == Int(engine.receiveRates.count),
      "\(rates) receive rates, \(engine.receiveRates.count) in use")
    checkEndpoints(all, engine)
    checkFlows(engine)
  }

  private mutating func checkEndpoints(_ all: [Connection], _ engine: borrowing Engine) {
    let endpoints = engine.listeners.endpoints
    for raw in 0..<endpoints.watermark where endpoints.isAllocated(EndpointID(raw: raw)) {
      let endpoint = endpoints[EndpointID(raw: raw)]
      let pending = all.count { $0.endpoint == EndpointID(raw: raw) }
      expect(
        pending == endpoint.pendingCount,
        "endpoint \(raw): \(pending) pending, \(endpoint.pendingCount) counted")
      let halfOpen = Self.halfOpen(of: engine).filter { $0.endpoint == EndpointID(raw: raw) }
      expect(
        halfOpen.count == endpoint.halfOpen,
        "endpoint \(raw): \(halfOpen.count) half-open, \(endpoint.halfOpen) counted")
      expect(
        halfOpen.count { $0.attempts == 0 } == endpoint.young,
        "endpoint \(raw): \(endpoint.young) young counted")
    }
  }

  /// No flow is in two tables: each record finds itself.
  private mutating func checkFlows(_ engine: borrowing Engine) {
    let flows = engine.flows
    for id in (0..<flows.halfOpen.watermark).map(HalfOpenID.init(raw:))
    where flows.halfOpen.isAllocated(id) {
      let flow = flows.halfOpen[id].flow
      let found = flows.find(flow, hash: engine.secret.hash(flow))
      expect(found == .halfOpen(id), "half-open \(id.raw) finds something else")
    }
    for id in (0..<flows.timeWait.watermark).map(TimeWaitID.init(raw:))
    where flows.timeWait.isAllocated(id) {
      let flow = flows.timeWait[id].flow
      let found = flows.find(flow, hash: engine.secret.hash(flow))
      expect(found == .timeWait(id), "TIME-WAIT \(id.raw) finds something else")
    }
  }

  private static func halfOpen(of engine: borrowing Engine) -> [HalfOpen] {
    let records = engine.halfOpen.records
    return (0..<records.watermark).map(HalfOpenID.init(raw:))
      .filter(records.isAllocated).map { records[$0] }
  }

  private static func connections(of engine: borrowing Engine) -> [Connection] {
    let connections = engine.connections
    return (0..<connections.watermark).map(ConnectionID.init(raw:))
      .filter(connections.isAllocated).map { connections[$0] }
  }

  // MARK: What only grows

  private mutating func remember(_ engine: borrowing Engine) {
    let connections = engine.connections
    // A place in the slab, and even a flow, may have got a new connection in the meantime.
    let opened = engine.counters.activeOpens + engine.counters.passiveOpens
    let mayCompare = opened == opens
    opens = opened
    var current: [UInt32: Memory] = [:]
    for raw in 0..<connections.watermark where connections.isAllocated(ConnectionID(raw: raw)) {
      let connection = connections[ConnectionID(raw: raw)]
      guard connection.state >= .synReceived else { continue }
      if mayCompare, let before = memories[raw], before.flow == connection.flow {
        compare(connection, before, "connection \(raw) in \(connection.state): ")
      }
      current[raw] = Memory(
        flow: connection.flow, channel: connection.channel,
        sendUnacknowledged: connection.sendUnacknowledged, sendMaximum: connection.sendMaximum,
        receiveNext: connection.receiveNext, receiveEdge: connection.receiveEdge)
    }
    memories = current
  }

  private mutating func compare(_ connection: Connection, _ before: Memory, _ name: String) {
    expect(
      connection.sendUnacknowledged - before.sendUnacknowledged >= 0, name + "SND.UNA went back")
    expect(connection.sendMaximum - before.sendMaximum >= 0, name + "what was sent went back")
    expect(
      connection.receiveEdge - before.receiveEdge >= 0, name + "the window's right edge went left")
    // Bytes that nobody has read are received again for another acceptor.
    expect(
      connection.receiveNext - before.receiveNext >= 0 || connection.channel != before.channel,
      name + "RCV.NXT went back")
  }
}

extension Invariants {
  /// What is left of connections when all of them, and their TIME-WAIT, should be over.
  static func leftovers(_ engine: borrowing Engine) -> [String] {
    var found: [String] = []
    func note(_ count: Int, _ name: String) { if count != 0 { found.append("\(count) \(name)") } }
    for connection in connections(of: engine) { found.append("in \(connection.state)") }
    note(Int(engine.timeWait.records.count), "in TIME-WAIT")
    note(engine.reassembly.count, "buffers queued")
    if engine.nextDeadline() != nil { found.append("a timer runs") }
    if !engine.output.isEmpty { found.append("something waits to be sent") }
    return found
  }
}
