// Acknowledgements when something is, or may be, lost: what they tell of each segment, and the states of
// recovery (RFC 5681, RFC 6675, RFC 8985; where they leave a choice, Linux).

extension Engine {
  /// The connection's loss recovery, new if it has none.
  mutating func lossRecovery(of id: ConnectionID) -> LossRecoveryID? {
    if connections[id].recovery == .none, let recovery = recoveries.allocate(LossRecovery()) {
      recoveries[recovery].scoreboard.highest = connections[id].sendUnacknowledged
      recoveries[recovery].recoveryPoint = connections[id].sendUnacknowledged
      connections[id].recovery = recovery
    }
    // There is one for each connection.
    return connections[id].recovery == .none ? nil : connections[id].recovery
  }

  /// The connection is over.
  mutating func endRecovery(_ id: ConnectionID) {
    records.removeAll(&connections[id].flight)
    if connections[id].recovery != .none { recoveries.free(connections[id].recovery) }
    connections[id].recovery = .none
  }

  /// Bytes thought to be in flight: "pipe" of RFC 6675.
  @inline(__always)
  func pipe(_ id: ConnectionID) -> UInt32 {
    let bytes = connections[id].flight.bytes
    let recovery = connections[id].recovery
    guard recovery != .none else { return bytes }
    return bytes - min(bytes, recoveries[recovery].duplicateBytes)
  }

  /// Whether nothing is missing.
  @inline(__always)
  func isQuiet(_ id: ConnectionID) -> Bool {
    let recovery = connections[id].recovery
    return recovery == .none || recoveries[recovery].isQuiet
  }

  /// Whether a loss is being repaired.
  func isRecovering(_ id: ConnectionID) -> Bool {
    let recovery = connections[id].recovery
    return recovery != .none && recoveries[recovery].isRecovering
  }

  /// An acknowledgement that does not advance SND.UNA, but repeats it or reports blocks.
  @inline(never)
  mutating func lossSignalArrives(
    _ id: ConnectionID, _ segment: inout Segment, isDuplicate: Bool, now: Instant
  ) {
    _ = segmentsDelivered(id, &segment, advance: 0, isDuplicate: isDuplicate, now: now)
    scheduleOutput(id)
  }

  /// Takes an acknowledgement that advances SND.UNA by `advance`, or tells something else. True: it has
  /// set the retransmission timer.
  @inline(never)
  mutating func segmentsDelivered(
    _ id: ConnectionID, _ segment: inout Segment, advance: UInt32, isDuplicate: Bool, now: Instant
  ) -> Bool {
    guard let recoveryID = lossRecovery(of: id) else { return false }
    var recovery = recoveries[recoveryID]
    // Blocks mean something only where they were agreed upon (RFC 2018 section 2).
    if !connections[id].flags.contains(.selectiveAcknowledgements) { segment.options.sackCount = 0 }
    let report = SelectiveReport(
      segment.options, acknowledgement: segment.acknowledgement,
      unacknowledged: connections[id].sendUnacknowledged, next: connections[id].sendNext)
    counters.impossibleBlocks += UInt64(report.impossible)
    var delivery = takeRecords(id, &segment, report, &recovery, now: now)
    var acknowledgement = RecoveryAcknowledgement(
      advance: advance, isDuplicate: isDuplicate && delivery.sackedBytes == 0, now: now)
    if connections[id].flags.contains(.timestamps), segment.options.hasTimestamp {
      acknowledgement.echo = segment.options.timestampEcho
    }
    if !connections[id].flags.contains(.selectiveAcknowledgements) {
      countDuplicate(id, &recovery, &delivery, &acknowledgement)
    }
    acknowledgement.delivery = delivery
    let roundTrip = measure(id, delivery, &segment, advances: advance > 0, now: now)
    takeDuplicateReport(id, report, &recovery)
    if probeAnswered(
      &recovery, acknowledgement: segment.acknowledgement, advances: advance > 0,
      isDuplicate: isDuplicate, report), !recovery.isRecovering
    {
      // The probe has repaired a loss: a loss all the same (section 7.4.2).
      reduceForProbe(id, acknowledged: advance, now: now)
    }
    let timerIsSet = react(id, &recovery, &acknowledgement)
    setWindow(id, &recovery, acknowledgement, roundTrip)
    recoveries[recoveryID] = recovery
    if recovery.lostBytes > 0 {
      connections[id].flags.insert(.retransmit)
      scheduleOutput(id)
    } else {
      connections[id].flags.remove(.retransmit)
    }
    return timerIsSet
  }

  /// Updates records, scoreboard and RACK (RFC 8985 section 6.2, steps 1 to 3).
  private func takeRecords(
    _ id: ConnectionID, _ segment: inout Segment, _ report: SelectiveReport,
    _ recovery: inout LossRecovery, now: Instant
  ) -> Delivery {
    var delivery = Delivery()
    var rack = recovery.rack
    let highest = recovery.scoreboard.highest
    var reached = max(highest, connections[id].sendUnacknowledged)
    let recoveryPoint = recovery.recoveryPoint
    let minimum = connections[id].roundTrip.minimum
    let hasEcho = connections[id].flags.contains(.timestamps) && segment.options.hasTimestamp
    let echo = segment.options.timestampEcho
    let offset = connections[id].timestampOffset
    func take(_ record: TransmitRecord, _ isSelective: Bool) {
      delivery.take(record, isSelective: isSelective)
      if !record.isRetransmitted, record.end <= recoveryPoint {
        delivery.hasOriginalOfEpisode = true
      }
      reached = max(reached, record.end)
      let isOriginal =
        hasEcho && record.isRetransmitted
        && Int32(bitPattern: echo &- timestamp(offset, now: record.sentAt)) < 0
      rack.delivered(
        record, isOriginal: isOriginal, highest: highest, minimumRoundTrip: minimum, now: now)
    }
    let part = records.acknowledge(
      segment.acknowledgement, flight: &connections[id].flight, recovery: &recovery
    ) { take($0, false) }
    delivery.bytes += part
    if recovery.sackedSegments == 0 { recovery.scoreboard.forgetRuns() }
    if report.count > 0 {
      records.mark(
        report, unacknowledged: connections[id].sendUnacknowledged,
        flight: &connections[id].flight, recovery: &recovery
      ) { take($0, true) }
    }
    recovery.rack = rack
    recovery.scoreboard.highest = reached
    return delivery
  }

  /// A peer without selective acknowledgements: each duplicate tells that some segment has arrived. Not
  /// more of them are believed than segments were in flight when the first came (RFC 5681 section 3.2).
  private func countDuplicate(
    _ id: ConnectionID, _ recovery: inout LossRecovery, _ delivery: inout Delivery,
    _ acknowledgement: inout RecoveryAcknowledgement
  ) {
    let size = connections[id].segmentSize
    if acknowledgement.advance > 0 {
      // One segment fills the hole, the others have been counted.
      let hole = min(acknowledgement.advance, size)
      let counted = min(recovery.duplicateBytes, acknowledgement.advance - hole)
      delivery.bytes = acknowledgement.advance - counted
      // Originals behind what was sent again may have arrived before it: they show nothing.
      if delivery.hasRetransmission { delivery.hasOriginalOfEpisode = false }
      recovery.duplicateBytes -= counted
      recovery.duplicates = 0
      // After a timeout, too, new data that has arrived behind the hole is in flight no more.
      if !recovery.isRecovering { recovery.duplicateBytes = 0 }
      return
    }
    guard acknowledgement.isDuplicate else { return }
    let flight = connections[id].flight.bytes
    let room = flight - min(flight, recovery.duplicateBytes)
    if recovery.duplicates == 0 { recovery.duplicateLimit = connections[id].flight.count }
    guard room > 0, recovery.duplicates < recovery.duplicateLimit else {
      acknowledgement.isDuplicate = false
      return
    }
    recovery.duplicates += 1
    recovery.duplicateBytes += min(size, room)
    delivery.bytes = min(size, room)
  }

  /// D-SACK (RFC 2883): something that was sent again had arrived before.
  private mutating func takeDuplicateReport(
    _ id: ConnectionID, _ report: SelectiveReport, _ recovery: inout LossRecovery
  ) {
    var isBelieved = false
    if report.hasDuplicate {
      let size = connections[id].segmentSize
      let length = UInt32(report.duplicate.right - report.duplicate.left)
      let segments = min((length - 1) / size + 1, recovery.retransmissions &+ 1)
      // The network duplicates, too, and a peer may lie: not more than was sent again.
      let reported = recovery.duplicatesReported &+ segments
      if reported <= recovery.retransmissions {
        recovery.duplicatesReported = reported
        isBelieved = true
        if report.duplicate.right <= connections[id].sendUnacknowledged {
          recovery.spurious.duplicateReported(report.duplicate, segments: Int32(segments))
        }
      }
    }
    recovery.rack.acknowledged(
      connections[id].sendUnacknowledged, next: connections[id].sendNext,
      hasDuplicate: isBelieved)
  }

  private func reduceForProbe(_ id: ConnectionID, acknowledged: UInt32, now: Instant) {
    let size = connections[id].segmentSize
    connections[id].congestion.enterRecovery(
      inFlight: connections[id].flightSize + acknowledged, segmentSize: size, now: now)
    connections[id].congestion.exitRecovery()
  }

  /// The congestion window after an acknowledgement: PRR in recovery, else the algorithm's.
  private func setWindow(
    _ id: ConnectionID, _ recovery: inout LossRecovery,
    _ acknowledgement: RecoveryAcknowledgement, _ roundTrip: Interval?
  ) {
    let delivered = acknowledgement.delivery.bytes
    if recovery.phase == .recovery {
      guard delivered > 0 || recovery.reduction.sent == 0 else { return }
      setRecoveryWindow(
        id, &recovery, delivered: delivered,
        isSafe: acknowledgement.advance > 0 && !acknowledgement.hasLoss)
    } else if acknowledgement.advance > 0, delivered > 0 {
      connections[id].congestion.acknowledged(
        connections[id].congestionSample(
          delivered: delivered, roundTrip: roundTrip, now: acknowledgement.now))
    }
  }
}

extension Engine {
  /// The window of recovery by PRR.
  func setRecoveryWindow(
    _ id: ConnectionID, _ recovery: inout LossRecovery, delivered: UInt32, isSafe: Bool
  ) {
    let bytes = connections[id].flight.bytes
    let window = recovery.reduction.acknowledged(
      delivered, pipe: bytes - min(bytes, recovery.duplicateBytes),
      threshold: connections[id].congestion.slowStartThreshold,
      segmentSize: connections[id].segmentSize, isSafe: isSafe)
    connections[id].congestion.setRecoveryWindow(window)
  }
}

/// What the states of recovery must know of an acknowledgement.
struct RecoveryAcknowledgement {
  /// Bytes by which it advances SND.UNA.
  var advance: UInt32
  /// Of a peer without selective acknowledgements, or one that reports nothing.
  var isDuplicate: Bool
  var now: Instant
  var delivery = Delivery()
  /// Its timestamp echo reply.
  var echo: UInt32?
  /// It has shown that something is lost.
  var hasLoss = false
}
