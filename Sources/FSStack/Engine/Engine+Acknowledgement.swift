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
      return unacceptableAcknowledgement(id, advance: advance, now: now)
    }
    let windowChanged = connections[id].updateSendWindow(
      segment.sequence, acknowledgement, window)
    if advance == 0 {
      let isDuplicate =
        !hasPayload && !windowChanged && connections[id].hasOutstanding
        && !segment.flags.contains(.fin)
      if isDuplicate { duplicateAcknowledgement(id, now: now) }
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
      if UInt32(bitPattern: 0 &- advance) <= connections[id].largestSendWindow {
        return true
      }
    }
    drop(.ackUnacceptable)
    challenge(id, now: now)
    return false
  }

  private mutating func duplicateAcknowledgement(_ id: ConnectionID, now: Instant) {
    let size = connections[id].segmentSize
    if connections[id].fastRetransmit.isRecovering {
      // A segment has left the network (RFC 5681 section 3.2, step 4).
      connections[id].congestion.setRecoveryWindow(connections[id].congestion.window + size)
    } else if connections[id].fastRetransmit.duplicate(highest: connections[id].sendMaximum) {
      connections[id].congestion.enterRecovery(
        inFlight: connections[id].flightSize, segmentSize: size, now: now)
      connections[id].congestion.setRecoveryWindow(
        connections[id].congestion.slowStartThreshold + 3 * size)
      counters.fastRetransmits += 1
      connections[id].flags.insert(.retransmitFirst)
    }
    scheduleOutput(id)
  }

  /// New data is acknowledged: the window grows, or recovery goes on or ends (RFC 6582).
  @inline(__always)
  private mutating func growWindow(
    _ id: ConnectionID, _ bytes: UInt32, roundTrip: Interval?, now: Instant
  ) {
    let acknowledgement = connections[id].sendUnacknowledged
    if connections[id].fastRetransmit.acknowledged(upTo: acknowledgement) {
      connections[id].congestion.exitRecovery()
    } else if connections[id].fastRetransmit.isRecovering {
      // A partial acknowledgement: deflate, and the next hole is lost too (section 3.2).
      let size = connections[id].segmentSize
      let window = connections[id].congestion.window
      let deflated = (window > bytes ? window - bytes : 0) + (bytes >= size ? size : 0)
      connections[id].congestion.setRecoveryWindow(max(deflated, size))
      connections[id].flags.insert(.retransmitFirst)
    } else {
      let sample = connections[id].congestionSample(
        delivered: bytes, roundTrip: roundTrip, now: now)
      connections[id].congestion.acknowledged(sample)
    }
  }

  /// The window has changed: a probe timer is no longer needed, and there may be room.
  mutating func windowOpened(_ id: ConnectionID, now: Instant) {
    if connections[id].flags.contains(.persisting), connections[id].sendWindow > 0 {
      connections[id].flags.remove(.persisting)
      connections[id].attempts = 0
      connections[id].roundTrip.acknowledged()
      connections[id].retransmitAt =
        connections[id].hasOutstanding ? now + connections[id].roundTrip.current : .never
      // Earlier than the next probe would have been.
      armTimers(id)
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
    connections[id].softError = 0
    if connections[id].pathSearch != .none { pathProbeAcknowledged(id, now: now) }
    var roundTrip: Interval?
    if connections[id].flags.contains(.timing), acknowledgement >= connections[id].timedSequence {
      let measured = now - connections[id].timedAt
      roundTrip = measured
      connections[id].roundTrip.sample(measured)
      connections[id].flags.remove(.timing)
    }
    connections[id].roundTrip.acknowledged()
    let includesFin = connections[id].isFinAcknowledged && !finWasAcknowledged
    freeAcknowledged(id, includesFin ? bytes - 1 : bytes)
    growWindow(id, bytes, roundTrip: roundTrip, now: now)
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
}
