// Timestamps of received segments (RFC 7323 sections 4.3 and 5). A segment without the option is
// taken as it is, although it was negotiated: as Linux, which does not drop what RFC 7323 section
// 3.2 would.

extension Engine {
  /// PAWS: whether a segment's timestamp is older than TS.Recent, which is still valid.
  @inline(__always)
  func isOutdated(_ id: ConnectionID, _ segment: inout Segment, now: Instant) -> Bool {
    guard connections[id].flags.contains(.timestamps), segment.options.hasTimestamp else {
      return false
    }
    let age = connections[id].recentTimestamp &- segment.options.timestampValue
    guard Int32(bitPattern: age) > 0 else { return false }
    return isRecentTimestampValid(id, now: now) && !isReorderedAcknowledgement(id, &segment, age)
  }

  /// TS.Recent says nothing after 24 days without change, when the peer's clock may have wrapped
  /// (section 5.5); nor when it is zero, which some send in a SYN and do not mean (as Linux).
  private func isRecentTimestampValid(_ id: ConnectionID, now: Instant) -> Bool {
    connections[id].recentTimestamp != 0
      && Self.coarse(now) &- connections[id].recentTimestampAt < Self.coarse24Days
  }

  /// An acknowledgement without news that was overtaken on its way: dropped and answered, it could
  /// begin an exchange without end (Linux's tcp_disordered_ack). `age` is in the peer's units.
  private func isReorderedAcknowledgement(
    _ id: ConnectionID, _ segment: inout Segment, _ age: UInt32
  ) -> Bool {
    let connection = connections[id]
    let replay = connection.roundTrip.timeout.nanoseconds / 1_000_000
    return segment.payloadLength == 0 && segment.flags == .ack
      && segment.sequence == connection.receiveNext
      && segment.acknowledgement == connection.sendUnacknowledged
      && UInt32(segment.window) << UInt32(connection.sendScale) == connection.sendWindow
      && UInt64(age) <= replay
  }

  /// Takes TS.Recent from a segment that is acceptable in every respect (section 4.3): not before,
  /// or one forged segment could silence the peer (CVE-2005-0356).
  @inline(__always)
  func updateRecentTimestamp(_ id: ConnectionID, _ segment: inout Segment, now: Instant) {
    guard segment.options.hasTimestamp, connections[id].flags.contains(.timestamps),
      segment.sequence <= connections[id].lastAcknowledgementSent
    else { return }
    let value = segment.options.timestampValue
    guard
      Int32(bitPattern: value &- connections[id].recentTimestamp) >= 0
        || !isRecentTimestampValid(id, now: now)
    else { return }
    connections[id].recentTimestamp = value
    connections[id].recentTimestampAt = Self.coarse(now)
  }

  /// A clock of 2^30 ns, which needs no division and 136 years to wrap.
  @inline(__always)
  static func coarse(_ now: Instant) -> UInt32 {
    UInt32(truncatingIfNeeded: now.nanoseconds >> 30)
  }

  private static var coarse24Days: UInt32 { 24 * 86_400 * 1000 / 1074 }
}
