// The handshake: SYN-SENT and SYN-RECEIVED of RFC 9293 section 3.10.7, and the SYNs on their way out.
// Passive opens are in the SYN cache (Engine+HalfOpen) until the segment that completes them.

extension Engine {
  // MARK: SYN-SENT (section 3.10.7.3)

  @inline(never)
  mutating func synSentSegmentArrives(
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
      synchronizeSooner(id, now: now)
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
    acceptOptions(id, &segment, now: now)
    connections[id].receiveNext = segment.sequence + 1
    connections[id].lastAcknowledgementSent = segment.sequence + 1
    // What our SYN offered, unscaled.
    connections[id].receiveEdge =
      segment.sequence + 1 + min(connections[id].receiveBuffer, 65535)
    connections[id].windowUpdateSequence = segment.sequence
    connections[id].sendWindow = UInt32(segment.window)
    connections[id].largestSendWindow = UInt32(segment.window)
    connections[id].lastReceivedAt = now
    guard isAcknowledged else {
      // Simultaneous open (MUST-10): the SYN goes out again, as SYN-ACK.
      negotiateECN(id, synchronize: &segment)
      connections[id].state = .synReceived
      connections[id].sendNext = connections[id].sendUnacknowledged
      scheduleOutput(id)
      return
    }
    negotiateECN(id, answer: &segment)
    synchronizeAcknowledged(id, segment.acknowledgement, now: now)
    establish(id, now: now)
    connections[id].flags.insert([.acknowledgeNow, .reportConnected])
    markDirty(id)
    scheduleOutput(id)
  }

  /// The peer has a connection of old under our numbers, which the RST has ended: the SYN goes out
  /// again at once, not after a second, but only the first time (as in Linux).
  private mutating func synchronizeSooner(_ id: ConnectionID, now: Instant) {
    guard connections[id].attempts == 0,
      connections[id].sendMaximum != connections[id].sendUnacknowledged
    else { return }
    connections[id].retransmitAt = min(
      connections[id].retransmitAt, now + .milliseconds(Self.soonest))
    armTimers(id)
  }

  /// Two ticks of a kernel with 250 a second, milliseconds.
  private static var soonest: UInt64 { 8 }

  /// Our SYN is acknowledged: the first round trip is measured, unless it was sent twice.
  private mutating func synchronizeAcknowledged(
    _ id: ConnectionID, _ acknowledgement: SequenceNumber, now: Instant
  ) {
    if connections[id].flags.contains(.synchronizeRetransmitted) {
      connections[id].roundTrip.synchronizedAfterLoss()
      if connections[id].attempts > 1 {
        connections[id].congestion.synchronizedAfterLosses(
          segmentSize: connections[id].segmentSize)
      }
    } else if connections[id].lastSentAt != .never {
      // Nothing but the SYN has been sent.
      let roundTrip = now - connections[id].lastSentAt
      connections[id].roundTrip.sample(roundTrip)
      connections[id].roundTrip.sampleMinimum(roundTrip, now: now)
    }
    if connections[id].flags.contains(.passive) { connections[id].lastSentAt = now }
    connections[id].sendUnacknowledged = acknowledgement
    connections[id].sendNext = max(connections[id].sendNext, acknowledgement)
    connections[id].retransmitAt = .never
    connections[id].attempts = 0
    connections[id].unacknowledgedSince = .never
  }

  /// Takes the options of a SYN or SYN-ACK (RFC 7323, RFC 2018, RFC 9293 section 3.7.1).
  mutating func acceptOptions(_ id: ConnectionID, _ segment: inout Segment, now: Instant) {
    let options = segment.options
    let isIPv4 = connections[id].flow.local.isIPv4
    // Without the option 536 or 1220 (MUST-15); below 48 a segment would be all header.
    let announced =
      options.maximumSegmentSize == 0
      ? UInt16(isIPv4 ? 536 : 1220) : max(options.maximumSegmentSize, 48)
    let limit = uncommon(id).userSegmentSize
    connections[id].maximumSegmentSize = limit == 0 ? announced : min(announced, limit)
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
      connections[id].recentTimestampAt = Self.coarse(now)
    } else {
      connections[id].flags.remove(.timestamps)
    }
    if options.sackPermitted {
      connections[id].flags.insert(.selectiveAcknowledgements)
    } else {
      connections[id].flags.remove(.selectiveAcknowledgements)
    }
    connections[id].congestion = CongestionControl(
      connections[id].congestion.algorithm, segmentSize: connections[id].segmentSize)
  }

  /// The handshake is complete.
  private mutating func establish(_ id: ConnectionID, now: Instant) {
    connections[id].state = .established
    connections[id].lastReceivedAt = now
    armKeepAlive(id, now: now)
  }

  // MARK: SYN-RECEIVED

  @inline(never)
  mutating func synReceivedSegmentArrives(
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
      // Our SYN-ACK was lost. The next one echoes the SYN that it answers.
      if connections[id].flags.contains(.timestamps), segment.options.hasTimestamp,
        !isOutdated(id, &segment, now: now)
      {
        connections[id].recentTimestamp = segment.options.timestampValue
      }
      negotiateECN(id, synchronize: &segment)
      connections[id].sendNext = connections[id].sendUnacknowledged
      scheduleOutput(id)
      return
    }
    if !crosses, !isAcceptable(id, &segment, now: now) { return }
    if flags.contains(.rst), segment.sequence != receiveNext {
      challenge(id, now: now)
      return
    }
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
    if connections[id].flags.contains(.passive) {
      acceptEstablished(id, now: now)
    } else {
      connections[id].flags.insert(.reportConnected)
      markDirty(id)
    }
    scheduleOutput(id)
    unsafe synchronizedSegmentArrives(id, &segment, payload, now: now)
  }

  // MARK: SYN

  /// Sends the SYN or SYN-ACK, for the first time or again: by the same timer as data (MUST-22).
  mutating func sendSynchronize(_ id: ConnectionID, now: Instant) -> Bool {
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
    let flags = synchronizeFlags(id, isRepeated: connections[id].sendMaximum != sequence)
    guard transmit(id, at: sequence, length: 0, flags: flags, now: now) else { return false }
    if connections[id].sendMaximum != sequence {
      counters.retransmissions += 1
      connections[id].flags.insert(.synchronizeRetransmitted)
    }
    connections[id].sendNext = sequence + 1
    connections[id].sendMaximum = sequence + 1
    setRetransmissionTimeout(id, now: now)
    return true
  }

  /// The options of a SYN: always with the segment size (MUST-14, SHLD-5, MAY-3), which is what
  /// packets of the interface hold (SHLD-6) without regard to options (MUST-67). No other segment has
  /// one (MUST-65).
  func synchronizeOptions(_ id: ConnectionID, now: Instant) -> OutgoingOptions {
    let connection = connections[id]
    var options = OutgoingOptions()
    let mtu = interfaces[Int(connection.interface)].mtu
    options.maximumSegmentSize = UInt16(
      clamping: mtu - (connection.flow.local.isIPv4 ? 40 : 60))
    let limit = uncommon(id).userSegmentSize
    if limit != 0 { options.maximumSegmentSize = min(options.maximumSegmentSize, limit) }
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
}
