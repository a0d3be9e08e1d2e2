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

  // MARK: Synchronized states (section 3.10.7.4)

  @inline(__always)
  mutating func synchronizedSegmentArrives(
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
    connections[id].keepAliveSent = 0
    connections[id].tally.segmentsIn &+= 1
    // Fifth, the acknowledgement.
    let unacknowledged = connections[id].sendUnacknowledged
    guard acknowledgementArrives(id, &segment, hasPayload: payload.count > 0, now: now) else {
      return
    }
    updateRecentTimestamp(id, &segment, now: now)
    if connections[id].ecn.contains(.negotiated) {
      let advance = connections[id].sendUnacknowledged - unacknowledged
      congestionBitsArrive(id, &segment, acknowledged: UInt32(max(advance, 0)), now: now)
    }
    // Sixth, URG, whatever the window is (MUST-66).
    if segment.flags.contains(.urg) { urgentArrives(id, &segment) }
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
    if isResetWithNumberOfFin(id, &segment) {
      reset(id)
      return false
    }
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
  mutating func isAcceptable(
    _ id: ConnectionID, _ segment: inout Segment, now: Instant
  ) -> Bool {
    let isReset = segment.flags.contains(.rst)
    if !isReset, isOutdated(id, &segment, now: now) {
      drop(.pawsRejected)
      // A mere acknowledgement that others have overtaken asks for nothing, as in Linux.
      let isOldAcknowledgement =
        segment.flags == .ack && segment.payloadLength == 0
        && segment.sequence < connections[id].receiveNext
      if !isOldAcknowledgement { answerUnacceptable(id, &segment, now: now) }
      return false
    }
    var length = UInt32(segment.payloadLength)
    if segment.flags.contains(.syn) { length += 1 }
    if segment.flags.contains(.fin) { length += 1 }
    if connections[id].isAcceptable(segment.sequence, length: length) { return true }
    // As in Linux: of a segment that ends where the next begins the acknowledgement counts. When both
    // sides close at once, the FIN that comes again may be all that says that ours has arrived.
    if length > 0, segment.sequence + length == connections[id].receiveNext,
      segment.flags.isDisjoint(with: [.syn, .rst])
    {
      return true
    }
    if segment.sequence == connections[id].receiveNext, connections[id].receiveWindow == 0 {
      // With a closed window, still the acknowledgement and RST count (MUST-66).
      if !isReset, length > 0 { acknowledgeSoon(id) }
      return true
    }
    drop(.outOfWindow)
    if !isReset { answerUnacceptable(id, &segment, now: now) }
    return false
  }

  /// Answers a segment that was not acceptable: one with data at once, because it says that our
  /// acknowledgement was lost; others might be part of a loop.
  private mutating func answerUnacceptable(
    _ id: ConnectionID, _ segment: inout Segment, now: Instant
  ) {
    let length = UInt32(segment.payloadLength) + (segment.flags.contains(.fin) ? 1 : 0)
    guard length > 0 else {
      challenge(id, now: now)
      return
    }
    // The peer repeats itself, and by way of another router: our acknowledgements may have gone to one that
    // is dead.
    if segment.sourceMAC != connections[id].nextHop { refreshNextHop(id) }
    let receiveNext = connections[id].receiveNext
    if segment.sequence < receiveNext {
      reportDuplicate(id, segment.sequence, min(segment.sequence + length, receiveNext))
      enterQuickMode(id)
    }
    acknowledgeSoon(id)
  }

  /// Second step: RST (RFC 5961 section 3: only the exact number resets), with or without data
  /// (SHLD-2). The application learns of it (MUST-12).
  private mutating func resetArrives(
    _ id: ConnectionID, _ segment: inout Segment, now: Instant
  ) {
    guard segment.sequence == connections[id].receiveNext else {
      challenge(id, now: now)
      return
    }
    reset(id)
  }

  /// A RST behind the peer's FIN that counts the FIN not: some TCPs send it when their application
  /// closes with data unread, and Linux takes it.
  private func isResetWithNumberOfFin(_ id: ConnectionID, _ segment: inout Segment) -> Bool {
    guard segment.flags.contains(.rst), !connections[id].state.canReceive else { return false }
    return segment.sequence + 1 == connections[id].receiveNext
  }

  /// The peer has reset the connection. As in Linux, an application that has not closed is told in
  /// CLOSING and LAST-ACK, too.
  private mutating func reset(_ id: ConnectionID) {
    counters.resetsReceived += 1
    let isPipe = connections[id].state == .closeWait
    fail(id, isPipe ? SocketError.pipe : SocketError.connectionReset)
  }

  /// A challenge acknowledgement, at most one each 500 ms for a connection: two stacks that answer
  /// each other's must not do so for ever, and a limit for all would be a side channel
  /// (CVE-2016-5696).
  mutating func challenge(_ id: ConnectionID, now: Instant) {
    guard now - uncommon(id).lastChallengeAt >= .milliseconds(500) else { return }
    changeUncommon(id) { $0.lastChallengeAt = now }
    counters.challengeAcknowledgements += 1
    acknowledgeSoon(id)
  }

  /// An acknowledgement goes out at the end of the burst, on its own or with data.
  @inline(__always)
  mutating func acknowledgeSoon(_ id: ConnectionID) {
    connections[id].flags.insert(.acknowledgeNow)
    scheduleOutput(id)
  }

  // MARK: Text and FIN

  /// Seventh and eighth step.
  @inline(__always)
  mutating func textArrives(
    _ id: ConnectionID, _ segment: inout Segment, _ payload: UnsafeRawBufferPointer,
    now: Instant
  ) {
    let behind = segment.sequence + UInt32(payload.count) - connections[id].receiveNext
    if behind < 0 || behind == 0 && !segment.flags.contains(.fin) {
      // All of it is known: our acknowledgement was lost.
      drop(.outOfWindow)
      answerUnacceptable(id, &segment, now: now)
      return
    }
    guard connections[id].state.canReceive else {
      // There is nothing behind a FIN: it is ignored, unanswered.
      drop(.outOfWindow)
      return
    }
    if connections[id].flags.contains(.orphaned), behind > 0 {
      // Data for nobody, here or in a gap before the FIN: say that it is lost (SHLD-3).
      abort(id, answering: &segment)
      return
    }
    if connections[id].flags.contains(.readShut), behind > 0,
      connections[id].state != .established
    {
      // Both directions are shut down: as Linux, which resets both sides.
      sendReset(answering: &segment, of: id)
      fail(id, SocketError.connectionReset)
      return
    }
    if payload.count > 0 {
      measureReceiveRoundTrip(id, &segment, now: now)
      dataArrives(id, payload.count, segment.flags, now: now)
    }
    let isFinished = segment.flags.contains(.fin)
    let isDeliverable =
      segment.sequence == connections[id].receiveNext
      && connections[id].reassembly == .none && connections[id].channel != .none
    if isDeliverable {
      unsafe deliverInOrder(id, payload, isFinished: isFinished, now: now)
    } else {
      unsafe queueOrDeliver(id, segment.sequence, payload, isFinished: isFinished, now: now)
    }
  }
}
