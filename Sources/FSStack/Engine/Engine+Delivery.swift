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
      scheduleAcknowledgement(id, payload.count, now: now)
    }
  }

  /// Copies bytes into receive chunks; returns how many found room.
  mutating func deliver(_ id: ConnectionID, _ bytes: UnsafeRawBufferPointer) -> Int {
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
  mutating func consume(_ id: ConnectionID, _ count: UInt32, now: Instant) -> Bool {
    guard count > 0 else { return true }
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
    adjustReceiveBuffer(id, now: now)
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
      scheduleAcknowledgement(id, 0, now: now)
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
}
