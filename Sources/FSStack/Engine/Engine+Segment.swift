// SEGMENT ARRIVES: RFC 9293 section 3.10.7, for connections in the table.

extension Engine {
  /// A segment of the flow of a connection arrives.
  @inline(__always)
  mutating func segmentArrives(
    _ id: ConnectionID, _ segment: inout Segment, _ payload: UnsafeRawBufferPointer,
    now: Instant
  ) {
    if connections[id].state >= .established {
      unsafe synchronizedSegmentArrives(id, &segment, payload, now: now)
    } else if connections[id].state == .synSent {
      synSentSegmentArrives(id, &segment, now: now)
    } else {
      unsafe synReceivedSegmentArrives(id, &segment, payload, now: now)
    }
  }

  // MARK: SYN-SENT (section 3.10.7.3)

  @inline(never)
  private mutating func synSentSegmentArrives(
    _ id: ConnectionID, _ segment: inout Segment, now: Instant
  ) {
    let flags = segment.flags
    let isAcknowledged =
      flags.contains(.ack)
      && segment.acknowledgement - connections[id].sendUnacknowledged > 0
      && segment.acknowledgement <= connections[id].sendMaximum
    if flags.contains(.ack) && !isAcknowledged {
      if !flags.contains(.rst) { sendReset(answering: &segment, of: id) }
      drop(.ackUnacceptable)
      return
    }
    if flags.contains(.rst) {
      if isAcknowledged {
        counters.resetsReceived += 1
        fail(id, SocketError.connectionRefused)
      }
      return
    }
    guard flags.contains(.syn) else { return }
    acceptOptions(id, &segment)
    connections[id].receiveNext = segment.sequence + 1
    // What our SYN offered, unscaled.
    connections[id].receiveEdge =
      segment.sequence + 1 + min(connections[id].receiveBuffer, 65535)
    connections[id].windowUpdateSequence = segment.sequence
    connections[id].windowUpdateAcknowledgement = segment.acknowledgement
    connections[id].sendWindow = UInt32(segment.window)
    connections[id].largestSendWindow = UInt32(segment.window)
    connections[id].lastReceivedAt = now
    guard isAcknowledged else {
      // Simultaneous open (MUST-10): the SYN goes out again, as SYN-ACK.
      connections[id].state = .synReceived
      connections[id].sendNext = connections[id].sendUnacknowledged
      scheduleOutput(id)
      return
    }
    synchronizeAcknowledged(id, segment.acknowledgement, now: now)
    establish(id, now: now)
    connections[id].flags.insert([.acknowledgeNow, .reportConnected])
    markDirty(id)
    scheduleOutput(id)
  }

  /// Our SYN is acknowledged: the first round trip is measured, unless it was sent twice.
  private mutating func synchronizeAcknowledged(
    _ id: ConnectionID, _ acknowledgement: SequenceNumber, now: Instant
  ) {
    if connections[id].flags.contains(.synchronizeRetransmitted) {
      connections[id].roundTrip.synchronizedAfterLoss()
    } else {
      connections[id].roundTrip.sample(now - connections[id].timedAt)
    }
    connections[id].flags.remove(.timing)
    connections[id].sendUnacknowledged = acknowledgement
    connections[id].sendNext = max(connections[id].sendNext, acknowledgement)
    connections[id].retransmitAt = .never
    connections[id].attempts = 0
    connections[id].unacknowledgedSince = .never
  }

  /// Takes the options of a SYN or SYN-ACK (RFC 7323, RFC 2018, RFC 9293 section 3.7.1).
  mutating func acceptOptions(_ id: ConnectionID, _ segment: inout Segment) {
    let options = segment.options
    let isIPv4 = connections[id].flow.local.isIPv4
    // Without the option 536 or 1220 (MUST-15); below 48 a segment would be all header.
    let announced =
      options.maximumSegmentSize == 0
      ? UInt16(isIPv4 ? 536 : 1220) : max(options.maximumSegmentSize, 48)
    connections[id].maximumSegmentSize = announced
    if options.windowScale != SegmentOptions.absentWindowScale {
      connections[id].sendScale = options.windowScale
    } else {
      connections[id].sendScale = 0
      connections[id].receiveScale = 0
      connections[id].receiveBuffer = min(connections[id].receiveBuffer, 65535)
    }
    if options.hasTimestamp {
      connections[id].flags.insert(.timestamps)
      connections[id].recentTimestamp = options.timestampValue
    } else {
      connections[id].flags.remove(.timestamps)
    }
    if options.sackPermitted {
      connections[id].flags.insert(.selectiveAcknowledgements)
    } else {
      connections[id].flags.remove(.selectiveAcknowledgements)
    }
    connections[id].congestion = CongestionControl(segmentSize: connections[id].segmentSize)
  }

  /// The handshake is complete.
  private mutating func establish(_ id: ConnectionID, now: Instant) {
    connections[id].state = .established
    connections[id].lastReceivedAt = now
    armKeepAlive(id, now: now)
  }

  // MARK: SYN-RECEIVED

  @inline(never)
  private mutating func synReceivedSegmentArrives(
    _ id: ConnectionID, _ segment: inout Segment, _ payload: UnsafeRawBufferPointer,
    now: Instant
  ) {
    let flags = segment.flags
    let receiveNext = connections[id].receiveNext
    // The SYN-ACK of a simultaneous open repeats the SYN but acknowledges ours (RFC 9293 A.2).
    let crosses =
      flags.isSuperset(of: [.syn, .ack]) && segment.sequence + 1 == receiveNext
      && !connections[id].flags.contains(.passive)
    if flags.contains(.syn), segment.sequence + 1 == receiveNext, !crosses {
      // Our SYN-ACK was lost.
      connections[id].sendNext = connections[id].sendUnacknowledged
      scheduleOutput(id)
      return
    }
    if !crosses, !isAcceptable(id, &segment, now: now) { return }
    if flags.contains(.rst) {
      counters.resetsReceived += 1
      // A passive open returns to LISTEN and tells nobody (section 3.10.7.4, second step).
      fail(id, SocketError.connectionRefused)
      return
    }
    if flags.contains(.syn), !crosses {
      challenge(id, now: now)
      return
    }
    guard flags.contains(.ack) else { return }
    guard segment.acknowledgement - connections[id].sendUnacknowledged > 0,
      segment.acknowledgement <= connections[id].sendMaximum
    else {
      sendReset(answering: &segment, of: id)
      drop(.ackUnacceptable)
      return
    }
    synchronizeAcknowledged(id, segment.acknowledgement, now: now)
    establish(id, now: now)
    let scaled = UInt32(segment.window) << UInt32(connections[id].sendScale)
    connections[id].sendWindow = scaled
    connections[id].largestSendWindow = scaled
    connections[id].windowUpdateSequence = segment.sequence
    connections[id].windowUpdateAcknowledgement = segment.acknowledgement
    if connections[id].flags.contains(.passive) {
      acceptEstablished(id)
    } else {
      connections[id].flags.insert(.reportConnected)
      markDirty(id)
    }
    scheduleOutput(id)
    unsafe synchronizedSegmentArrives(id, &segment, payload, now: now)
  }

  // MARK: Synchronized states (section 3.10.7.4)

  @inline(__always)
  private mutating func synchronizedSegmentArrives(
    _ id: ConnectionID, _ segment: inout Segment, _ payload: UnsafeRawBufferPointer,
    now: Instant
  ) {
    // First, the sequence number; second, RST; fourth, SYN. In the common case all in one look.
    let isInOrder = segment.sequence == connections[id].receiveNext
    let unusual = !segment.flags.isDisjoint(with: [.rst, .syn]) || !segment.flags.contains(.ack)
    if unusual || !isInOrder || connections[id].receiveWindow < UInt32(payload.count)
      || connections[id].flags.contains(.timestamps)
    {
      guard checkUnusual(id, &segment, now: now) else { return }
    }
    connections[id].lastReceivedAt = now
    // Fifth, the acknowledgement.
    guard acknowledgementArrives(id, &segment, hasPayload: payload.count > 0, now: now) else {
      return
    }
    // Seventh, the text; eighth, FIN.
    if payload.count > 0 || segment.flags.contains(.fin) {
      unsafe textArrives(id, &segment, payload, now: now)
    }
  }

  /// Everything that can be wrong with a segment before its acknowledgement is looked at. False: it
  /// is dealt with.
  private mutating func checkUnusual(
    _ id: ConnectionID, _ segment: inout Segment, now: Instant
  ) -> Bool {
    guard isAcceptable(id, &segment, now: now) else { return false }
    if segment.flags.contains(.rst) {
      resetArrives(id, &segment, now: now)
      return false
    }
    if segment.flags.contains(.syn) {
      // RFC 5961 section 4: a SYN in a synchronized state proves nothing.
      challenge(id, now: now)
      return false
    }
    return segment.flags.contains(.ack)
  }

  /// First step: timestamp (RFC 7323 section 5.3) and sequence number. An unacceptable segment is
  /// answered with an acknowledgement, unless it is a RST.
  private mutating func isAcceptable(
    _ id: ConnectionID, _ segment: inout Segment, now: Instant
  ) -> Bool {
    let isReset = segment.flags.contains(.rst)
    if connections[id].flags.contains(.timestamps), segment.options.hasTimestamp {
      let recent = connections[id].recentTimestamp
      let age = Int32(bitPattern: segment.options.timestampValue &- recent)
      // After 24 days of silence the old value means nothing.
      if age < 0, !isReset, now - connections[id].lastReceivedAt < .seconds(24 * 86400) {
        drop(.pawsRejected)
        challenge(id, now: now)
        return false
      }
      if age >= 0, segment.sequence <= connections[id].lastAcknowledgementSent {
        connections[id].recentTimestamp = segment.options.timestampValue
      }
    }
    var length = UInt32(segment.payloadLength)
    if segment.flags.contains(.syn) { length += 1 }
    if segment.flags.contains(.fin) { length += 1 }
    if connections[id].isAcceptable(segment.sequence, length: length) { return true }
    if segment.sequence == connections[id].receiveNext, connections[id].receiveWindow == 0 {
      // With a closed window, still the acknowledgement and RST count (MUST-66).
      if !isReset, length > 0 { acknowledgeSoon(id) }
      return true
    }
    drop(.outOfWindow)
    if !isReset {
      // An old duplicate with data says that our acknowledgement was lost: answer at once.
      if length > 0, segment.sequence < connections[id].receiveNext {
        acknowledgeSoon(id)
      } else {
        challenge(id, now: now)
      }
    }
    return false
  }

  /// Second step: RST (RFC 5961 section 3: only the exact number resets).
  private mutating func resetArrives(
    _ id: ConnectionID, _ segment: inout Segment, now: Instant
  ) {
    guard segment.sequence == connections[id].receiveNext else {
      challenge(id, now: now)
      return
    }
    counters.resetsReceived += 1
    switch connections[id].state {
    case .closing, .lastAck:
      retire(id)
    case .closeWait:
      fail(id, SocketError.pipe)
    case .closed, .listen, .synSent, .synReceived, .established, .finWait1, .finWait2, .timeWait:
      fail(id, SocketError.connectionReset)
    }
  }

  /// A challenge acknowledgement, at most one each 500 ms for a connection: two stacks that answer
  /// each other's must not do so for ever, and a limit for all would be a side channel
  /// (CVE-2016-5696).
  mutating func challenge(_ id: ConnectionID, now: Instant) {
    guard now - connections[id].lastChallengeAt >= .milliseconds(500) else { return }
    connections[id].lastChallengeAt = now
    counters.challengeAcknowledgements += 1
    acknowledgeSoon(id)
  }

  /// An acknowledgement goes out at the end of the burst, on its own or with data.
  @inline(__always)
  mutating func acknowledgeSoon(_ id: ConnectionID) {
    connections[id].flags.insert(.acknowledgeNow)
    scheduleOutput(id)
  }

  // MARK: The acknowledgement

  /// Fifth step. False: the segment is to be ignored, or the connection is gone.
  @inline(__always)
  private mutating func acknowledgementArrives(
    _ id: ConnectionID, _ segment: inout Segment, hasPayload: Bool, now: Instant
  ) -> Bool {
    let acknowledgement = segment.acknowledgement
    let window = UInt32(segment.window) << UInt32(connections[id].sendScale)
    let advance = acknowledgement - connections[id].sendUnacknowledged
    if advance < 0 || acknowledgement > connections[id].sendMaximum {
      return unacceptableAcknowledgement(id, advance: advance, now: now)
    }
    let windowChanged = connections[id].updateSendWindow(
      segment.sequence, acknowledgement, window)
    if advance == 0 {
      let isDuplicate =
        !hasPayload && !windowChanged && connections[id].hasOutstanding
        && !segment.flags.contains(.fin)
      if isDuplicate { duplicateAcknowledgement(id) }
      if windowChanged { windowOpened(id, now: now) }
      if connections[id].flags.contains(.persisting) { connections[id].attempts = 0 }
      return true
    }
    return newAcknowledgement(id, acknowledgement, now: now)
  }

  /// An acknowledgement of what was never sent, or an old one (RFC 5961 section 5).
  @inline(never)
  private mutating func unacceptableAcknowledgement(
    _ id: ConnectionID, advance: Int32, now: Instant
  ) -> Bool {
    if advance < 0 {
      // Old, but not too old: the rest of the segment is good.
      if UInt32(bitPattern: 0 &- advance) <= max(connections[id].largestSendWindow, 65535) {
        return true
      }
    }
    drop(.ackUnacceptable)
    challenge(id, now: now)
    return false
  }

  private mutating func duplicateAcknowledgement(_ id: ConnectionID) {
    let reaction = connections[id].congestion.duplicate(
      highest: connections[id].sendMaximum, flightSize: connections[id].flightSize,
      segmentSize: connections[id].segmentSize)
    if case .retransmit = reaction {
      counters.fastRetransmits += 1
      connections[id].flags.insert(.retransmitFirst)
    }
    scheduleOutput(id)
  }

  /// The window has changed: a probe timer is no longer needed, and there may be room.
  private mutating func windowOpened(_ id: ConnectionID, now: Instant) {
    if connections[id].flags.contains(.persisting), connections[id].sendWindow > 0 {
      connections[id].flags.remove(.persisting)
      connections[id].attempts = 0
      connections[id].roundTrip.acknowledged()
      connections[id].retransmitAt =
        connections[id].hasOutstanding ? now + connections[id].roundTrip.current : .never
    }
    if connections[id].hasUnsent { scheduleOutput(id) }
  }

  /// New data, or our FIN, is acknowledged. False when that ended the connection.
  @inline(__always)
  private mutating func newAcknowledgement(
    _ id: ConnectionID, _ acknowledgement: SequenceNumber, now: Instant
  ) -> Bool {
    let finWasAcknowledged = connections[id].isFinAcknowledged
    let bytes = UInt32(acknowledgement - connections[id].sendUnacknowledged)
    connections[id].sendUnacknowledged = acknowledgement
    connections[id].sendNext = max(connections[id].sendNext, acknowledgement)
    connections[id].attempts = 0
    if connections[id].flags.contains(.timing), acknowledgement >= connections[id].timedSequence {
      connections[id].roundTrip.sample(now - connections[id].timedAt)
      connections[id].flags.remove(.timing)
    }
    connections[id].roundTrip.acknowledged()
    let includesFin = connections[id].isFinAcknowledged && !finWasAcknowledged
    freeAcknowledged(id, includesFin ? bytes - 1 : bytes)
    let reaction = connections[id].congestion.acknowledged(
      bytes, upTo: acknowledgement, flightSize: connections[id].flightSize,
      segmentSize: connections[id].segmentSize)
    if case .retransmit = reaction { connections[id].flags.insert(.retransmitFirst) }
    connections[id].flags.remove(.persisting)
    let hasOutstanding = connections[id].hasOutstanding
    connections[id].retransmitAt =
      hasOutstanding ? now + connections[id].roundTrip.current : .never
    connections[id].unacknowledgedSince = hasOutstanding ? now : .never
    if hasOutstanding { armTimers(id) }
    if connections[id].hasUnsent || connections[id].flags.contains(.retransmitFirst) {
      scheduleOutput(id)
    }
    return includesFin ? finAcknowledged(id, now: now) : true
  }

  /// Our FIN is acknowledged. False when the connection is gone.
  private mutating func finAcknowledged(_ id: ConnectionID, now: Instant) -> Bool {
    switch connections[id].state {
    case .finWait1:
      connections[id].state = .finWait2
      if connections[id].flags.contains(.orphaned) {
        // Nobody will read: wait for the peer's FIN only so long, as Linux's tcp_fin_timeout.
        connections[id].lifeAt = now + .seconds(60)
        armTimers(id)
      }
      return true
    case .closing:
      enterTimeWait(id, now: now)
      return false
    case .lastAck:
      retire(id)
      return false
    case .closed, .listen, .synSent, .synReceived, .established, .finWait2, .closeWait, .timeWait:
      return true
    }
  }

  // MARK: Text and FIN

  /// Seventh and eighth step.
  @inline(__always)
  private mutating func textArrives(
    _ id: ConnectionID, _ segment: inout Segment, _ payload: UnsafeRawBufferPointer,
    now: Instant
  ) {
    guard connections[id].state.canReceive else {
      // The peer has already finished: an old segment.
      acknowledgeSoon(id)
      return
    }
    if connections[id].flags.contains(.orphaned), payload.count > 0 {
      // Data for nobody: say that it is lost (SHLD-3).
      abort(id, answering: &segment)
      return
    }
    if connections[id].flags.contains(.readShut), payload.count > 0,
      connections[id].state != .established
    {
      // Both directions are shut down: as Linux, which resets both sides.
      sendReset(answering: &segment, of: id)
      fail(id, SocketError.connectionReset)
      return
    }
    connections[id].peerSegmentSize = max(
      connections[id].peerSegmentSize, UInt16(truncatingIfNeeded: min(payload.count, 65535)))
    let isFinished = segment.flags.contains(.fin)
    let isDeliverable =
      segment.sequence == connections[id].receiveNext
      && connections[id].reassemblyHead == .none && connections[id].channel != .none
    if isDeliverable {
      unsafe deliverInOrder(id, payload, isFinished: isFinished, now: now)
    } else {
      unsafe queueOrDeliver(id, segment.sequence, payload, isFinished: isFinished, now: now)
    }
  }
}
