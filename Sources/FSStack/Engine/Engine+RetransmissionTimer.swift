// When the retransmission timer expires: after the retransmission timeout (RFC 6298 section 5), or
// earlier for a tail loss probe (RFC 8985 section 7.2).

extension Engine {
  /// The timer begins anew: something was acknowledged (RFC 6298 section 5.3).
  @inline(__always)
  mutating func restartRetransmissionTimer(_ id: ConnectionID, now: Instant) {
    guard connections[id].hasOutstanding else {
      connections[id].retransmitAt = .never
      if hasManyConnections { armTimers(id) }
      return
    }
    setProbeOrTimeout(id, timeoutAt: now + connections[id].roundTrip.current, now: now)
  }

  /// Data was sent for the first time. The timeout runs since the oldest segment was sent, a probe is
  /// due when the newest should have been acknowledged.
  mutating func newDataSent(_ id: ConnectionID, now: Instant) {
    let isSet =
      connections[id].retransmitAt != .never && !connections[id].flags.contains(.persisting)
    if isSet, connections[id].retransmissionTimer != .lossProbe { return }
    connections[id].flags.remove(.persisting)
    setProbeOrTimeout(id, timeoutAt: timeoutOfFirst(id, now: now), now: now)
  }

  /// When the timeout since the oldest segment was sent is over.
  func timeoutOfFirst(_ id: ConnectionID, now: Instant) -> Instant {
    let first = connections[id].flight.first
    let sentAt = first == .none ? now : records.slab[first].sentAt
    return max(sentAt + connections[id].roundTrip.current, now + .milliseconds(1))
  }

  private mutating func setProbeOrTimeout(_ id: ConnectionID, timeoutAt: Instant, now: Instant) {
    if mayProbe(id) {
      setRetransmissionTimer(id, .lossProbe, at: min(now + probeTimeout(id), timeoutAt))
    } else {
      setRetransmissionTimer(id, .retransmission, at: timeoutAt)
    }
  }

  /// Sets the timer to a full timeout, or to the end of the user timeout.
  mutating func setRetransmissionTimeout(_ id: ConnectionID, now: Instant) {
    setRetransmissionTimer(id, .retransmission, at: now + connections[id].roundTrip.current)
    clampToUserTimeout(id, now: now)
  }

  @inline(__always)
  mutating func setRetransmissionTimer(
    _ id: ConnectionID, _ timer: RetransmissionTimer, at moment: Instant
  ) {
    connections[id].retransmissionTimer = timer
    connections[id].retransmitAt = moment
    armTimers(id)
  }

  /// The timer has expired.
  mutating func retransmissionTimerExpired(_ id: ConnectionID, now: Instant) {
    switch connections[id].retransmissionTimer {
    case .retransmission: retransmissionTimeout(id, now: now)
    case .lossProbe: lossProbeTimeout(id, now: now)
    case .reordering: reorderingTimeout(id, now: now)
    }
  }
}
