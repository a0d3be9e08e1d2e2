// Pacing: only for connections that ask for it (SO_MAX_PACING_RATE), as in Linux without fq.

extension Engine {
  /// Whether pacing lets another segment of data out now; if not, a timer is set.
  @inline(__always)
  mutating func paceAllows(_ id: ConnectionID, now: Instant) -> Bool {
    let state = connections[id].uncommon
    guard state != .none, uncommonStates[state].pacer.isOn else { return true }
    guard !uncommonStates[state].pacer.permits(now: now) else { return true }
    armTimers(id)
    return false
  }

  /// Data has been sent. The first ten segments of a connection are not paced, as in Linux.
  @inline(__always)
  func pace(_ id: ConnectionID, _ bytes: Int, now: Instant) {
    let state = connections[id].uncommon
    guard state != .none, uncommonStates[state].pacer.isOn,
      connections[id].tally.dataSegmentsOut > 10
    else { return }
    uncommonStates[state].pacer.sent(UInt32(bytes), rate: pacingRate(id), now: now)
  }

  /// The rate, bytes per second: what the window makes of it, and at most what the application wants.
  func pacingRate(_ id: ConnectionID) -> UInt64 {
    let rate = connections[id].congestion.pacingRate(
      smoothedRoundTrip: Interval(nanoseconds: connections[id].roundTrip.smoothed))
    let pacer = uncommon(id).pacer
    return pacer.isOn ? min(rate, UInt64(pacer.maximumRate)) : rate
  }

  /// SO_MAX_PACING_RATE.
  mutating func setMaximumPacingRate(_ id: ConnectionID, _ rate: UInt32) {
    changeUncommon(id) { $0.pacer.maximumRate = rate }
    if uncommon(id).pacer.isWaiting { resumeAfterPause(id) }
  }

  /// What has waited for its moment goes out at the end of the burst.
  mutating func resumeAfterPause(_ id: ConnectionID) {
    changeUncommon(id) { $0.pacer.stopWaiting() }
    scheduleOutput(id)
  }
}
