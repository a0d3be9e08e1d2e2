// When received data is acknowledged (RFC 9293 section 3.8.6.3): the policy of Linux, with one
// difference. What Linux acknowledges at once because the connection is young or was idle (its
// quick-ack mode) waits here for the application's turn, 1 ms at most, so that the answer of a short
// connection carries the acknowledgement.

extension Engine {
  /// Bounds of `Connection.acknowledgementTimeout`, milliseconds: Linux's TCP_ATO_MIN and
  /// TCP_DELACK_MAX. Less than the 500 ms of MUST-40.
  private static var shortestDelay: UInt16 { 40 }
  private static var longestDelay: UInt16 { 200 }
  /// Linux's TCP_MAX_QUICKACKS.
  private static var quickLimit: UInt32 { 16 }

  /// Takes note of a segment with data: how large the peer's segments are, and how often they come
  /// (Linux's tcp_event_data_recv).
  @inline(__always)
  func dataArrives(_ id: ConnectionID, _ count: Int, _ flags: TCPFlags, now: Instant) {
    let length = UInt16(truncatingIfNeeded: min(count, 65535))
    if length >= connections[id].peerSegmentSize {
      connections[id].peerSegmentSize = length
    } else if length == connections[id].lastSegmentLength,
      length >= 536 || length >= 88 && flags.isDisjoint(with: [.psh, .fin, .urg])
    {
      // Twice the same, and no remnant: the path has become narrower.
      connections[id].peerSegmentSize = length
    }
    connections[id].lastSegmentLength = length
    let clock = milliseconds(now)
    let pause = clock &- connections[id].tally.dataReceivedAt
    connections[id].tally.dataSegmentsIn &+= 1
    connections[id].tally.dataReceivedAt = clock
    adaptDelay(id, pause: pause)
  }

  /// The delay follows the pauses between segments; a young or long idle peer is in slow start and
  /// wants its acknowledgements at once.
  private func adaptDelay(_ id: ConnectionID, pause: UInt32) {
    let delay = UInt32(connections[id].acknowledgementTimeout)
    let timeout = UInt32(clamping: connections[id].roundTrip.timeout.nanoseconds / 1_000_000)
    if delay == 0 {
      connections[id].acknowledgementTimeout = Self.shortestDelay
      growQuickMode(id)
    } else if pause <= UInt32(Self.shortestDelay / 2) {
      connections[id].acknowledgementTimeout = UInt16(delay / 2) + Self.shortestDelay / 2
    } else if pause < delay {
      connections[id].acknowledgementTimeout = UInt16(min(delay / 2 + pause, timeout, 1000))
    } else if pause > timeout {
      growQuickMode(id)
    }
  }

  /// The next segments, as many as half a window holds, are to be acknowledged quickly.
  private func growQuickMode(_ id: ConnectionID) {
    let segments =
      connections[id].receiveWindow / (2 * UInt32(max(connections[id].peerSegmentSize, 1)))
    let count = UInt8(min(max(segments, 2), Self.quickLimit))
    connections[id].quickAcknowledgements = max(connections[id].quickAcknowledgements, count)
  }

  /// Something came twice: the peer needs to know the state of things soon (Linux's
  /// tcp_enter_quickack_mode).
  func enterQuickMode(_ id: ConnectionID) {
    growQuickMode(id)
    connections[id].flags.remove(.interactive)
    connections[id].acknowledgementTimeout = Self.shortestDelay
  }

  /// Data goes out soon after some has come: the application answers, and its answers may carry the
  /// acknowledgements (Linux's pingpong mode).
  @inline(__always)
  func dataSent(_ id: ConnectionID, clock: UInt32) {
    if clock &- connections[id].tally.dataReceivedAt
      < UInt32(connections[id].acknowledgementTimeout)
    {
      connections[id].flags.insert(.interactive)
    }
  }

  /// An acknowledgement has gone out.
  @inline(__always)
  func acknowledgementSent(_ id: ConnectionID) {
    guard connections[id].quickAcknowledgements > 0 else { return }
    connections[id].quickAcknowledgements -= 1
    if connections[id].quickAcknowledgements == 0 {
      connections[id].acknowledgementTimeout = Self.shortestDelay
    }
  }

  /// Decides when to acknowledge `count` delivered bytes, once for all of the burst (MUST-58): more
  /// than one full segment at once (SHLD-19), else when the application has had its turn (SHLD-18).
  @inline(__always)
  mutating func scheduleAcknowledgement(_ id: ConnectionID, _ count: Int, now: Instant) {
    let unacknowledged = connections[id].receiveNext - connections[id].lastAcknowledgementSent
    if unacknowledged > Int32(connections[id].peerSegmentSize) + (count == 0 ? 1 : 0) {
      acknowledgeSoon(id)
      return
    }
    // The first segment of several decides.
    guard connections[id].acknowledgeAt == .never else { return }
    connections[id].acknowledgeAt = now + acknowledgementDelay(id, isData: count > 0)
    armTimers(id)
  }

  private func acknowledgementDelay(_ id: ConnectionID, isData: Bool) -> Interval {
    let isQuick = !isData || connections[id].quickAcknowledgements > 0
    if isQuick, !connections[id].flags.contains(.interactive) { return .milliseconds(1) }
    let roundTrip = UInt16(clamping: connections[id].roundTrip.smoothed / 1_000_000)
    let bound = min(max(roundTrip, Self.shortestDelay), Self.longestDelay)
    let delay = max(connections[id].acknowledgementTimeout, Self.shortestDelay)
    return .milliseconds(UInt64(min(delay, bound)))
  }

  /// The timer has expired: the application did not answer in time (Linux's
  /// tcp_delack_timer_handler).
  mutating func acknowledgementTimeout(_ id: ConnectionID) {
    connections[id].acknowledgeAt = .never
    if connections[id].flags.contains(.interactive) {
      connections[id].flags.remove(.interactive)
      connections[id].acknowledgementTimeout = Self.shortestDelay
    } else if connections[id].quickAcknowledgements == 0 {
      let timeout = UInt16(clamping: connections[id].roundTrip.timeout.nanoseconds / 1_000_000)
      connections[id].acknowledgementTimeout = min(
        min(connections[id].acknowledgementTimeout, 500) * 2, timeout)
    }
    acknowledgeSoon(id)
  }

  /// The application has read everything and does not answer: a small segment's acknowledgement
  /// waits only for its turn to end (Linux's tcp_cleanup_rbuf).
  mutating func readEverything(_ id: ConnectionID, now: Instant) {
    guard connections[id].unreadBytes == 0, connections[id].acknowledgeAt != .never,
      !connections[id].flags.contains(.interactive),
      connections[id].lastSegmentLength < connections[id].peerSegmentSize
    else { return }
    connections[id].acknowledgeAt = min(connections[id].acknowledgeAt, now + .milliseconds(1))
    armTimers(id)
  }

  /// TCP_QUICKACK: on, what is owed goes out at once, and the application is not waited for until it
  /// answers again; off, it is.
  mutating func setQuickAcknowledgement(_ id: ConnectionID, _ isOn: Bool) {
    guard isOn else {
      connections[id].flags.insert(.interactive)
      return
    }
    connections[id].flags.remove(.interactive)
    if connections[id].acknowledgeAt != .never { acknowledgeSoon(id) }
  }

  /// A segment left or filled a gap. A peer without selective acknowledgements counts duplicates: it
  /// gets one for each segment of the burst, as many as it needs to understand (RFC 5681 section
  /// 3.2).
  mutating func acknowledgeGap(_ id: ConnectionID) {
    if connections[id].flags.contains(.acknowledgeNow),
      !connections[id].flags.contains(.selectiveAcknowledgements),
      uncommon(id).duplicatesOwed < 3
    {
      changeUncommon(id) { $0.duplicatesOwed += 1 }
    }
    acknowledgeSoon(id)
  }
}
