// The SYN cache: passive opens between SYN and third acknowledgement, which is SYN-RECEIVED of
// RFC 9293 section 3.10.7.4 without a control block.

extension Engine {
  /// A SYN for a listener. `initial` is our initial sequence number when the flow was in TIME-WAIT.
  mutating func synchronizeArrives(
    _ segment: inout Segment, _ flow: Flow, hash: UInt64, endpoint: EndpointID, interface: Int,
    initial: SequenceNumber?, now: Instant
  ) {
    guard listeners.endpoints[endpoint].hasRoom else {
      // The peer will try again (as Linux with a full accept queue).
      drop(.listenQueueFull)
      return
    }
    var offer = SynchronizeOffer(
      segment, usesECN: acceptsECN(segment, algorithm: configuration.congestionAlgorithm))
    // TCP_MAXSEG of the listener: no larger ones are sent, whatever the peer takes.
    let limit = listeners.endpoints[endpoint].userSegmentSize
    if limit != 0 { offer.maximumSegmentSize = min(offer.maximumSegmentSize, limit) }
    let isFull =
      listeners.endpoints[endpoint].halfOpen >= listeners.endpoints[endpoint].backlog
    // A flow that was in TIME-WAIT needs a number above its last one, which no cookie is; its peer
    // has proved that it is no flood.
    if isFull && initial == nil || halfOpen.isFull {
      sendCookie(
        answering: &segment, flow, offer, endpoint: endpoint, interface: interface, now: now)
      return
    }
    let record = HalfOpen(
      flow: flow, offer: offer, initial: initial ?? secret.initialSequence(flow, now: now),
      endpoint: endpoint, nextHop: segment.sourceMAC, vlan: segment.vlan,
      interface: UInt8(interface))
    guard let id = halfOpen.insert(record, hash: hash, now: now) else { return }
    listeners.endpoints[endpoint].halfOpen += 1
    listeners.endpoints[endpoint].young += 1
    sendSynchronizeAcknowledgement(id, now: now)
  }

  /// A segment of a half-open flow.
  @inline(never)
  mutating func halfOpenSegmentArrives(
    _ id: HalfOpenID, _ segment: inout Segment, _ payload: UnsafeRawBufferPointer, hash: UInt64,
    now: Instant
  ) {
    let record = halfOpen.records[id]
    let receiveNext = record.offer.sequence + 1
    if segment.flags.contains(.syn), !segment.flags.contains(.ack),
      segment.sequence == record.offer.sequence
    {
      // Our SYN-ACK was lost, or is on its way: once more, by what the first SYN offered. Only the
      // timestamp is that of the SYN it answers (RFC 7323 section 4.3), and a peer that no longer
      // asks for ECN has given it up (RFC 3168 section 6.1.1.1).
      if !acceptsECN(segment, algorithm: configuration.congestionAlgorithm) {
        halfOpen.records[id].offer.flags.remove(.congestionNotification)
      }
      if record.offer.flags.contains(.timestamps), segment.options.hasTimestamp,
        Int32(
          bitPattern: segment.options.timestampValue &- record.offer.recentTimestamp) > 0
      {
        halfOpen.records[id].offer.recentTimestamp = segment.options.timestampValue
      }
      guard halfOpen.mayAnswer(id, now: now) else { return }
      halfOpen.records[id].isRetransmitted = true
      counters.retransmissions += 1
      sendSynchronizeAcknowledgement(id, now: now)
      return
    }
    guard isAcceptable(id, &segment, now: now) else { return }
    if segment.flags.contains(.rst) {
      guard segment.sequence == receiveNext else {
        challenge(id, now: now)
        return
      }
      // A passive open returns to LISTEN and tells nobody (MUST-11).
      counters.resetsReceived += 1
      forget(id)
      return
    }
    if segment.flags.contains(.syn) {
      // RFC 5961 section 4: a peer that has really begun anew answers with RST.
      challenge(id, now: now)
      return
    }
    guard segment.flags.contains(.ack) else { return }
    guard segment.acknowledgement == record.initial + 1 else {
      sendReset(answering: &segment, record.flow, interface: Int(record.interface))
      drop(.ackUnacceptable)
      return
    }
    let isBare = segment.payloadLength == 0 && !segment.flags.contains(.fin)
    if isBare, record.attempts < listeners.endpoints[record.endpoint].deferAccept {
      halfOpen.records[id].isAcknowledged = true
      return
    }
    guard listeners.endpoints[record.endpoint].hasRoom, !connections.isFull else {
      // As Linux: the peer is not told, and the SYN-ACK goes out again until there is room.
      halfOpen.records[id].isAcknowledged = true
      drop(connections.isFull ? .connectionTableFull : .listenQueueFull)
      return
    }
    forget(id)
    unsafe completePassiveOpen(
      PassiveOpen(record), &segment, payload, record.flow, hash: hash, now: now)
  }

  /// First step of section 3.10.7.4: timestamp and sequence number.
  private mutating func isAcceptable(
    _ id: HalfOpenID, _ segment: inout Segment, now: Instant
  ) -> Bool {
    let record = halfOpen.records[id]
    let receiveNext = record.offer.sequence + 1
    let isReset = segment.flags.contains(.rst)
    // As Linux: a SYN whose timestamp is 0 says nothing of the clock.
    if !isReset, record.offer.flags.contains(.timestamps), segment.options.hasTimestamp,
      record.offer.recentTimestamp != 0,
      Int32(bitPattern: segment.options.timestampValue &- record.offer.recentTimestamp) < 0
    {
      drop(.pawsRejected)
      challenge(id, now: now)
      return false
    }
    var length = UInt32(segment.payloadLength)
    if segment.flags.contains(.syn) { length += 1 }
    if segment.flags.contains(.fin) { length += 1 }
    let window = firstWindow
    let isWithin =
      segment.sequence.isWithin(receiveNext, window)
      || length > 0 && (segment.sequence + (length - 1)).isWithin(receiveNext, window)
    if !isWithin {
      drop(.outOfWindow)
      if !isReset { challenge(id, now: now) }
    }
    return isWithin
  }

  /// What a SYN or SYN-ACK offers: the window field has no scale there.
  var firstWindow: UInt32 {
    min(min(configuration.initialReceiveBuffer, configuration.receiveBuffer), 65535)
  }

  /// Acknowledges what proves nothing, within the limit of each record.
  private mutating func challenge(_ id: HalfOpenID, now: Instant) {
    guard halfOpen.mayAnswer(id, now: now) else { return }
    let record = halfOpen.records[id]
    var header = header(to: record)
    header.sequence = record.initial + 1
    header.acknowledgement = record.offer.sequence + 1
    header.flags = .ack
    // Only a SYN has no scale (RFC 7323 section 2.2).
    let isScaled = record.offer.windowScale != SegmentOptions.absentWindowScale
    let scale = isScaled ? Self.windowScale(configuration.receiveBuffer) : 0
    header.window = UInt16(clamping: firstWindow >> UInt32(scale))
    if record.offer.flags.contains(.timestamps) {
      header.options.hasTimestamp = true
      header.options.timestampValue = timestamp(
        timestampOffsets.offset(record.flow.local, record.flow.remote), now: now)
      header.options.timestampEcho = record.offer.recentTimestamp
    }
    transmit(&header, record.flow, interface: Int(record.interface))
    counters.challengeAcknowledgements += 1
  }

  private func header(to record: HalfOpen) -> OutgoingHeader {
    var header = OutgoingHeader()
    header.destinationMAC = record.nextHop
    header.vlan = record.vlan
    return header
  }

  private mutating func sendSynchronizeAcknowledgement(_ id: HalfOpenID, now: Instant) {
    let record = halfOpen.records[id]
    var header = header(to: record)
    let clock = timestamp(
      timestampOffsets.offset(record.flow.local, record.flow.remote), now: now)
    sendSynchronizeAcknowledgement(
      &header, record.flow, record.offer, endpoint: record.endpoint, initial: record.initial,
      timestamp: clock, interface: Int(record.interface))
  }

  /// Answers a SYN with what we offer in return: the segment size (MUST-14, MUST-67, SHLD-5), else
  /// only what the SYN offered (RFC 7323, RFC 2018).
  mutating func sendSynchronizeAcknowledgement(
    _ header: inout OutgoingHeader, _ flow: Flow, _ offer: SynchronizeOffer,
    endpoint: EndpointID, initial: SequenceNumber, timestamp: UInt32, interface: Int
  ) {
    header.sequence = initial
    header.acknowledgement = offer.sequence + 1
    header.flags = [.syn, .ack]
    if offer.flags.contains(.congestionNotification) { header.flags.insert(.ece) }
    header.window = UInt16(clamping: firstWindow)
    header.options.maximumSegmentSize = UInt16(
      clamping: interfaces[interface].mtu - (flow.local.isIPv4 ? 40 : 60))
    let limit = listeners.endpoints[endpoint].userSegmentSize
    if limit != 0 {
      header.options.maximumSegmentSize = min(header.options.maximumSegmentSize, limit)
    }
    if offer.windowScale != SegmentOptions.absentWindowScale {
      header.options.windowScale = Self.windowScale(configuration.receiveBuffer)
    }
    header.options.sackPermitted = offer.flags.contains(.sackPermitted)
    if offer.flags.contains(.timestamps) {
      header.options.hasTimestamp = true
      header.options.timestampValue = timestamp
      header.options.timestampEcho = offer.recentTimestamp
    }
    transmit(&header, flow, interface: interface)
  }

  /// Takes a record out of the cache.
  mutating func forget(_ id: HalfOpenID) {
    let record = halfOpen.records[id]
    listeners.endpoints[record.endpoint].halfOpen -= 1
    if record.attempts == 0 { listeners.endpoints[record.endpoint].young -= 1 }
    halfOpen.remove(id)
  }

  /// Resets the peer of a half-open connection, and forgets it.
  mutating func abort(_ id: HalfOpenID) {
    let record = halfOpen.records[id]
    var header = header(to: record)
    header.sequence = record.initial + 1
    header.acknowledgement = record.offer.sequence + 1
    header.flags = [.rst, .ack]
    transmit(&header, record.flow, interface: Int(record.interface))
    counters.resetsSent += 1
    forget(id)
  }

  // MARK: Timers

  /// Sends SYN-ACKs again, and gives up what was tried often enough: Linux's reqsk_timer_handler. A
  /// flood's timers may all be due at once: what one burst does of them is limited, the rest is due
  /// in the next.
  mutating func expireHalfOpen(now: Instant) {
    var budget = 256
    while budget > 0, let id = halfOpen.due(by: now) {
      budget -= 1
      let record = halfOpen.records[id]
      let endpoint = listeners.endpoints[record.endpoint]
      let isTried = record.attempts >= endpoint.synchronizeAttempts
      let isDeferred = record.isAcknowledged && record.attempts < endpoint.deferAccept
      if isTried && !isDeferred {
        forget(id)
        continue
      }
      if record.attempts == 0 { listeners.endpoints[record.endpoint].young -= 1 }
      halfOpen.waitAgain(id, now: now)
      // While data is waited for the SYN-ACK rests, up to a last one that gives the peer a chance.
      if !isDeferred || record.attempts + 1 >= endpoint.deferAccept {
        halfOpen.records[id].isRetransmitted = true
        counters.retransmissions += 1
        sendSynchronizeAcknowledgement(id, now: now)
      }
    }
  }
}
