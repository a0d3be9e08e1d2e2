import FSRing

// Explicit congestion notification (RFC 3168 section 6.1): a router marks segments instead of dropping
// them, the receiver echoes the mark (ECE), the sender reduces its window and says so (CWR).

extension Engine {
  // MARK: Negotiation (section 6.1.1)

  /// Whether we ask for it when we open. DCTCP is nothing without it.
  func requestsECN(_ id: ConnectionID) -> Bool {
    configuration.ecn == .request || connections[id].congestion.algorithm == .dctcp
  }

  /// Whether a SYN asks for it, and gets it (SHLD-8). One that is itself ECN-capable does not follow
  /// the standard: as Linux, no ECN with that peer, except for DCTCP, which wants it so.
  func acceptsECN(
    _ segment: borrowing Segment, algorithm: CongestionAlgorithm
  ) -> Bool {
    let (mark, flags) = (segment.ecn, segment.flags)
    let isOrdinary = mark == .notCapable && configuration.ecn != .off
    return (isOrdinary || algorithm == .dctcp) && flags.isSuperset(of: [.ece, .cwr])
  }

  /// A SYN arrives that crosses ours.
  mutating func negotiateECN(_ id: ConnectionID, synchronize segment: inout Segment) {
    if acceptsECN(segment, algorithm: connections[id].congestion.algorithm) {
      connections[id].ecn.insert(.negotiated)
    } else {
      // Also when an earlier SYN had asked (section 6.1.1.1): the peer has given it up.
      connections[id].ecn.remove(.negotiated)
    }
  }

  /// The SYN-ACK arrives. With CWR beside ECE some box has only sent our own bits back.
  mutating func negotiateECN(_ id: ConnectionID, answer segment: inout Segment) {
    if connections[id].ecn.contains(.offered), segment.flags.contains(.ece),
      !segment.flags.contains(.cwr)
    {
      connections[id].ecn.insert(.negotiated)
    }
  }

  /// The flags of our SYN or SYN-ACK. A SYN that was lost goes out again without: some box may
  /// not like it (section 6.1.1.1).
  mutating func synchronizeFlags(_ id: ConnectionID, isRepeated: Bool) -> TCPFlags {
    guard connections[id].state == .synSent else {
      return connections[id].ecn.contains(.negotiated) ? [.syn, .ack, .ece] : [.syn, .ack]
    }
    guard requestsECN(id), !isRepeated else { return .syn }
    connections[id].ecn.insert(.offered)
    return [.syn, .ece, .cwr]
  }

  // MARK: Arrivals

  /// An acceptable segment of a connection with ECN, after its acknowledgement and before its text.
  /// `acknowledged`: bytes that SND.UNA has moved.
  @inline(never)
  mutating func congestionBitsArrive(
    _ id: ConnectionID, _ segment: inout Segment, acknowledged: UInt32, now: Instant
  ) {
    if segment.payloadLength > 0 { noteMark(id, &segment, now: now) }
    let isEchoed = segment.flags.contains(.ece)
    connections[id].congestion.observed(
      acknowledged, isMarked: isEchoed,
      sendUnacknowledged: connections[id].sendUnacknowledged,
      sendNext: connections[id].sendMaximum)
    guard isEchoed else { return }
    counters.congestionEchoes += 1
    if isRecovering(id) {
      connections[id].congestion.confirm()
    } else {
      connections[id].congestion.congestionExperienced(
        inFlight: connections[id].flightSize + acknowledged,
        segmentSize: connections[id].segmentSize,
        sendNext: connections[id].sendMaximum)
    }
  }

  /// The receiver's part (section 6.1.3). A sender whose segments are marked may have a small window:
  /// it gets its acknowledgement at once, as in Linux.
  private mutating func noteMark(
    _ id: ConnectionID, _ segment: inout Segment, now: Instant
  ) {
    let isMarked = segment.ecn == .congestionExperienced
    if isMarked { counters.congestionMarks += 1 }
    if segment.ecn != .notCapable { connections[id].ecn.insert(.seen) }
    if connections[id].congestion.algorithm == .dctcp {
      echoPrecisely(id, isMarked: isMarked, now: now)
      return
    }
    if segment.flags.contains(.cwr) {
      connections[id].ecn.remove(.echoes)
      acknowledgeSoon(id)
    }
    if isMarked, !connections[id].ecn.contains(.echoes) {
      connections[id].ecn.insert(.echoes)
      acknowledgeSoon(id)
    }
  }

  /// DCTCP tells the sender which bytes were marked: when that changes, what has come before is
  /// acknowledged first (RFC 8257 section 3.2).
  private mutating func echoPrecisely(_ id: ConnectionID, isMarked: Bool, now: Instant) {
    guard isMarked != connections[id].ecn.contains(.echoes) else { return }
    if connections[id].lastAcknowledgementSent != connections[id].receiveNext {
      let sequence = connections[id].acknowledgementSequence
      if transmit(id, at: sequence, length: 0, flags: .ack, now: now) {
        counters.pureAcknowledgements += 1
      }
    }
    if isMarked { connections[id].ecn.insert(.echoes) } else { connections[id].ecn.remove(.echoes) }
    acknowledgeSoon(id)
  }

  // MARK: Departures

  /// The bits of a segment to be sent. Only new data is ECN-capable: a mark on anything else would
  /// reach nobody who can act on it (sections 6.1.4 to 6.1.6). The first such segment after the
  /// window was reduced, for whatever reason, says so.
  @inline(__always)
  mutating func setCongestionBits(
    _ id: ConnectionID, _ header: inout OutgoingHeader, isNewData: Bool
  ) {
    guard connections[id].ecn.contains(.negotiated) else { return }
    if isNewData {
      header.trafficClass |= ECNCodepoint.capable0.bits
      if connections[id].congestion.takeNotice() { header.flags.insert(.cwr) }
    }
    if connections[id].ecn.contains(.echoes) { header.flags.insert(.ece) }
  }
}
