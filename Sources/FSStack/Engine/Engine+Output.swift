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
    while connections[id].duplicatesOwed > 0 {
      let sequence = connections[id].acknowledgementSequence
      guard transmit(id, at: sequence, length: 0, flags: .ack, now: now) else { return false }
      connections[id].duplicatesOwed -= 1
      counters.pureAcknowledgements += 1
    }
    return true
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
    validateWindow(id, hasSent: connections[id].sendNext != before, now: now)
    return isDone
  }

  /// Sends queued bytes as the windows allow (RFC 9293 section 3.8.6.2.1).
  private mutating func sendPermitted(_ id: ConnectionID, now: Instant) -> Bool {
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
  mutating func sendNext(
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
    if connections[id].unsentLowWater != .max { reportUnsent(id) }
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
    guard !connections[id].hasOutstanding else { return }
    connections[id].congestion.restartAfterIdle(
      lastSentAt: connections[id].lastSentAt, timeout: connections[id].roundTrip.timeout,
      segmentSize: connections[id].segmentSize, now: now)
  }

  /// Tells the congestion control what is in flight, and whether that is all that it allows.
  private mutating func validateWindow(_ id: ConnectionID, hasSent: Bool, now: Instant) {
    let size = connections[id].segmentSize
    let flight = connections[id].flightSize
    let isLimited = flight + size > connections[id].congestion.window
    guard hasSent || isLimited else { return }
    connections[id].congestion.sent(
      WindowUsage.Flight(
        bytes: flight, isLimited: isLimited,
        sendUnacknowledged: connections[id].sendUnacknowledged,
        sendNext: connections[id].sendNext, segmentSize: size, now: now),
      timeout: connections[id].roundTrip.timeout,
      mayShrink: !connections[id].fastRetransmit.isRecovering && !connections[id].hasUnsent)
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
}
