// The tail loss probe (RFC 8985 section 7): when nothing is acknowledged for two round trips, one segment
// asks the peer for what it has, so that a loss at the end of a flight is repaired without a timeout.

extension Engine {
  /// Whether a probe is due before the timeout: only when nothing is known to be missing (section 7.2).
  @inline(__always)
  func mayProbe(_ id: ConnectionID) -> Bool {
    guard connections[id].flags.contains(.selectiveAcknowledgements),
      connections[id].attempts == 0, connections[id].sendWindow > 0,
      connections[id].state >= .established
    else { return false }
    let recovery = connections[id].recovery
    guard recovery != .none else { return true }
    return recoveries[recovery].phase == .open && !recoveries[recovery].isProbing
  }

  /// PTO: two round trips, and for a single segment the time for which the peer may delay its
  /// acknowledgement. Linux takes its smallest timeout for that.
  @inline(__always)
  func probeTimeout(_ id: ConnectionID) -> Interval {
    let smoothed = connections[id].roundTrip.smoothed
    guard smoothed > 0 else { return .seconds(1) }
    let delay: UInt64 = connections[id].flight.count == 1 ? 200_000_000 : 2_000_000
    return Interval(nanoseconds: 2 * smoothed + delay)
  }

  /// Sends a probe: new data if there is any that may be sent, else the last segment again
  /// (section 7.3). The timeout follows in any case.
  mutating func lossProbeTimeout(_ id: ConnectionID, now: Instant) {
    connections[id].retransmitAt = .never
    guard connections[id].hasOutstanding else { return }
    connections[id].flags.insert(.lossProbe)
    setRetransmissionTimeout(id, now: now)
    scheduleOutput(id)
  }

  /// Called when segments are sent. False: no free frame.
  mutating func sendLossProbe(_ id: ConnectionID, now: Instant) -> Bool {
    guard let recovery = lossRecovery(of: id), connections[id].flight.last != .none,
      recoveries[recovery].phase == .open
    else {
      // Something has arrived in the meantime.
      connections[id].flags.remove(.lossProbe)
      return true
    }
    let next = connections[id].sendNext
    guard sendNewProbe(id, now: now) else { return false }
    let isNew = connections[id].sendNext != next
    if !isNew {
      guard retransmit(id, connections[id].flight.last, now: now) else { return false }
    }
    connections[id].flags.remove(.lossProbe)
    counters.lossProbes += 1
    recoveries[recovery].isProbing = true
    recoveries[recovery].probeIsRetransmission = !isNew
    recoveries[recovery].probeEnd = connections[id].sendNext
    setRetransmissionTimeout(id, now: now)
    return true
  }

  /// A segment of new data, within the peer's window but beyond the congestion window.
  private mutating func sendNewProbe(_ id: ConnectionID, now: Instant) -> Bool {
    let unsent = Int(max(connections[id].sendQueueEnd - connections[id].sendNext, 0))
    let offered =
      Int(connections[id].sendWindow)
      - Int(connections[id].sendNext - connections[id].sendUnacknowledged)
    let length = min(min(unsent, offered), Int(connections[id].segmentSize))
    guard length > 0, records.mayAppend(to: connections[id].flight) else { return true }
    let isLast = length == unsent
    return sendNext(
      id, length: length, finishes: isLast && connections[id].mayFinish(after: length),
      isLast: isLast, now: now)
  }

  /// An acknowledgement of everything up to the probe tells what became of it (section 7.4). True: it
  /// has repaired a loss that nothing else tells of.
  func probeAnswered(
    _ recovery: inout LossRecovery, acknowledgement: SequenceNumber, advances: Bool,
    isDuplicate: Bool, _ report: SelectiveReport
  ) -> Bool {
    guard recovery.isProbing, acknowledgement >= recovery.probeEnd else { return false }
    if !recovery.probeIsRetransmission {
      recovery.isProbing = false
    } else if report.hasDuplicate, report.duplicate.right == recovery.probeEnd {
      // The segment and the probe have arrived.
      recovery.isProbing = false
    } else if acknowledgement > recovery.probeEnd {
      recovery.isProbing = false
      return true
    } else if !advances, isDuplicate, report.count == 0 {
      recovery.isProbing = false
    }
    return false
  }
}
