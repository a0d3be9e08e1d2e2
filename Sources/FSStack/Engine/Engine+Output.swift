// Segments on their way out. Everything is sent at the end of a burst, when the application has had
// its turn: one segment then carries the data, the FIN and the acknowledgement.

extension Engine {
  /// Frames of an interface that may wait to be sent when a connection adds one. More would be cold in the
  /// cache when their turn comes, and what others send would wait behind them.
  static var outputLimit: Int { 256 }

  /// Whether connections have something to send for which no frame was free.
  public var hasOutputWaiting: Bool { !output.isEmpty }

  /// Sends what connections have to send, as far as frames are to be had.
  mutating func flushOutput(now: Instant) {
    var waiting = ListHead<ConnectionID>()
    var interrupted = ListHead<ConnectionID>()
    var fullInterfaces: UInt64 = 0
    while let id = outputLinks.popFirst(of: &output) {
      let interface: UInt64 = 1 << UInt64(connections[id].interface & 63)
      if fullInterfaces & interface != 0 {
        outputLinks.append(id, to: &waiting)
      } else if !send(id, now: now) {
        fullInterfaces |= interface
        outputLinks.append(id, to: &interrupted)
      }
    }
    // At the end of the next burst it is the turn of the others first.
    output = waiting
    while let id = outputLinks.popFirst(of: &interrupted) { outputLinks.append(id, to: &output) }
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
    if !connections[id].flags.isDisjoint(with: [.retransmit, .lossProbe]), paceAllows(id, now: now)
    {
      guard sendAgain(id, now: now) else { return false }
    }
    if connections[id].flags.contains(.probe) {
      guard sendProbe(id, now: now) else { return false }
    }
    if connections[id].hasUnsent, !connections[id].flags.contains(.retransmit) {
      guard sendQueued(id, now: now) else { return false }
    }
    if connections[id].flags.contains(.acknowledgeNow) {
      let sequence = connections[id].acknowledgementSequence
      guard transmit(id, at: sequence, length: 0, flags: .ack, now: now) else { return false }
      counters.pureAcknowledgements += 1
    }
    return connections[id].uncommon == .none || sendDuplicates(id, now: now)
  }

  /// Sends the acknowledgements that a peer counts. False: no free frame.
  private mutating func sendDuplicates(_ id: ConnectionID, now: Instant) -> Bool {
    let state = connections[id].uncommon
    while uncommonStates[state].duplicatesOwed > 0 {
      let sequence = connections[id].acknowledgementSequence
      guard transmit(id, at: sequence, length: 0, flags: .ack, now: now) else { return false }
      uncommonStates[state].duplicatesOwed -= 1
      counters.pureAcknowledgements += 1
    }
    return true
  }

  /// Sends what is lost, or a probe of what might be. False: no free frame.
  @inline(never)
  private mutating func sendAgain(_ id: ConnectionID, now: Instant) -> Bool {
    if connections[id].flags.contains(.lossProbe) {
      guard sendLossProbe(id, now: now) else { return false }
    }
    guard connections[id].flags.contains(.retransmit) else { return true }
    if testsTimeout(id) {
      // F-RTO: new data first, if there is any (RFC 5682 section 2.1, step 2b).
      let next = connections[id].sendNext
      if connections[id].hasUnsent { guard sendQueued(id, now: now) else { return false } }
      if connections[id].sendNext != next { return true }
      timeoutIsReal(id)
    }
    return retransmitLost(id, now: now)
  }

  // MARK: Data

  /// Sends queued bytes, and tells the congestion control how much of its window that took.
  private mutating func sendQueued(_ id: ConnectionID, now: Instant) -> Bool {
    restartAfterIdle(id, now: now)
    let before = connections[id].sendNext
    if connections[id].pathSearch != .none {
      guard probePath(id, now: now) else { return false }
    }
    let isDone = sendPermitted(id, now: now)
    let hasSent = connections[id].sendNext != before
    if hasSent { newDataSent(id, now: now) }
    validateWindow(id, hasSent: hasSent, now: now)
    return isDone
  }

  /// Sends queued bytes as the windows allow (RFC 9293 section 3.8.6.2.1): what writes have queued
  /// goes together (MAY-16), in full segments where it can (SHLD-28).
  private mutating func sendPermitted(_ id: ConnectionID, now: Instant) -> Bool {
    while connections[id].hasUnsent {
      // With all records in use, acknowledgements must come before more can be sent.
      guard records.mayAppend(to: connections[id].flight) else { return true }
      let usable = connections[id].usableWindow(pipe: pipe(id))
      let unsent = Int(max(connections[id].sendQueueEnd - connections[id].sendNext, 0))
      let length = min(min(unsent, usable), Int(connections[id].segmentSize))
      let isLast = length == unsent
      let finishes = isLast && connections[id].mayFinish(after: length)
      if length <= 0 && !(finishes && unsent == 0) {
        persistIfClosed(id, now: now)
        return true
      }
      guard finishes || connections[id].maySend(UInt32(length), isLast: isLast) else {
        holdPartial(id, now: now)
        return true
      }
      guard length == 0 || paceAllows(id, now: now) else { return true }
      guard sendNext(id, length: length, finishes: finishes, isLast: isLast, now: now) else {
        return false
      }
      // An override is for one segment: the rest of a small window is not worth another.
      if length < Int(connections[id].segmentSize) { connections[id].flags.remove(.pushNow) }
    }
    connections[id].flags.remove(.pushNow)
    let state = connections[id].uncommon
    if state != .none { uncommonStates[state].pushAt = .never }
    return true
  }

  /// Sends the bytes at SND.NXT and moves it on.
  mutating func sendNext(
    _ id: ConnectionID, length: Int, finishes: Bool, isLast: Bool, now: Instant
  ) -> Bool {
    let sequence = connections[id].sendNext
    // Pushed is what leaves nothing behind (MUST-61, SHLD-27).
    var flags: TCPFlags = isLast && length > 0 ? [.ack, .psh] : .ack
    if finishes { flags.insert(.fin) }
    guard transmit(id, at: sequence, length: length, flags: flags, now: now) else { return false }
    let end = sequence + UInt32(length) + (finishes ? 1 : 0)
    records.append(sequence, to: end, flight: &connections[id].flight, now: now)
    connections[id].sendNext = end
    connections[id].sendMaximum = end
    if connections[id].recovery != .none {
      recoveries[connections[id].recovery].reduction.transmitted(UInt32(end - sequence))
    }
    if uncommon(id).unsentLowWater != .max { reportUnsent(id) }
    if length > 0, length < Int(connections[id].segmentSize) {
      connections[id].smallSegmentEnd = sequence + UInt32(length)
    }
    if connections[id].unacknowledgedSince == .never { connections[id].unacknowledgedSince = now }
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
    guard !connections[id].hasOutstanding else { return }
    connections[id].congestion.restartAfterIdle(
      lastSentAt: connections[id].lastSentAt, timeout: connections[id].roundTrip.timeout,
      segmentSize: connections[id].segmentSize, now: now)
  }

  /// Tells the congestion control what is in flight, and whether that is all that it allows.
  private mutating func validateWindow(_ id: ConnectionID, hasSent: Bool, now: Instant) {
    let size = connections[id].segmentSize
    let flight = pipe(id)
    let isLimited = flight + size > connections[id].congestion.window
    guard hasSent || isLimited else { return }
    connections[id].congestion.sent(
      WindowUsage.Flight(
        bytes: flight, isLimited: isLimited,
        sendUnacknowledged: connections[id].sendUnacknowledged,
        sendNext: connections[id].sendNext, segmentSize: size, now: now),
      timeout: connections[id].roundTrip.timeout,
      mayShrink: !isRecovering(id) && !connections[id].hasUnsent)
  }

  /// With the window closed and nothing in flight a timer must ask for it (MUST-35, MUST-36): first
  /// after the retransmission timeout (SHLD-29), then with doubled pauses (SHLD-30). Else a lost
  /// window update would stop the connection for ever.
  private mutating func persistIfClosed(_ id: ConnectionID, now: Instant) {
    guard !connections[id].hasOutstanding, connections[id].retransmitAt == .never else { return }
    connections[id].flags.insert(.persisting)
    setRetransmissionTimeout(id, now: now)
  }

  /// A partial segment waits for an acknowledgement (Nagle) or for more bytes (TCP_CORK, MSG_MORE:
  /// 200 ms at most, as in Linux: MUST-60, MAY-15).
  private mutating func holdPartial(_ id: ConnectionID, now: Instant) {
    if !connections[id].flags.isDisjoint(with: [.cork, .more]), uncommon(id).pushAt == .never {
      changeUncommon(id) { $0.pushAt = now + .milliseconds(200) }
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
}
