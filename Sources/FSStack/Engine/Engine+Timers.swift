// Timers (RFC 9293 section 3.10.8).

extension Engine {
  /// Lets time pass: runs every timer that is due.
  public mutating func advance(to now: Instant) {
    while let id = timers.next(by: now) {
      run(id, now: now)
      if connections.isAllocated(id), connections[id].state != .closed { armTimers(id) }
    }
    timeWait.expire(now: now)
  }

  /// A moment before which no timer is due; it may be early, never late.
  public func nextDeadline() -> Instant? {
    let deadline = timers.nextDeadline()
    guard let wait = timeWait.nextDeadline else { return deadline }
    return min(deadline ?? .never, wait)
  }

  private mutating func run(_ id: ConnectionID, now: Instant) {
    if connections[id].acknowledgeAt <= now {
      connections[id].acknowledgeAt = .never
      acknowledgeSoon(id)
    }
    if connections[id].pushAt <= now {
      connections[id].pushAt = .never
      connections[id].flags.insert(.pushNow)
      scheduleOutput(id)
    }
    if connections[id].retransmitAt <= now {
      retransmissionTimeout(id, now: now)
      guard connections.isAllocated(id), connections[id].state != .closed else { return }
    }
    if connections[id].lifeAt <= now { lifeTimeout(id, now: now) }
  }

  // MARK: Retransmission

  private mutating func retransmissionTimeout(_ id: ConnectionID, now: Instant) {
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
    connections[id].congestion.timedOut(
      flightSize: UInt32(max(flight, 0)), segmentSize: connections[id].segmentSize,
      isFirst: connections[id].attempts == 1)
    refreshNextHop(id)
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
      fail(id, SocketError.timedOut)
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
