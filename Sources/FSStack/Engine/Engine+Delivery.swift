import FSRing

// Received bytes on their way to the application.

extension Engine {
  /// Delivers the next bytes of the stream, and the FIN behind them.
  @inline(__always)
  mutating func deliverInOrder(
    _ id: ConnectionID, _ payload: UnsafeRawBufferPointer, isFinished: Bool, now: Instant
  ) {
    // What exceeds the window is the peer's fault, and is cut off with the FIN behind it.
    let count = min(payload.count, Int(connections[id].receiveWindow))
    let taken = unsafe deliver(id, UnsafeRawBufferPointer(rebasing: payload[..<count]))
    connections[id].receiveNext += UInt32(taken)
    guard taken == payload.count else {
      acknowledgeSoon(id)
      return
    }
    if isFinished {
      finArrives(id, now: now)
    } else {
      scheduleAcknowledgement(id, now: now)
    }
  }

  /// A segment that is not simply the next one: trims it, queues it, and delivers what has become
  /// contiguous.
  @inline(never)
  mutating func queueOrDeliver(
    _ id: ConnectionID, _ sequence: SequenceNumber, _ payload: UnsafeRawBufferPointer,
    isFinished: Bool, now: Instant
  ) {
    var start = sequence
    var bytes = unsafe payload
    var finished = isFinished
    let old = connections[id].receiveNext - start
    if old > 0 {
      let skipped = min(Int(old), bytes.count)
      unsafe bytes = UnsafeRawBufferPointer(rebasing: bytes[skipped...])
      start += UInt32(skipped)
      guard start == connections[id].receiveNext else { return }
    }
    let room = Int(max(connections[id].receiveEdge - start, 0))
    if bytes.count > room {
      unsafe bytes = UnsafeRawBufferPointer(rebasing: bytes[..<room])
      finished = false
    }
    if start != connections[id].receiveNext {
      counters.outOfOrder += 1
      connections[id].tally.outOfOrderIn &+= 1
    }
    guard bytes.count > 0 || finished else {
      acknowledgeSoon(id)
      return
    }
    if connections[id].channel == .none {
      unsafe enqueue(id, bytes, at: start, isFinished: finished)
      return
    }
    // At once: the peer learns of the gap, or that it is filled (RFC 5681 section 4.2). Before the
    // delivery, which may end the connection.
    acknowledgeSoon(id)
    guard start == connections[id].receiveNext else {
      unsafe enqueue(id, bytes, at: start, isFinished: finished)
      return
    }
    // What fills the gap needs no place in the queue, which may be full.
    let taken = unsafe deliver(id, bytes)
    connections[id].receiveNext += UInt32(taken)
    guard taken == bytes.count else { return }
    if finished {
      // The same FIN may be queued, from when it came without these bytes.
      reassembly.removeAll(of: &connections[id])
      finArrives(id, now: now)
    } else {
      drainReassembly(id, now: now)
    }
  }

  private mutating func enqueue(
    _ id: ConnectionID, _ bytes: UnsafeRawBufferPointer, at start: SequenceNumber, isFinished: Bool
  ) {
    if unsafe !reassembly.insert(bytes, at: start, isFinished: isFinished, into: &connections[id]) {
      drop(.reassemblyFull)
    }
  }

  /// Takes everything that an application was given and has not read back into the queue of segments,
  /// as if it had just arrived, for another application. False if there is no room.
  mutating func takeBack(_ id: ConnectionID) -> Bool {
    var isComplete = true
    var end = connections[id].receiveNext
    if connections[id].state == .closeWait {
      // Its FIN will be delivered again, too.
      connections[id].state = .established
      end = end - UInt32(1)
      isComplete = unsafe reassembly.insert(
        UnsafeRawBufferPointer(start: nil, count: 0), at: end, isFinished: true,
        into: &connections[id])
    }
    var sequence = end - connections[id].unreadBytes
    connections[id].receiveNext = sequence
    let channel = connections[id].channel
    var chunk = connections[id].receiveHead
    while chunk != .max, isComplete {
      let bytes = unsafe channels[channel].unreadBytes(chunk)
      isComplete = unsafe reassembly.insert(
        bytes, at: sequence, isFinished: false, into: &connections[id])
      sequence += UInt32(bytes.count)
      chunk = channels[channel][receive: chunk].next
    }
    connections[id].tally.bytesReceived -= UInt64(connections[id].unreadBytes)
    freeReceived(id)
    takeBackUrgent(id)
    return isComplete
  }

  /// Delivers queued segments that have become contiguous.
  mutating func drainReassembly(_ id: ConnectionID, now: Instant) {
    while connections[id].reassemblyHead != .none {
      let segment = reassembly.segments[connections[id].reassemblyHead]
      let skip = connections[id].receiveNext - segment.sequence
      guard skip >= 0 else { return }
      let bytes = unsafe reassembly.bytes(connections[id].reassemblyHead)
      if Int(skip) < bytes.count {
        let rest = unsafe UnsafeRawBufferPointer(rebasing: bytes[Int(skip)...])
        let taken = unsafe deliver(id, rest)
        connections[id].receiveNext += UInt32(taken)
        guard taken == rest.count else { return }
        acknowledgeSoon(id)
      }
      let finished = segment.isFinished && connections[id].receiveNext == segment.end
      reassembly.removeFirst(of: &connections[id])
      if finished {
        reassembly.removeAll(of: &connections[id])
        finArrives(id, now: now)
        return
      }
    }
  }

  /// Copies bytes into receive chunks; returns how many found room.
  private mutating func deliver(_ id: ConnectionID, _ bytes: UnsafeRawBufferPointer) -> Int {
    guard bytes.count > 0 else { return 0 }
    if connections[id].flags.contains(.orphaned) { return bytes.count }
    let channel = connections[id].channel
    var taken = 0
    while taken < bytes.count {
      let tail = connections[id].receiveTail
      let size = ChannelGeometry.receiveChunkSize
      var room = tail == .max ? 0 : size - Int(channels[channel][receive: tail].filled)
      var chunk = tail
      // A small segment joins the last chunk; one that does not fit gets a chunk of its own, so
      // that an ordinary segment is one piece.
      if room < min(bytes.count - taken, size) {
        guard let new = channels[channel].allocateReceiveChunk() else {
          drop(.noReceiveChunk)
          break
        }
        appendReceiveChunk(new, to: id)
        chunk = new
        room = size
      }
      let count = min(room, bytes.count - taken)
      unsafe channels[channel].append(
        UnsafeRawBufferPointer(rebasing: bytes[taken..<taken + count]), to: chunk)
      if connections[id].receiveUnposted == .max { connections[id].receiveUnposted = chunk }
      taken += count
    }
    connections[id].unreadBytes += UInt32(taken)
    connections[id].tally.bytesReceived &+= UInt64(taken)
    counters.payloadDelivered += UInt64(taken)
    markDirty(id)
    return taken
  }

  private func appendReceiveChunk(_ chunk: UInt32, to id: ConnectionID) {
    let tail = connections[id].receiveTail
    if tail == .max {
      connections[id].receiveHead = chunk
    } else {
      channels[connections[id].channel][receive: tail].next = chunk
    }
    connections[id].receiveTail = chunk
  }

  /// The application has read `count` bytes: their chunks are free again. False if it claims more
  /// than it was told of.
  mutating func consume(_ id: ConnectionID, _ count: UInt32) -> Bool {
    let channel = connections[id].channel
    var rest = count
    while rest > 0 {
      let chunk = connections[id].receiveHead
      guard chunk != .max else { return false }
      var record = channels[channel][receive: chunk]
      let available = UInt32(record.posted - record.consumed)
      guard available > 0 else { return false }
      let part = min(rest, available)
      record.consumed += UInt16(part)
      rest -= part
      channels[channel][receive: chunk] = record
      if record.consumed == record.filled { freeReceiveHead(id) }
    }
    connections[id].unreadBytes -= count
    return true
  }

  private func freeReceiveHead(_ id: ConnectionID) {
    let chunk = connections[id].receiveHead
    let channel = connections[id].channel
    let next = channels[channel][receive: chunk].next
    connections[id].receiveHead = next
    if next == .max { connections[id].receiveTail = .max }
    if connections[id].receiveUnposted == chunk { connections[id].receiveUnposted = next }
    channels[channel].freeReceiveChunk(chunk)
  }

  /// Frees everything received that nobody will read.
  func freeReceived(_ id: ConnectionID) {
    while connections[id].receiveHead != .max { freeReceiveHead(id) }
    connections[id].unreadBytes = 0
  }

  /// The peer's FIN is the next in the stream (section 3.10.7.4, eighth step).
  mutating func finArrives(_ id: ConnectionID, now: Instant) {
    connections[id].receiveNext += 1
    connections[id].receiveEdge = max(connections[id].receiveEdge, connections[id].receiveNext)
    connections[id].flags.insert(.reportFinished)
    markDirty(id)
    switch connections[id].state {
    case .established:
      connections[id].state = .closeWait
      // The application often answers with its own FIN: wait for its turn.
      scheduleAcknowledgement(id, now: now)
      return
    case .finWait1:
      connections[id].state = .closing
    case .finWait2:
      connections[id].flags.insert(.acknowledgeNow)
      enterTimeWait(id, now: now)
      return
    case .closed, .listen, .synSent, .synReceived, .closeWait, .closing, .lastAck, .timeWait:
      preconditionFailure("a FIN is taken only while the peer may send")
    }
    acknowledgeSoon(id)
  }

  /// Decides when to acknowledge what was delivered: every second full segment at once
  /// (RFC 9293 SHLD-19), else when the application has had a turn, so that its answer carries the
  /// acknowledgement.
  @inline(__always)
  private mutating func scheduleAcknowledgement(_ id: ConnectionID, now: Instant) {
    let unacknowledged = connections[id].receiveNext - connections[id].lastAcknowledgementSent
    if unacknowledged >= 2 * Int32(connections[id].peerSegmentSize) {
      acknowledgeSoon(id)
      return
    }
    guard connections[id].acknowledgeAt == .never else { return }
    let delay = connections[id].flags.contains(.interactive) ? 40 : 1
    connections[id].acknowledgeAt = now + .milliseconds(UInt64(delay))
    armTimers(id)
  }
}
