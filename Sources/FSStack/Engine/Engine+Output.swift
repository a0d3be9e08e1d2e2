import FSRing

// Segments on their way out. Everything is sent at the end of a burst, when the application has had
// its turn: one segment then carries the data, the FIN and the acknowledgement.

extension Engine {
  /// Sends what connections have to send.
  mutating func flushOutput(now: Instant) {
    var stalled = ListHead<ConnectionID>()
    while let id = outputLinks.popFirst(of: &output) {
      if !send(id, now: now) { outputLinks.append(id, to: &stalled) }
    }
    // Without free frames they try again at the end of the next burst.
    output = stalled
  }

  /// Sends what the windows and the application let go out. False: no free frame.
  private mutating func send(_ id: ConnectionID, now: Instant) -> Bool {
    switch connections[id].state {
    case .closed, .listen, .timeWait:
      return true
    case .synSent, .synReceived:
      return sendSynchronize(id, now: now)
    case .established, .finWait1, .finWait2, .closeWait, .closing, .lastAck:
      break
    }
    if connections[id].flags.contains(.retransmitFirst) {
      guard retransmitFirst(id, now: now) else { return false }
    }
    if connections[id].flags.contains(.probe) {
      guard sendProbe(id, now: now) else { return false }
    }
    if connections[id].hasUnsent {
      guard sendQueued(id, now: now) else { return false }
    }
    if connections[id].flags.contains(.acknowledgeNow) {
      let sequence = connections[id].acknowledgementSequence
      guard transmit(id, at: sequence, length: 0, flags: .ack, now: now) else { return false }
      counters.pureAcknowledgements += 1
    }
    return true
  }

  // MARK: Data

  /// Sends queued bytes as the windows allow (RFC 9293 section 3.8.6.2.1).
  private mutating func sendQueued(_ id: ConnectionID, now: Instant) -> Bool {
    restartAfterIdle(id, now: now)
    while connections[id].hasUnsent {
      let usable = connections[id].usableWindow()
      let unsent = Int(max(connections[id].sendQueueEnd - connections[id].sendNext, 0))
      let length = min(min(unsent, usable), Int(connections[id].segmentSize))
      let isLast = length == unsent
      let finishes = isLast && connections[id].flags.contains(.finQueued)
      if length <= 0 && !(finishes && unsent == 0 && usable >= 0) {
        persistIfClosed(id, now: now)
        return true
      }
      guard finishes || connections[id].maySend(UInt32(length), isLast: isLast) else {
        holdPartial(id, now: now)
        return true
      }
      guard sendNext(id, length: length, finishes: finishes, isLast: isLast, now: now) else {
        return false
      }
      // An override is for one segment: the rest of a small window is not worth another.
      if length < Int(connections[id].segmentSize) { connections[id].flags.remove(.pushNow) }
    }
    connections[id].flags.remove(.pushNow)
    connections[id].pushAt = .never
    return true
  }

  /// Sends the bytes at SND.NXT and moves it on.
  private mutating func sendNext(
    _ id: ConnectionID, length: Int, finishes: Bool, isLast: Bool, now: Instant
  ) -> Bool {
    let sequence = connections[id].sendNext
    var flags: TCPFlags = isLast && length > 0 ? [.ack, .psh] : .ack
    if finishes { flags.insert(.fin) }
    guard transmit(id, at: sequence, length: length, flags: flags, now: now) else { return false }
    if sequence < connections[id].sendMaximum {
      counters.retransmissions += 1
    } else if !connections[id].flags.contains(.timing) {
      connections[id].flags.insert(.timing)
      connections[id].timedSequence = sequence + UInt32(length) + (finishes ? 1 : 0)
      connections[id].timedAt = now
    }
    connections[id].sendNext = sequence + UInt32(length) + (finishes ? 1 : 0)
    connections[id].sendMaximum = max(connections[id].sendMaximum, connections[id].sendNext)
    if connections[id].unacknowledgedSince == .never { connections[id].unacknowledgedSince = now }
    if connections[id].retransmitAt == .never || connections[id].flags.contains(.persisting) {
      connections[id].flags.remove(.persisting)
      connections[id].retransmitAt = now + connections[id].roundTrip.current
      armTimers(id)
    }
    if finishes { finSent(id) }
    return true
  }

  /// The FIN is out (section 3.10.4).
  private func finSent(_ id: ConnectionID) {
    connections[id].flags.insert(.finSent)
    if connections[id].state == .established {
      connections[id].state = .finWait1
    } else if connections[id].state == .closeWait {
      connections[id].state = .lastAck
    }
  }

  private mutating func restartAfterIdle(_ id: ConnectionID, now: Instant) {
    guard !connections[id].hasOutstanding,
      now - connections[id].lastSentAt > connections[id].roundTrip.timeout
    else { return }
    connections[id].congestion.restartAfterIdle(segmentSize: connections[id].segmentSize)
  }

  /// With the window closed and nothing in flight a timer must ask for it (MUST-36), or a lost
  /// window update would stop the connection for ever.
  private mutating func persistIfClosed(_ id: ConnectionID, now: Instant) {
    guard !connections[id].hasOutstanding, connections[id].retransmitAt == .never else { return }
    connections[id].flags.insert(.persisting)
    connections[id].retransmitAt = now + connections[id].roundTrip.current
    armTimers(id)
  }

  /// A partial segment waits for an acknowledgement (Nagle) or for more bytes (TCP_CORK, MSG_MORE:
  /// 200 ms at most, as in Linux).
  private mutating func holdPartial(_ id: ConnectionID, now: Instant) {
    if !connections[id].flags.isDisjoint(with: [.cork, .more]), connections[id].pushAt == .never {
      connections[id].pushAt = now + .milliseconds(200)
      armTimers(id)
    }
    if !connections[id].hasOutstanding { persistIfSmall(id, now: now) }
  }

  /// The window is open, but by less than a segment that may be sent: override after a timeout
  /// (RFC 9293 section 3.8.6.2.1, rule 4).
  private mutating func persistIfSmall(_ id: ConnectionID, now: Instant) {
    let unsent = connections[id].sendQueueEnd - connections[id].sendNext
    if Int32(bitPattern: connections[id].sendWindow) < unsent { persistIfClosed(id, now: now) }
  }

  /// Sends the segment at SND.UNA again (fast retransmit, partial acknowledgement).
  private mutating func retransmitFirst(_ id: ConnectionID, now: Instant) -> Bool {
    connections[id].flags.remove(.retransmitFirst)
    guard connections[id].hasOutstanding else { return true }
    let sequence = connections[id].sendUnacknowledged
    let sent = Int(
      min(connections[id].sendMaximum, connections[id].sendQueueEnd) - sequence)
    let length = max(0, min(sent, Int(connections[id].segmentSize)))
    var flags: TCPFlags = .ack
    if connections[id].flags.contains(.finSent),
      sequence + UInt32(length) == connections[id].sendQueueEnd
    {
      flags.insert(.fin)
    }
    guard transmit(id, at: sequence, length: length, flags: flags, now: now) else {
      connections[id].flags.insert(.retransmitFirst)
      return false
    }
    counters.retransmissions += 1
    // A number sent twice says nothing about the round trip (Karn's algorithm, MUST-18).
    connections[id].flags.remove(.timing)
    connections[id].retransmitAt = now + connections[id].roundTrip.current
    armTimers(id)
    return true
  }

  /// Everything from SND.UNA on must be sent again, in order.
  mutating func goBack(_ id: ConnectionID) {
    connections[id].sendNext = connections[id].sendUnacknowledged
    connections[id].sendCursor = .max
    connections[id].flags.remove(.timing)
    connections[id].flags.remove(.retransmitFirst)
  }

  /// A segment without data just before SND.UNA: the peer answers with its acknowledgement and
  /// window (keep-alive of RFC 9293 section 3.8.4, and Linux's zero-window probe).
  private mutating func sendProbe(_ id: ConnectionID, now: Instant) -> Bool {
    let sequence = connections[id].sendUnacknowledged - UInt32(1)
    guard transmit(id, at: sequence, length: 0, flags: .ack, now: now) else { return false }
    connections[id].flags.remove(.probe)
    counters.probes += 1
    return true
  }

  // MARK: SYN

  /// Sends the SYN or SYN-ACK, for the first time or again.
  private mutating func sendSynchronize(_ id: ConnectionID, now: Instant) -> Bool {
    guard connections[id].sendNext == connections[id].sendUnacknowledged else {
      // Already out: only an acknowledgement can be owed, of a segment that was not acceptable.
      guard connections[id].state == .synReceived,
        connections[id].flags.contains(.acknowledgeNow)
      else { return true }
      let sequence = connections[id].sendMaximum
      return transmit(id, at: sequence, length: 0, flags: .ack, now: now)
    }
    if connections[id].state == .synSent, !resolvePath(id) { return true }
    let sequence = connections[id].sendUnacknowledged
    let flags: TCPFlags = connections[id].state == .synSent ? .syn : [.syn, .ack]
    guard transmit(id, at: sequence, length: 0, flags: flags, now: now) else { return false }
    if connections[id].sendMaximum != sequence {
      counters.retransmissions += 1
      connections[id].flags.insert(.synchronizeRetransmitted)
    } else {
      connections[id].timedAt = now
    }
    connections[id].sendNext = sequence + 1
    connections[id].sendMaximum = sequence + 1
    connections[id].retransmitAt = now + connections[id].roundTrip.current
    armTimers(id)
    return true
  }

  private func synchronizeOptions(_ id: ConnectionID, now: Instant) -> OutgoingOptions {
    let connection = connections[id]
    var options = OutgoingOptions()
    let mtu = interfaces[Int(connection.interface)].mtu
    options.maximumSegmentSize = UInt16(
      clamping: mtu - (connection.flow.local.isIPv4 ? 40 : 60))
    // An active open offers everything; a passive one what the SYN offered (RFC 7323).
    let offers = connection.state == .synSent
    if offers || connection.receiveScale != 0 || connection.sendScale != 0 {
      options.windowScale = connection.receiveScale
    }
    options.sackPermitted = offers || connection.flags.contains(.selectiveAcknowledgements)
    options.hasTimestamp = offers || connection.flags.contains(.timestamps)
    options.timestampValue = timestamp(connection.timestampOffset, now: now)
    options.timestampEcho = connection.recentTimestamp
    return options
  }

  // MARK: One segment

  /// Our timestamp clock: milliseconds, shifted for each connection.
  func timestamp(_ offset: UInt32, now: Instant) -> UInt32 {
    UInt32(truncatingIfNeeded: now.nanoseconds / 1_000_000) &+ offset
  }

  /// Builds one segment in a free frame and commits it. False: no free frame.
  private mutating func transmit(
    _ id: ConnectionID, at sequence: SequenceNumber, length: Int, flags: TCPFlags, now: Instant
  ) -> Bool {
    let interface = Int(connections[id].interface)
    let queue = interfaces[interface].transmit
    guard let frame = queue.allocate() else {
      drop(.transmitQueueFull)
      return false
    }
    var header = outgoingHeader(id, interface: interface)
    header.sequence = sequence
    header.flags = flags
    if flags.contains(.syn) {
      header.options = synchronizeOptions(id, now: now)
      header.window = UInt16(clamping: receiveSpace(id))
    } else {
      header.window = advertisedWindow(id)
      setOptions(id, &header, hasData: length > 0, now: now)
    }
    let target = unsafe queue.frame(frame)
    let headerLength = header.length
    let sum = unsafe gather(id, at: sequence, length: length, to: target + headerLength)
    unsafe header.write(to: target, payloadLength: length, payloadSum: sum)
    queue.commit(frame, length: headerLength + length)
    counters.framesSent += 1
    counters.bytesSent += UInt64(headerLength + length)
    connections[id].lastSentAt = now
    if flags.contains(.ack) {
      connections[id].lastAcknowledgementSent = connections[id].receiveNext
      connections[id].flags.remove(.acknowledgeNow)
      connections[id].acknowledgeAt = .never
    }
    return true
  }

  @inline(__always)
  private func outgoingHeader(_ id: ConnectionID, interface: Int) -> OutgoingHeader {
    var header = OutgoingHeader()
    header.sourceMAC = interfaces[interface].macAddress
    header.destinationMAC = connections[id].nextHop
    header.vlan = connections[id].vlan
    header.source = connections[id].flow.local
    header.destination = connections[id].flow.remote
    header.sourcePort = connections[id].flow.localPort
    header.destinationPort = connections[id].flow.remotePort
    header.hopLimit = connections[id].hopLimit
    header.trafficClass = connections[id].trafficClass
    header.acknowledgement = connections[id].receiveNext
    return header
  }

  @inline(__always)
  private func setOptions(
    _ id: ConnectionID, _ header: inout OutgoingHeader, hasData: Bool, now: Instant
  ) {
    if connections[id].flags.contains(.timestamps) {
      header.options.hasTimestamp = true
      header.options.timestampValue = timestamp(connections[id].timestampOffset, now: now)
      header.options.timestampEcho = connections[id].recentTimestamp
    }
    // Blocks go with pure acknowledgements only: they must not make a full segment too long.
    if !hasData, connections[id].reassemblyHead != .none,
      connections[id].flags.contains(.selectiveAcknowledgements)
    {
      let limit = header.options.hasTimestamp ? 3 : 4
      header.options.sackCount = reassembly.selectiveBlocks(
        of: &connections[id], limit: limit, into: &header.options.sackBlocks)
    }
  }

  /// Bytes that the application's buffer has room for.
  private func receiveSpace(_ id: ConnectionID) -> UInt32 {
    let unread = connections[id].unreadBytes
    let buffer = connections[id].receiveBuffer
    var space = buffer > unread ? buffer - unread : 0
    let channel = connections[id].channel
    if channel != .none {
      // When the channel's chunks run short nobody may promise more than a small share of them.
      let free = channels[channel].freeReceiveChunks
      let share = UInt32(ChannelGeometry.receiveChunkSize) / 2 * (free / 8)
      if free < channels[channel].geometry.receiveChunkCount / 4 { space = min(space, share) }
    }
    return space
  }

  /// The window field of a segment: the right edge moves only forward (SHLD-14), and only by a
  /// segment or half the buffer at least (receiver's SWS avoidance, MUST-39).
  @inline(__always)
  private func advertisedWindow(_ id: ConnectionID) -> UInt16 {
    let scale = UInt32(connections[id].receiveScale)
    let edge = connections[id].receiveNext + ((receiveSpace(id) >> scale) << scale)
    let gain = edge - connections[id].receiveEdge
    let step = min(
      Int32(connections[id].peerSegmentSize), Int32(connections[id].receiveBuffer / 2))
    if gain >= step { connections[id].receiveEdge = edge }
    return UInt16(clamping: connections[id].receiveWindow >> scale)
  }

  /// Whether enough has been read since the last segment that the peer should learn of it.
  func shouldUpdateWindow(_ id: ConnectionID) -> Bool {
    guard connections[id].state.canReceive else { return false }
    let gain =
      Int64(receiveSpace(id)) - Int64(connections[id].receiveWindow)
    let step = min(
      2 * Int64(connections[id].peerSegmentSize), Int64(connections[id].receiveBuffer / 2))
    let window = connections[id].receiveWindow
    return gain >= step && (window < connections[id].receiveBuffer / 2 || window == 0)
  }

  /// Copies queued bytes into a frame and returns their sum.
  @inline(__always)
  private func gather(
    _ id: ConnectionID, at sequence: SequenceNumber, length: Int, to target: UnsafeMutableRawPointer
  ) -> UInt64 {
    guard length > 0 else { return 0 }
    let channel = connections[id].channel
    var (chunk, chunkSequence) = locate(id, sequence)
    var sum: UInt64 = 0
    var copied = 0
    while copied < length {
      let record = channels[channel][send: chunk]
      let skip = Int((sequence + UInt32(copied)) - chunkSequence)
      let count = min(Int(record.length) - skip, length - copied)
      let part = unsafe Checksum.copy(
        from: channels[channel].sendBytes(chunk) + skip, to: target + copied, count: count)
      sum &+= copied & 1 == 0 ? part : Checksum.swapForOddOffset(part)
      copied += count
      if copied < length {
        chunkSequence += UInt32(record.length)
        chunk = record.next
      }
    }
    connections[id].sendCursor = chunk
    connections[id].sendCursorSequence = chunkSequence
    return sum
  }

  /// The chunk that holds a sequence number: from the cursor on, if that is not beyond it.
  @inline(__always)
  private func locate(_ id: ConnectionID, _ sequence: SequenceNumber) -> (UInt32, SequenceNumber) {
    var chunk = connections[id].sendCursor
    var start = connections[id].sendCursorSequence
    if chunk == .max || sequence < start {
      chunk = connections[id].sendHead
      start = connections[id].sendHeadSequence
    }
    while true {
      let record = channels[connections[id].channel][send: chunk]
      if sequence < start + UInt32(record.length) { return (chunk, start) }
      start += UInt32(record.length)
      chunk = record.next
    }
  }

  /// Gives back the chunks whose bytes are acknowledged, `count` bytes in all.
  @inline(__always)
  mutating func freeAcknowledged(_ id: ConnectionID, _ count: UInt32) {
    guard count > 0 else { return }
    counters.payloadAcknowledged += UInt64(count)
    let channel = connections[id].channel
    while connections[id].sendHead != .max {
      let chunk = connections[id].sendHead
      let record = channels[channel][send: chunk]
      let end = connections[id].sendHeadSequence + UInt32(record.length)
      guard end <= connections[id].sendUnacknowledged else { break }
      freeSendHead(id, record)
      connections[id].sendHeadSequence = end
    }
    connections[id].unreportedAcknowledged += count
    markDirty(id)
  }

  private func freeSendHead(_ id: ConnectionID, _ record: SendChunk) {
    let channel = connections[id].channel
    let chunk = connections[id].sendHead
    channels[channel][send: chunk].length = 0
    channels[channel].sendChunksInUse -= 1
    if connections[id].sendCursor == chunk { connections[id].sendCursor = .max }
    connections[id].sendHead = record.next
    if record.next == .max { connections[id].sendTail = .max }
  }

  /// Gives back everything queued.
  func freeQueued(_ id: ConnectionID) {
    guard connections[id].channel != .none else { return }
    while connections[id].sendHead != .max {
      freeSendHead(id, channels[connections[id].channel][send: connections[id].sendHead])
    }
  }
}
