// How long a connection is kept that nobody answers, or that nobody owns: R1 and R2 of RFC 9293
// section 3.8.3, TCP_USER_TIMEOUT, orphans, FIN-WAIT-2. All of it as Linux has it.

extension Engine {
  /// Linux's tcp_retries2: R2, as the number of doublings of a timeout that begins with 200 ms.
  /// 924.6 s; SHLD-11 asks for 100 s at least.
  private static var retries: UInt32 { 15 }
  /// Linux's count for orphans when tcp_orphan_retries is 0. 102.2 s.
  private static var orphanRetries: UInt32 { 8 }
  /// Linux's tcp_syn_retries, 127 s: deviates from MUST-23, three minutes, as Linux does, so that an
  /// application is told sooner (TCP_SYNCNT sets more).
  static var synchronizeRetries: UInt8 { 6 }
  /// Linux's tcp_synack_retries.
  static var synchronizeAcknowledgementRetries: UInt8 { 5 }

  /// Whether the connection has been tried long enough (MUST-20, R2). Called when its retransmission
  /// timer has expired, with `attempts` as the number of expiries.
  func isExhausted(_ id: ConnectionID, now: Instant) -> Bool {
    let connection = connections[id]
    if connection.state >= .established, connection.flags.contains(.persisting) {
      return isProbedEnough(id, now: now)
    }
    // Not before something was sent again, as in Linux.
    if connection.attempts > 1, hasUserTimeoutPassed(id, now: now) { return true }
    switch connection.state {
    case .synSent:
      let limit = uncommon(id).synchronizeRetries
      return connection.attempts > (limit == 0 ? Self.synchronizeRetries : limit)
    case .synReceived:
      return connection.attempts > Self.synchronizeAcknowledgementRetries
    case .closed, .listen, .established, .finWait1, .finWait2, .closeWait, .closing, .lastAck,
      .timeWait:
      let isOrphan = connection.flags.contains(.orphaned)
      // The time counts, not the number: timeouts may be shorter than 200 ms when a user timeout
      // cuts them (Linux's tcp_model_timeout).
      guard uncommon(id).userTimeout == 0 else { return false }
      let limit = Self.modelTimeout(isOrphan ? Self.orphanRetries : Self.retries)
      return connection.unacknowledgedSince != .never
        && now - connection.unacknowledgedSince >= limit
    }
  }

  /// A closed window: as long as the peer answers it is alive (MUST-37), and `attempts` begins anew
  /// with each answer. But an orphan has nobody to wait for it once the probes are two minutes
  /// apart, and a user timeout counts whether there are answers or not.
  private func isProbedEnough(_ id: ConnectionID, now: Instant) -> Bool {
    let connection = connections[id]
    if hasUserTimeoutPassed(id, now: now) { return true }
    guard connection.flags.contains(.orphaned) else {
      return UInt32(connection.attempts) > Self.retries
    }
    return connection.roundTrip.current.nanoseconds >= RoundTripEstimator.maximum
      || UInt32(connection.attempts) > Self.orphanRetries
  }

  /// TCP_USER_TIMEOUT: the time since the oldest unacknowledged data was sent, or since a closed window
  /// was first probed (MUST-21).
  private func hasUserTimeoutPassed(_ id: ConnectionID, now: Instant) -> Bool {
    let timeout = uncommon(id).userTimeout
    return timeout > 0 && connections[id].unacknowledgedSince != .never
      && now - connections[id].unacknowledgedSince >= .milliseconds(UInt64(timeout))
  }

  /// The time after which so many doublings of 200 ms, none longer than 120 s, have passed.
  static func modelTimeout(_ retries: UInt32) -> Interval {
    let base = RoundTripEstimator.minimumVariation
    // The largest power of two that 120 s holds of it.
    let doublings = UInt32(9)
    let linear = retries > doublings ? UInt64(retries - doublings) : 0
    return Interval(
      nanoseconds: (2 << UInt64(min(retries, doublings)) - 1) * base
        + linear * RoundTripEstimator.maximum)
  }

  /// A retransmission timer that has expired once expires again when the user timeout is over, not
  /// long after it (Linux's tcp_clamp_rto_to_user_timeout).
  mutating func clampToUserTimeout(_ id: ConnectionID, now: Instant) {
    let timeout = uncommon(id).userTimeout
    guard timeout > 0, connections[id].unacknowledgedSince != .never else { return }
    let end = connections[id].unacknowledgedSince + .milliseconds(UInt64(timeout))
    connections[id].retransmitAt = min(
      connections[id].retransmitAt, max(end, now + .milliseconds(1)))
    armTimers(id)
  }

  /// The connection is over because nobody answers.
  mutating func giveUp(_ id: ConnectionID) {
    if connections[id].flags.contains(.orphaned) {
      abort(id)
    } else {
      // What routers said of it in the meantime is the better reason.
      let reason = uncommon(id).softError
      fail(id, reason != 0 ? reason : SocketError.timedOut)
    }
  }

  // MARK: Orphans

  /// The application has closed a connection that goes on. False when there are too many such: it is
  /// reset instead (Linux's tcp_max_orphans), so that peers who never finish cannot fill the table.
  mutating func becomeOrphan(_ id: ConnectionID) -> Bool {
    guard orphanCount < configuration.maximumOrphans else {
      counters.orphansReset += 1
      return false
    }
    orphanCount += 1
    // Its FIN is retransmitted only so often: that is enough to learn that the peer has gone.
    connections[id].lifeAt = .never
    connections[id].flags.insert(.countedOrphan)
    return true
  }

  /// A connection leaves the table.
  mutating func forgetOrphan(_ id: ConnectionID) {
    guard connections[id].flags.contains(.countedOrphan) else { return }
    connections[id].flags.remove(.countedOrphan)
    orphanCount -= 1
  }

  // MARK: FIN-WAIT-2

  /// An orphan waits for the peer's FIN only so long: Linux's tcp_fin_timeout, or TCP_LINGER2. False:
  /// not at all, and the connection is gone.
  mutating func awaitFinish(_ id: ConnectionID, now: Instant) -> Bool {
    let seconds = uncommon(id).finishTimeout
    guard seconds >= 0 else {
      abort(id)
      return false
    }
    let wanted = seconds == 0 ? configuration.finishTimeout : .seconds(UInt64(seconds))
    // Not before the peer has had a few timeouts for its FIN (Linux's tcp_fin_time).
    let least = connections[id].roundTrip.timeout.nanoseconds / 2 * 7
    connections[id].lifeAt = now + max(wanted, Interval(nanoseconds: least))
    armTimers(id)
    return true
  }
}
