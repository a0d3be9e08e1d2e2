// TIME-WAIT: what is left of a connection after we closed first (RFC 9293 section 3.10.7.4).

extension Engine {
  /// A segment for a flow in TIME-WAIT. The flow's next initial sequence number when the segment is a
  /// SYN that opens the flow anew, and the record is gone; else nil.
  mutating func timeWaitSegmentArrives(
    _ id: TimeWaitID, _ segment: inout Segment, interface: Int, now: Instant
  ) -> SequenceNumber? {
    let record = timeWait.records[id]
    let flags = segment.flags
    // RFC 1337: a RST does not end the wait, or old duplicates could assassinate it.
    if flags.contains(.rst) { return nil }
    if flags.contains(.syn), !flags.contains(.ack), opensAnew(record, &segment) {
      timeWait.remove(id)
      counters.timeWaitReused += 1
      return record.nextInitialSequence
    }
    var end = segment.sequence + UInt32(segment.payloadLength)
    if flags.contains(.fin) { end += 1 }
    // The peer has not heard our last acknowledgement: it may need it again until it has.
    if flags.contains(.fin), end == record.receiveNext { timeWait.restart(id, now: now) }
    // A bare acknowledgement in order says that the peer knows everything, unless it is old itself
    // (RFC 7323 section 5.3, R1).
    let isOutdated =
      record.hasTimestamps && segment.options.hasTimestamp
      && Int32(bitPattern: segment.options.timestampValue &- record.recentTimestamp) < 0
    if end == record.receiveNext, end == segment.sequence, !flags.contains(.syn), !isOutdated {
      return nil
    }
    // Data and FIN are no answers to our answer: only what may be one is limited, as in Linux.
    let mayBeAnswer = end == segment.sequence || flags.contains(.syn)
    if !mayBeAnswer || timeWait.mayAnswer(id, now: now) {
      sendAcknowledgement(
        record, to: segment.sourceMAC, vlan: segment.vlan, interface: interface, now: now)
    }
    return nil
  }

  /// Whether a SYN is proved to be no old duplicate (MAY-2, RFC 6191): by a later timestamp (SHLD-4),
  /// or by a later number where timestamps cannot tell.
  private func opensAnew(_ record: TimeWaitRecord, _ segment: inout Segment) -> Bool {
    let isLater = segment.sequence > record.receiveNext
    guard segment.options.hasTimestamp else { return isLater }
    // Old segments had no timestamp, those of the new incarnation do.
    guard record.hasTimestamps else { return true }
    let age = Int32(bitPattern: segment.options.timestampValue &- record.recentTimestamp)
    return age > 0 || age == 0 && isLater
  }

  /// Acknowledges a segment that came in TIME-WAIT.
  mutating func sendAcknowledgement(
    _ record: TimeWaitRecord, to nextHop: MACAddress, vlan: UInt16, interface: Int, now: Instant
  ) {
    var header = OutgoingHeader()
    header.destinationMAC = nextHop
    header.vlan = vlan
    header.sequence = record.sendNext
    header.acknowledgement = record.receiveNext
    header.flags = .ack
    header.window = record.windowField
    if record.hasTimestamps {
      header.options.hasTimestamp = true
      header.options.timestampValue = timestamp(
        timestampOffsets.offset(record.flow.local, record.flow.remote), now: now)
      header.options.timestampEcho = record.recentTimestamp
    }
    transmit(&header, record.flow, interface: interface)
    counters.pureAcknowledgements += 1
  }
}
