// The phases of a sender (Linux's tcp_fastretrans_alert): open, disorder, recovery, loss.

extension Engine {
  /// Moves the phase on. True: the retransmission timer is set.
  mutating func react(
    _ id: ConnectionID, _ recovery: inout LossRecovery,
    _ acknowledgement: inout RecoveryAcknowledgement
  ) -> Bool {
    if acknowledgement.advance > 0, reneges(id) {
      awaitReneging(id, now: acknowledgement.now)
      return true
    }
    let unacknowledged = connections[id].sendUnacknowledged
    switch recovery.phase {
    case .recovery where unacknowledged >= recovery.recoveryPoint:
      recovered(id, &recovery, acknowledgement)
    case .recovery:
      if acknowledgement.advance > 0, isAnswerToOriginal(recovery, acknowledgement) {
        undo(id, &recovery)
      } else if recovery.spurious.allWereDuplicates {
        undo(id, &recovery)
      }
    case .loss:
      continueLoss(id, &recovery, acknowledgement)
    case .open, .disorder:
      if recovery.spurious.allWereDuplicates { undo(id, &recovery) }
    }
    let timerIsSet = detectLosses(id, &recovery, &acknowledgement)
    if recovery.isRecovering { return timerIsSet }
    if recovery.lostBytes > 0 {
      enterRecovery(id, &recovery, acknowledgement)
    } else {
      recovery.phase =
        recovery.sackedBytes > 0 || recovery.duplicates > 0 ? .disorder : .open
    }
    return timerIsSet
  }

  // MARK: Detection

  /// Marks what is lost. True: a timer is set for what may be.
  private mutating func detectLosses(
    _ id: ConnectionID, _ recovery: inout LossRecovery,
    _ acknowledgement: inout RecoveryAcknowledgement
  ) -> Bool {
    let lost = recovery.lostBytes
    defer { if recovery.lostBytes > lost { acknowledgement.hasLoss = true } }
    guard connections[id].flags.contains(.selectiveAcknowledgements) else {
      detectByDuplicates(id, &recovery, acknowledgement)
      return false
    }
    guard let wait = detectByTime(id, &recovery, now: acknowledgement.now) else { return false }
    setRetransmissionTimer(id, .reordering, at: acknowledgement.now + wait)
    return true
  }

  /// RACK_detect_loss of RFC 8985 section 6.2, step 5. Returns after what time the segments that are not
  /// yet late will be. Each look takes segments out of the list, but for one.
  func detectByTime(
    _ id: ConnectionID, _ recovery: inout LossRecovery, now: Instant
  ) -> Interval? {
    guard recovery.rack.isValid else { return nil }
    let limit = recovery.rack.roundTrip + reorderingWindow(id, recovery)
    while true {
      let oldest = connections[id].flight.sent.first
      guard oldest != .none else { return nil }
      let record = records.slab[oldest]
      guard !record.wasSentAfter(recovery.rack.sentAt, recovery.rack.end) else { return nil }
      guard record.sentAt + limit <= now else {
        // Those that were sent between are late at the latest when this one's successor would be.
        return recovery.rack.sentAt + limit - now
      }
      records.markLost(oldest, flight: &connections[id].flight, recovery: &recovery)
    }
  }

  func reorderingWindow(_ id: ConnectionID, _ recovery: LossRecovery) -> Interval {
    recovery.rack.window(
      isRecovering: recovery.isRecovering, sackedSegments: recovery.sackedSegments,
      smoothed: connections[id].roundTrip.smoothedRoundTrip,
      minimum: connections[id].roundTrip.minimum)
  }

  /// Without selective acknowledgements: the first segment is lost after three duplicates, and after a
  /// partial acknowledgement (RFC 5681 section 3.2, RFC 6582 section 3.2).
  private func detectByDuplicates(
    _ id: ConnectionID, _ recovery: inout LossRecovery, _ acknowledgement: RecoveryAcknowledgement
  ) {
    let first = connections[id].flight.first
    guard first != .none, records.slab[first].state == .inFlight else { return }
    switch recovery.phase {
    case .open, .disorder:
      guard recovery.duplicates >= Rack.duplicateThreshold, !isGuarded(id, recovery) else { return }
    case .recovery:
      guard acknowledgement.advance > 0, records.slab[first].sentAt < recovery.began else { return }
    case .loss: return
    }
    records.markLost(first, flight: &connections[id].flight, recovery: &recovery)
  }

  /// Duplicates at the point where recovery has ended are answers to what was sent again
  /// (RFC 6582 section 4.1).
  private func isGuarded(_ id: ConnectionID, _ recovery: LossRecovery) -> Bool {
    recovery.isGuarded && connections[id].sendUnacknowledged <= recovery.recoveryPoint
  }

  /// The reordering timer has expired (RFC 8985 section 6.2).
  mutating func reorderingTimeout(_ id: ConnectionID, now: Instant) {
    connections[id].retransmitAt = .never
    let recoveryID = connections[id].recovery
    guard connections[id].hasOutstanding, recoveryID != .none else { return }
    var recovery = recoveries[recoveryID]
    var acknowledgement = RecoveryAcknowledgement(advance: 0, isDuplicate: false, now: now)
    if !detectLosses(id, &recovery, &acknowledgement) {
      setRetransmissionTimer(id, .retransmission, at: timeoutOfFirst(id, now: now))
    }
    if recovery.lostBytes > 0 {
      // Later the window stays as it is: PRR goes by what is delivered, and nothing was (Linux's
      // tcp_rack_reo_timeout).
      if !recovery.isRecovering {
        enterRecovery(id, &recovery, acknowledgement)
        setRecoveryWindow(id, &recovery, delivered: 0, isSafe: false)
      }
      connections[id].flags.insert(.retransmit)
      scheduleOutput(id)
    }
    recoveries[recoveryID] = recovery
  }

  // MARK: Recovery

  private mutating func enterRecovery(
    _ id: ConnectionID, _ recovery: inout LossRecovery, _ acknowledgement: RecoveryAcknowledgement
  ) {
    counters.fastRetransmits += 1
    recovery.phase = .recovery
    recovery.began = acknowledgement.now
    recovery.recoveryPoint = connections[id].sendNext
    recovery.spurious.begin(
      connections[id].sendUnacknowledged,
      isProbing: recovery.isProbing && recovery.probeIsRetransmission)
    recovery.isProbing = false
    let flight = connections[id].flightSize
    connections[id].congestion.enterRecovery(
      inFlight: flight, segmentSize: connections[id].segmentSize, now: acknowledgement.now)
    // What was delivered before is not counted as delivered during recovery (RFC 9937 section 6).
    let delivered = recovery.sackedBytes + recovery.duplicateBytes
    recovery.reduction.begin(
      flight: flight - min(flight, delivered) + acknowledgement.delivery.bytes)
  }

  /// Everything that was sent when recovery began is acknowledged.
  private mutating func recovered(
    _ id: ConnectionID, _ recovery: inout LossRecovery, _ acknowledgement: RecoveryAcknowledgement
  ) {
    if isAnswerToOriginal(recovery, acknowledgement) || recovery.spurious.allWereDuplicates {
      undo(id, &recovery)
    } else {
      connections[id].congestion.exitRecovery()
      closeEpisode(id, &recovery)
    }
    recovery.rack.recovered()
  }

  private func closeEpisode(_ id: ConnectionID, _ recovery: inout LossRecovery) {
    recovery.phase = recovery.sackedBytes > 0 ? .disorder : .open
    // An undone episode leaves segments in flight that may be lost after all: their duplicates count.
    recovery.isGuarded = connections[id].sendUnacknowledged >= recovery.recoveryPoint
    recovery.duplicates = 0
    recovery.duplicateBytes = 0
    recovery.spurious.timeout = .off
  }

  // MARK: Undo

  private func isAnswerToOriginal(
    _ recovery: LossRecovery, _ acknowledgement: RecoveryAcknowledgement
  ) -> Bool {
    guard let echo = acknowledgement.echo else { return false }
    return recovery.spurious.isAnswerToOriginal(echo: echo)
  }

  /// Nothing was lost: the window is what it was, and nothing more is sent again.
  private mutating func undo(_ id: ConnectionID, _ recovery: inout LossRecovery) {
    counters.undos += 1
    if recovery.phase != .loss { recovery.rack.reorderingSeen() }
    records.unmarkLost(flight: &connections[id].flight, recovery: &recovery)
    connections[id].congestion.undo()
    recovery.spurious.end()
    closeEpisode(id, &recovery)
  }

  // MARK: Loss

  /// The retransmission timer has expired: everything that can be lost is (RFC 8985 section 6.3), and the
  /// window is one segment.
  mutating func enterLoss(_ id: ConnectionID, now: Instant) {
    guard let recoveryID = lossRecovery(of: id) else { return }
    var recovery = recoveries[recoveryID]
    let isNew =
      !recovery.isRecovering || connections[id].sendUnacknowledged >= recovery.recoveryPoint
      || recovery.phase == .loss && connections[id].attempts == 1
    // During fast recovery losses are certain (RFC 5682 section 2.1, step 1).
    let mayBeSpurious = recovery.phase != .recovery
    if isNew {
      recovery.spurious.begin(connections[id].sendUnacknowledged, isProbing: false)
    }
    let reneges = self.reneges(id)
    if reneges {
      counters.renegings += 1
      recovery.scoreboard.forget()
    }
    markTimedOut(id, &recovery, reneges: reneges, now: now)
    let size = connections[id].segmentSize
    connections[id].congestion.timedOut(
      inFlight: connections[id].flightSize, segmentSize: size, isFirst: isNew, now: now)
    if connections[id].flight.bytes > 0 {
      // What was sent lately is still under way.
      connections[id].congestion.setRecoveryWindow(connections[id].flight.bytes + size)
    }
    recovery.phase = .loss
    recovery.began = now
    recovery.recoveryPoint = connections[id].sendNext
    recovery.isProbing = false
    recovery.duplicates = 0
    recovery.duplicateBytes = 0
    recovery.spurious.timeout = mayBeSpurious && !reneges ? .expired : .off
    recoveries[recoveryID] = recovery
    connections[id].flags.insert(.retransmit)
  }

  private func markTimedOut(
    _ id: ConnectionID, _ recovery: inout LossRecovery, reneges: Bool, now: Instant
  ) {
    let first = connections[id].sendUnacknowledged
    let usesTime =
      recovery.rack.isValid && connections[id].flags.contains(.selectiveAcknowledgements)
    let limit = recovery.rack.roundTrip + reorderingWindow(id, recovery)
    records.markAllLost(flight: &connections[id].flight, recovery: &recovery, reneges: reneges) {
      !usesTime || $0.sequence == first || $0.sentAt + limit <= now
    }
  }

  /// An acknowledgement after a timeout: it was spurious, or what is lost goes out again
  /// (RFC 5682 section 3.1, as in Linux's tcp_process_loss).
  private mutating func continueLoss(
    _ id: ConnectionID, _ recovery: inout LossRecovery, _ acknowledgement: RecoveryAcknowledgement
  ) {
    let advances = acknowledgement.advance > 0
    let isOver = connections[id].sendUnacknowledged >= recovery.recoveryPoint
    if advances,
      isAnswerToOriginal(recovery, acknowledgement) || recovery.spurious.allWereDuplicates
    {
      undo(id, &recovery)
      return
    }
    if recovery.spurious.timeout != .off {
      if acknowledgement.delivery.hasOriginalOfEpisode {
        undo(id, &recovery)
        return
      }
      if recovery.spurious.timeout == .newDataSent {
        if acknowledgement.isDuplicate || acknowledgement.delivery.sackedBytes > 0 {
          recovery.spurious.timeout = .off
        }
      } else if advances, !isOver {
        recovery.spurious.timeout = .newDataSent
        recovery.recoveryPoint = connections[id].sendNext
      }
    }
    guard isOver else { return }
    closeEpisode(id, &recovery)
    recovery.rack.recovered()
  }

  /// Whether new data is to be sent in place of lost segments.
  func testsTimeout(_ id: ConnectionID) -> Bool {
    let recovery = connections[id].recovery
    guard recovery != .none, recoveries[recovery].phase == .loss,
      recoveries[recovery].spurious.timeout == .newDataSent
    else { return false }
    return connections[id].sendNext == recoveries[recovery].recoveryPoint
  }

  /// There was no new data: what is lost goes out again.
  func timeoutIsReal(_ id: ConnectionID) {
    recoveries[connections[id].recovery].spurious.timeout = .off
  }

  // MARK: Reneging

  /// Whether the first segment is one that the peer has reported: it has thrown it away, or it would have
  /// acknowledged it (RFC 2018 section 8).
  private func reneges(_ id: ConnectionID) -> Bool {
    let first = connections[id].flight.first
    return first != .none && records.slab[first].state == .sacked
  }

  /// The acknowledgement may only be late: a short timeout, as in Linux.
  private mutating func awaitReneging(_ id: ConnectionID, now: Instant) {
    let delay = max(connections[id].roundTrip.smoothed / 16, 10_000_000)
    setRetransmissionTimer(id, .retransmission, at: now + Interval(nanoseconds: delay))
  }
}
