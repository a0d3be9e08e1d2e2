// Sending again: what was lost, and probes of a peer that is silent.

extension Engine {
  mutating func retransmissionTimeout(_ id: ConnectionID, now: Instant) {
    connections[id].retransmitAt = .never
    if connections[id].flags.contains(.awaitsPath) {
      fail(id, SocketError.hostUnreachable)
      return
    }
    guard connections[id].hasOutstanding || connections[id].flags.contains(.persisting) else {
      return
    }
    connections[id].attempts = min(connections[id].attempts + 1, 254)
    if isExhausted(id, now: now) {
      giveUp(id)
      return
    }
    connections[id].roundTrip.expired()
    if connections[id].state >= .established, connections[id].sendWindow == 0 {
      connections[id].flags.insert(.persisting)
    }
    if connections[id].flags.contains(.persisting) {
      persistTimeout(id, now: now)
      return
    }
    counters.timeouts += 1
    let flight = connections[id].sendMaximum - connections[id].sendUnacknowledged
    // One loss lowers the threshold once.
    let isFirst =
      connections[id].attempts == 1 && !connections[id].fastRetransmit.isRecovering
    connections[id].fastRetransmit.timedOut()
    connections[id].congestion.timedOut(
      inFlight: UInt32(max(flight, 0)), segmentSize: connections[id].segmentSize,
      isFirst: isFirst, now: now)
    refreshNextHop(id)
    suspectBlackHole(id, now: now)
    goBack(id)
    connections[id].retransmitAt = now + connections[id].roundTrip.current
    scheduleOutput(id)
  }

  /// The zero-window probe: without data, or, when a partial segment only waits for the window, the
  /// bytes that fit.
  private mutating func persistTimeout(_ id: ConnectionID, now: Instant) {
    if connections[id].sendWindow > 0 {
      connections[id].flags.insert(.pushNow)
      connections[id].flags.remove(.persisting)
    } else {
      connections[id].flags.insert(.probe)
      connections[id].retransmitAt = now + connections[id].roundTrip.current
    }
    scheduleOutput(id)
  }

  /// Whether the connection has been tried long enough: R2 of RFC 9293 section 3.8.3, with Linux's
  /// counts.
  private func isExhausted(_ id: ConnectionID, now: Instant) -> Bool {
    let connection = connections[id]
    let isPersisting = connection.flags.contains(.persisting)
    if connection.userTimeout.nanoseconds > 0, connection.unacknowledgedSince != .never,
      now - connection.unacknowledgedSince >= connection.userTimeout
    {
      return true
    }
    switch connection.state {
    case .synSent:
      return connection.attempts > 6
    case .synReceived:
      return connection.attempts > 5
    case .closed, .listen, .established, .finWait1, .finWait2, .closeWait, .closing, .lastAck,
      .timeWait:
      // With its window closed but answering, a peer is alive (MUST-37): `attempts` begins anew with
      // each answer. An orphan has nobody to wait for it.
      return connection.attempts > (connection.flags.contains(.orphaned) ? 8 : 15)
        || isPersisting && connection.attempts > 15
    }
  }

  private mutating func giveUp(_ id: ConnectionID) {
    if connections[id].flags.contains(.orphaned) {
      abort(id)
    } else {
      let reason = connections[id].softError
      fail(id, reason != 0 ? reason : SocketError.timedOut)
    }
  }

  /// After a loss the way may have changed: ask the control plane's tables again (MUST-20 R1).
  private mutating func refreshNextHop(_ id: ConnectionID) {
    guard connections[id].attempts >= 3 else { return }
    if let path = paths.find(connections[id].flow.remote), let nextHop = path.nextHop {
      connections[id].nextHop = nextHop
    } else {
      requestPath(connections[id].flow.remote)
    }
  }

  /// Sends the segment at SND.UNA again (fast retransmit, partial acknowledgement).
  mutating func retransmitFirst(_ id: ConnectionID, now: Instant) -> Bool {
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
  mutating func sendProbe(_ id: ConnectionID, now: Instant) -> Bool {
    guard sendUrgentProbe(id, now: now) else { return false }
    let sequence = connections[id].sendUnacknowledged - UInt32(1)
    guard transmit(id, at: sequence, length: 0, flags: .ack, now: now) else { return false }
    connections[id].flags.remove(.probe)
    counters.probes += 1
    return true
  }

  /// With urgent data behind a closed window, a probe goes first that carries the pointer, as in
  /// Linux (tcp_write_wakeup): a segment with an acceptable number.
  private mutating func sendUrgentProbe(_ id: ConnectionID, now: Instant) -> Bool {
    guard connections[id].flags.contains(.urgentQueued),
      (1...0xffff).contains(connections[id].sendUrgent - connections[id].sendUnacknowledged)
    else { return true }
    let sequence = connections[id].sendUnacknowledged
    return transmit(id, at: sequence, length: 0, flags: .ack, now: now)
  }
}
