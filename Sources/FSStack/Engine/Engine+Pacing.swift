// Pacing: only for connections that ask for it (SO_MAX_PACING_RATE), as in Linux without fq.

extension Engine {
  /// Whether pacing lets another segment of data out now; if not, a timer is set.
  @inline(__always)
  mutating func paceAllows(_ id: ConnectionID, now: Instant) -> Bool {
    guard connections[id].pacer.isOn else { return true }
    guard !connections[id].pacer.permits(now: now) else { return true }
    armTimers(id)
    return false
  }

  /// Data has been sent. The first ten segments of a connection are not paced, as in Linux.
  @inline(__always)
  func pace(_ id: ConnectionID, _ bytes: Int, now: Instant) {
    guard connections[id].pacer.isOn, connections[id].tally.dataSegmentsOut > 10 else { return }
    connections[id].pacer.sent(UInt32(bytes), rate: pacingRate(connections[id]), now: now)
  }

  /// The rate, bytes per second: what the window makes of it, and at most what the application wants.
  func pacingRate(_ connection: Connection) -> UInt64 {
    let rate = connection.congestion.pacingRate(
      smoothedRoundTrip: Interval(nanoseconds: connection.roundTrip.smoothed))
    return connection.pacer.isOn ? min(rate, UInt64(connection.pacer.maximumRate)) : rate
  }

  /// SO_MAX_PACING_RATE.
  mutating func setMaximumPacingRate(_ id: ConnectionID, _ rate: UInt32) {
    connections[id].pacer.maximumRate = rate
    if connections[id].pacer.isWaiting { resumeAfterPause(id) }
  }

  /// What has waited for its moment goes out at the end of the burst.
  mutating func resumeAfterPause(_ id: ConnectionID) {
    connections[id].pacer.stopWaiting()
    scheduleOutput(id)
  }
}
