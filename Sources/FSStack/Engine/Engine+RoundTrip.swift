// What acknowledgements tell of the round trip.

extension Engine {
  /// Takes the round trips that an acknowledgement measures (RFC 6298, RFC 7323 section 4). Returns
  /// that of the segment acknowledged last, which no delayed acknowledgement has prolonged.
  @inline(__always)
  mutating func measure(
    _ id: ConnectionID, _ delivery: Delivery, _ segment: inout Segment, advances: Bool, now: Instant
  ) -> Interval? {
    // Segments that were acknowledged in order first: the timeout must cover the peer's delay. But not
    // those behind one that was sent again: they may have waited for it.
    let isInOrder = delivery.firstSentAt != .never && !delivery.hasRetransmission
    let first = isInOrder ? delivery.firstSentAt : delivery.firstSackedSentAt
    guard first != .never else {
      return advances ? measureByTimestamp(id, &segment, now: now) : nil
    }
    let last = isInOrder ? delivery.lastSentAt : delivery.lastSackedSentAt
    let roundTrip = now - last
    // Every second segment is acknowledged (RFC 7323 appendix G).
    let expected = connections[id].flight.count / 2
    connections[id].roundTrip.sample(now - first, of: expected)
    connections[id].roundTrip.sampleMinimum(roundTrip, now: now)
    return roundTrip
  }

  /// Something that is acknowledged was sent more than once: only the echo tells to which of the times
  /// the acknowledgement belongs.
  private mutating func measureByTimestamp(
    _ id: ConnectionID, _ segment: inout Segment, now: Instant
  ) -> Interval? {
    guard connections[id].flags.contains(.timestamps), segment.options.hasTimestamp else {
      return nil
    }
    let age = timestamp(connections[id].timestampOffset, now: now) &- segment.options.timestampEcho
    // An echo of the future, or of long ago, is none of ours.
    guard age < RoundTripEstimator.oldestEcho else { return nil }
    let roundTrip = Interval.milliseconds(UInt64(max(age, 1)))
    connections[id].roundTrip.sample(roundTrip)
    return roundTrip
  }
}
