// SEGMENT ARRIVES, fifth step: the acknowledgement field (RFC 9293 section 3.10.7.4).

extension Engine {
  /// Fifth step. False: the segment is to be ignored, or the connection is gone.
  @inline(__always)
  mutating func acknowledgementArrives(
    _ id: ConnectionID, _ segment: inout Segment, hasPayload: Bool, now: Instant
  ) -> Bool {
    let acknowledgement = segment.acknowledgement
    let window = UInt32(segment.window) << UInt32(connections[id].sendScale)
    let advance = acknowledgement - connections[id].sendUnacknowledged
    if advance < 0 || acknowledgement > connections[id].sendMaximum {
      return unacceptableAcknowledgement(id, &segment, advance: advance, now: now)
    }
    let windowChanged = connections[id].updateSendWindow(
      segment.sequence, window, advances: advance > 0)
    let reports = reports(id, segment)
    if advance == 0 {
      let isDuplicate =
        !hasPayload && !windowChanged && connections[id].hasOutstanding
        && !segment.flags.contains(.fin)
      if isDuplicate || reports {
        lossSignalArrives(id, &segment, isDuplicate: isDuplicate, now: now)
      }
      if windowChanged { windowOpened(id, now: now) }
      // Who answers probes is alive, also when its window has shrunk below what was sent (SHLD-17).
      if connections[id].flags.contains(.persisting) { connections[id].attempts = 0 }
      return true
    }
    return newAcknowledgement(id, &segment, reports: reports, now: now)
  }

  /// Whether a segment has blocks that count (RFC 2018).
  @inline(__always)
  private func reports(_ id: ConnectionID, _ segment: borrowing Segment) -> Bool {
    segment.options.sackCount > 0 && connections[id].flags.contains(.selectiveAcknowledgements)
  }

  /// An acknowledgement of what was never sent, or an old one (RFC 5961 section 5, MAY-12).
  @inline(never)
  private mutating func unacceptableAcknowledgement(
    _ id: ConnectionID, _ segment: inout Segment, advance: Int32, now: Instant
  ) -> Bool {
    if advance < 0 {
      // Old, but not too old: the rest of the segment is good.
      if UInt32(bitPattern: 0 &- advance) <= connections[id].largestSendWindow {
        // Acknowledgements overtake each other; what an overtaken one reports is still true.
        if reports(id, segment) { lossSignalArrives(id, &segment, isDuplicate: false, now: now) }
        return true
      }
    }
    drop(.ackUnacceptable)
    challenge(id, now: now)
    return false
  }

  /// The window has changed: a probe timer is no longer needed, and there may be room.
  mutating func windowOpened(_ id: ConnectionID, now: Instant) {
    if connections[id].flags.contains(.persisting), connections[id].sendWindow > 0 {
      connections[id].flags.remove(.persisting)
      connections[id].attempts = 0
      connections[id].unacknowledgedSince = connections[id].hasOutstanding ? now : .never
      connections[id].roundTrip.acknowledged()
      restartRetransmissionTimer(id, now: now)
    }
    if connections[id].hasUnsent { scheduleOutput(id) }
  }

  /// New data, or our FIN, is acknowledged. False when that ended the connection.
  @inline(__always)
  private mutating func newAcknowledgement(
    _ id: ConnectionID, _ segment: inout Segment, reports: Bool, now: Instant
  ) -> Bool {
    let acknowledgement = segment.acknowledgement
    let finWasAcknowledged = connections[id].isFinAcknowledged
    let bytes = UInt32(acknowledgement - connections[id].sendUnacknowledged)
    connections[id].sendUnacknowledged = acknowledgement
    connections[id].sendNext = max(connections[id].sendNext, acknowledgement)
    connections[id].attempts = 0
    let uncommon = connections[id].uncommon
    if uncommon != .none { uncommonStates[uncommon].softError = 0 }
    connections[id].flags.remove(.persisting)
    if connections[id].pathSearch != .none { pathProbeAcknowledged(id, now: now) }
    let includesFin = connections[id].isFinAcknowledged && !finWasAcknowledged
    freeAcknowledged(id, includesFin ? bytes - 1 : bytes)
    var timerIsSet = false
    if reports || !isQuiet(id) {
      timerIsSet = segmentsDelivered(
        id, &segment, advance: bytes, isDuplicate: false, now: now)
    } else {
      deliveredInOrder(id, &segment, now: now)
    }
    let hasOutstanding = connections[id].hasOutstanding
    if !timerIsSet { restartRetransmissionTimer(id, now: now) }
    connections[id].unacknowledgedSince = hasOutstanding ? now : .never
    if connections[id].hasUnsent { scheduleOutput(id) }
    return includesFin ? finAcknowledged(id, now: now) : true
  }

  /// The usual case: nothing was ever lost, and an acknowledgement covers the oldest segments.
  @inline(__always)
  private mutating func deliveredInOrder(
    _ id: ConnectionID, _ segment: inout Segment, now: Instant
  ) {
    let recovery = connections[id].recovery
    if recovery != .none { recoveries[recovery].scoreboard.forget() }
    let delivery = records.acknowledgeInOrder(
      segment.acknowledgement, flight: &connections[id].flight)
    let roundTrip = measure(id, delivery, &segment, advances: true, now: now)
    connections[id].congestion.acknowledged(
      connections[id].congestionSample(delivered: delivery.bytes, roundTrip: roundTrip, now: now))
  }

  /// Our FIN is acknowledged. False when the connection is gone.
  private mutating func finAcknowledged(_ id: ConnectionID, now: Instant) -> Bool {
    switch connections[id].state {
    case .finWait1:
      connections[id].state = .finWait2
      // Nobody will read: wait for the peer's FIN only so long.
      return connections[id].flags.contains(.orphaned) ? awaitFinish(id, now: now) : true
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
}
