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
    if connections[id].attempts >= 3 { refreshNextHop(id) }
    if connections[id].flags.contains(.persisting) {
      persistTimeout(id, now: now)
      return
    }
    counters.timeouts += 1
    connections[id].flags.remove(.lossProbe)
    suspectBlackHole(id, now: now)
    if connections[id].state >= .established {
      enterLoss(id, now: now)
    } else {
      connections[id].sendNext = connections[id].sendUnacknowledged
    }
    setRetransmissionTimeout(id, now: now)
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
      // The user timeout counts from here.
      if connections[id].unacknowledgedSince == .never { connections[id].unacknowledgedSince = now }
      setRetransmissionTimeout(id, now: now)
    }
    scheduleOutput(id)
  }

  /// After a loss the way may have changed: ask the control plane's tables again (MUST-20 R1,
  /// SHLD-10).
  mutating func refreshNextHop(_ id: ConnectionID) {
    if let path = paths.find(connections[id].flow.remote), let nextHop = path.nextHop {
      // The way of a connection whose source address its application has chosen may be another (ip-rule(8)).
      let isSameLink =
        path.interface == Int(connections[id].interface)
        && path.vlan ?? NetworkLayer.untagged == connections[id].vlan
      if isSameLink { connections[id].nextHop = nextHop }
    } else {
      requestPath(connections[id].flow.remote)
    }
  }

  // MARK: Segments that are sent again

  /// Sends lost segments again, as far as the windows allow. False: no free frame.
  mutating func retransmitLost(_ id: ConnectionID, now: Instant) -> Bool {
    let recovery = connections[id].recovery
    guard recovery != .none else { return true }
    while true {
      let record = records.nextLost(recoveries[recovery])
      guard record != .none else {
        connections[id].flags.remove(.retransmit)
        return true
      }
      let length = records.slab[record].length
      guard connections[id].congestionRoom(pipe: pipe(id), wanted: length) > 0 else { return true }
      guard retransmit(id, record, now: now) else { return false }
      // Beyond the window of a peer that has shrunk it nothing goes out but the first segment.
      if records.slab[record].state != .inFlight { return true }
    }
  }

  /// Sends one segment again. False: no free frame.
  mutating func retransmit(_ id: ConnectionID, _ record: TransmitRecordID, now: Instant) -> Bool {
    guard let recovery = lossRecovery(of: id) else { return true }
    let isFirst = record == connections[id].flight.first
    let windowEnd = connections[id].sendUnacknowledged + connections[id].sendWindow
    guard isFirst || records.slab[record].end <= windowEnd else { return true }
    let finishes = records.slab[record].end > connections[id].sendQueueEnd
    records.fit(
      record, connections[id].segmentSize + (finishes ? 1 : 0),
      flight: &connections[id].flight, recovery: &recoveries[recovery])
    guard transmitAgain(id, records.slab[record], now: now) else { return false }
    records.retransmitted(
      record, flight: &connections[id].flight, recovery: &recoveries[recovery], now: now)
    recoveries[recovery].reduction.transmitted(records.slab[record].length)
    recoveries[recovery].retransmissions &+= 1
    recoveries[recovery].spurious.retransmitted(
      stamp: timestamp(connections[id].timestampOffset, now: now))
    if isFirst { setRetransmissionTimeout(id, now: now) }
    return true
  }

  /// Puts a record's bytes into frames: one, unless its path has become narrower and there was no room
  /// to divide it.
  private mutating func transmitAgain(
    _ id: ConnectionID, _ record: TransmitRecord, now: Instant
  ) -> Bool {
    let queueEnd = connections[id].sendQueueEnd
    var sequence = record.sequence
    repeat {
      let rest = max(min(record.end, queueEnd) - sequence, 0)
      let length = min(UInt32(rest), connections[id].segmentSize)
      var flags: TCPFlags = .ack
      if sequence + length == queueEnd {
        if length > 0 { flags.insert(.psh) }
        if record.end > queueEnd { flags.insert(.fin) }
      }
      guard transmit(id, at: sequence, length: Int(length), flags: flags, now: now) else {
        return false
      }
      counters.retransmissions += 1
      sequence += length + (flags.contains(.fin) ? 1 : 0)
    } while sequence < record.end
    return true
  }

  /// The path carries less than before: what is in flight and too large is lost, and goes out again in
  /// smaller segments (RFC 1191, RFC 8201). Not a sign of congestion.
  mutating func resegment(_ id: ConnectionID, now: Instant) {
    guard connections[id].state >= .established, connections[id].flight.count > 0,
      let recovery = lossRecovery(of: id)
    else {
      scheduleOutput(id)
      return
    }
    let size = connections[id].segmentSize
    var state = recoveries[recovery]
    records.markAllLost(flight: &connections[id].flight, recovery: &state, reneges: false) {
      $0.length > size
    }
    if state.lostBytes > 0 {
      connections[id].flags.insert(.retransmit)
      if !state.isRecovering {
        // The window stays as it is (Linux's tcp_simple_retransmit).
        state.phase = .loss
        state.began = now
        state.recoveryPoint = connections[id].sendNext
        state.isProbing = false
        state.spurious.end()
      }
    }
    recoveries[recovery] = state
    scheduleOutput(id)
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
      (1...0xffff).contains(uncommon(id).sendUrgent - connections[id].sendUnacknowledged)
    else { return true }
    let sequence = connections[id].sendUnacknowledged
    return transmit(id, at: sequence, length: 0, flags: .ack, now: now)
  }
}
