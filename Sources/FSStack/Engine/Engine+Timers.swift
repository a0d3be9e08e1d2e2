// Timers (RFC 9293 section 3.10.8).

extension Engine {
  /// Lets time pass: runs every timer that is due.
  public mutating func advance(to now: Instant) {
    while let id = timers.next(by: now) {
      run(id, now: now)
      if connections.isAllocated(id), connections[id].state != .closed { armTimers(id) }
    }
    timeWait.expire(now: now)
    expireHalfOpen(now: now)
  }

  /// A moment before which no timer is due; it may be early, never late.
  public func nextDeadline() -> Instant? {
    let deadline = min(
      timers.nextDeadline() ?? .never,
      min(timeWait.nextDeadline ?? .never, halfOpen.nextDeadline ?? .never))
    return deadline == .never ? nil : deadline
  }

  private mutating func run(_ id: ConnectionID, now: Instant) {
    if connections[id].acknowledgeAt <= now { acknowledgementTimeout(id) }
    if connections[id].pushAt <= now {
      connections[id].pushAt = .never
      connections[id].flags.insert(.pushNow)
      scheduleOutput(id)
    }
    if connections[id].retransmitAt <= now {
      retransmissionTimerExpired(id, now: now)
      guard connections.isAllocated(id), connections[id].state != .closed else { return }
    }
    if connections[id].lifeAt <= now { lifeTimeout(id, now: now) }
  }

  // MARK: Keep-alive and FIN-WAIT-2

  /// Sets the keep-alive timer by the options.
  mutating func armKeepAlive(_ id: ConnectionID, now: Instant) {
    guard connections[id].state >= .established, !connections[id].flags.contains(.orphaned) else {
      return
    }
    guard connections[id].flags.contains(.keepAlive) else {
      connections[id].lifeAt = .never
      return
    }
    connections[id].lifeAt = now + connections[id].keepAliveIdle
    armTimers(id)
  }

  private mutating func lifeTimeout(_ id: ConnectionID, now: Instant) {
    connections[id].lifeAt = .never
    if connections[id].flags.contains(.orphaned) {
      // FIN-WAIT-2 without anybody to read: forgotten, as Linux after tcp_fin_timeout.
      retire(id)
      return
    }
    keepAliveTimeout(id, now: now)
  }

  /// Probes an idle peer (MUST-26: only when nothing is outstanding and nothing came).
  private mutating func keepAliveTimeout(_ id: ConnectionID, now: Instant) {
    let idle = now - connections[id].lastReceivedAt
    if idle < connections[id].keepAliveIdle || connections[id].hasOutstanding {
      if idle < connections[id].keepAliveIdle { connections[id].keepAliveSent = 0 }
      let rest = connections[id].keepAliveIdle.nanoseconds
      connections[id].lifeAt =
        connections[id].lastReceivedAt + Interval(nanoseconds: rest)
      if connections[id].lifeAt <= now { connections[id].lifeAt = now + .seconds(1) }
      return
    }
    if connections[id].keepAliveSent >= connections[id].keepAliveProbes {
      sendReset(id)
      fail(id, SocketError.timedOut)
      return
    }
    connections[id].keepAliveSent += 1
    connections[id].flags.insert(.probe)
    connections[id].lifeAt = now + connections[id].keepAliveInterval
    scheduleOutput(id)
  }
}
