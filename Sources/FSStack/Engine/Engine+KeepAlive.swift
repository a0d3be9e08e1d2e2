// Keep-alive (RFC 9293 section 3.8.4): off by default (MUST-25), for each connection (MUST-24).

extension Engine {
  /// Sets the keep-alive timer by the options.
  ///
  /// The idle time counts from when the peer was last heard, but from now on when the application has
  /// just asked for probes (as Linux's tcp_set_keepalive).
  mutating func armKeepAlive(_ id: ConnectionID, isNew: Bool = false, now: Instant) {
    guard connections[id].state >= .established, !connections[id].flags.contains(.orphaned) else {
      return
    }
    guard connections[id].flags.contains(.keepAlive) else {
      connections[id].lifeAt = .never
      return
    }
    let idle = Interval.seconds(UInt64(uncommon(id).keepAliveIdle))
    connections[id].lifeAt = isNew ? now + idle : max(connections[id].lastReceivedAt + idle, now)
    armTimers(id)
  }

  mutating func lifeTimeout(_ id: ConnectionID, now: Instant) {
    connections[id].lifeAt = .never
    if connections[id].flags.contains(.orphaned) {
      // FIN-WAIT-2 without anybody to read: forgotten.
      retire(id)
      return
    }
    keepAliveTimeout(id, now: now)
  }

  /// Probes an idle peer: only when nothing is outstanding and nothing came for the idle time
  /// (MUST-26, MUST-27, MUST-28), with segments without data (SHLD-12), and several times, because
  /// one may be lost (MUST-29).
  private mutating func keepAliveTimeout(_ id: ConnectionID, now: Instant) {
    let idle = Interval.seconds(UInt64(uncommon(id).keepAliveIdle))
    let interval = Interval.seconds(UInt64(uncommon(id).keepAliveInterval))
    if connections[id].hasOutstanding || connections[id].hasUnsent {
      // Another timer asks after the peer.
      connections[id].keepAliveSent = 0
      connections[id].lifeAt = now + idle
      return
    }
    let silence = now - connections[id].lastReceivedAt
    guard silence >= idle else {
      connections[id].lifeAt = connections[id].lastReceivedAt + idle
      return
    }
    if hasProbedEnough(id, silence: silence) {
      sendReset(id)
      fail(id, SocketError.timedOut)
      return
    }
    if connections[id].keepAliveSent > 0 { refreshNextHop(id) }
    connections[id].keepAliveSent = min(connections[id].keepAliveSent + 1, 254)
    connections[id].flags.insert(.probe)
    connections[id].lifeAt = now + interval
    scheduleOutput(id)
  }

  /// With TCP_USER_TIMEOUT the time decides instead of the number of probes, as in Linux.
  private func hasProbedEnough(_ id: ConnectionID, silence: Interval) -> Bool {
    let options = uncommon(id)
    guard options.userTimeout > 0 else {
      return connections[id].keepAliveSent >= options.keepAliveProbes
    }
    return connections[id].keepAliveSent > 0
      && silence >= .milliseconds(UInt64(options.userTimeout))
  }
}
