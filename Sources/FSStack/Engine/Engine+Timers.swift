// Timers (RFC 9293 section 3.10.8).

extension Engine {
  /// Lets time pass: runs every timer that is due.
  public mutating func advance(to now: Instant) {
    let looksAhead = hasManyConnections
    while let id = timers.next(by: now) {
      if looksAhead { prefetchTimer() }
      run(id, now: now)
      // What has ended is closed, also when nothing but its place is left.
      if connections[id].state != .closed { armTimers(id) }
    }
    timeWait.expire(now: now)
    moved.expire(now: now)
    expireHalfOpen(now: now)
  }

  /// A moment before which no timer is due; it may be early, never late.
  public func nextDeadline() -> Instant? {
    let deadline = min(
      timers.nextDeadline() ?? .never,
      min(
        min(timeWait.nextDeadline ?? .never, moved.nextDeadline ?? .never),
        halfOpen.nextDeadline ?? .never))
    return deadline == .never ? nil : deadline
  }

  private mutating func run(_ id: ConnectionID, now: Instant) {
    if connections[id].acknowledgeAt <= now { acknowledgementTimeout(id) }
    if connections[id].uncommon != .none { runUncommon(id, now: now) }
    if connections[id].retransmitAt <= now {
      retransmissionTimerExpired(id, now: now)
      guard connections[id].state != .closed else { return }
    }
    if connections[id].lifeAt <= now { lifeTimeout(id, now: now) }
  }

  private mutating func runUncommon(_ id: ConnectionID, now: Instant) {
    let state = connections[id].uncommon
    if uncommonStates[state].pushAt <= now {
      uncommonStates[state].pushAt = .never
      connections[id].flags.insert(.pushNow)
      scheduleOutput(id)
    }
    if uncommonStates[state].pacer.deadline <= now { resumeAfterPause(id) }
  }
}
