import FSRing

// What applications may learn of a connection: the answer to `CommandKind.inquire`.

extension Engine {
  /// Writes the report of a connection, or of one for which there was no room, into a place of the
  /// channel's header page.
  mutating func inquire(
    _ command: Command, _ id: ConnectionID?, _ channel: ChannelID, now: Instant
  ) -> ChannelViolation? {
    guard command.length < ChannelHeader.reportCount else { return .reportOutOfRange }
    let header = channels[channel].header
    var none = ConnectionReport()
    none.state = TCPState.closed.linuxNumber
    unsafe header.report(command.length).pointee = id.map { report(of: $0, now: now) } ?? none
    unsafe header.reportSequence(command.length).pointee.store(
      UInt32(bitPattern: command.value), ordering: .releasing)
    ring(channel)
    return nil
  }

  /// Everything that struct tcp_info of Linux has and this engine knows.
  func report(of id: ConnectionID, now: Instant) -> ConnectionReport {
    let connection = connections[id]
    var report = ConnectionReport()
    report.state = connection.state.linuxNumber
    describe(connection, in: &report, now: now)
    describeSender(id, connection, in: &report)
    describeReceiver(connection, in: &report)
    describeTally(connection.tally, uncommon(id), in: &report, now: now)
    report.bytesSent =
      report.bytesAcknowledged + UInt64(connection.bytesInFlight) + report.bytesRetransmitted
    return report
  }

  private func describe(
    _ connection: Connection, in report: inout ConnectionReport, now: Instant
  ) {
    let isPersisting = connection.flags.contains(.persisting)
    report.retransmits = isPersisting ? 0 : connection.attempts
    report.probes = isPersisting ? connection.attempts : connection.keepAliveSent
    report.backoff = connection.roundTrip.backoff
    if connection.flags.contains(.timestamps) { report.options |= 1 }
    if connection.flags.contains(.selectiveAcknowledgements) { report.options |= 2 }
    if connection.receiveScale != 0 || connection.sendScale != 0 { report.options |= 4 }
    if connection.ecn.contains(.negotiated) { report.options |= 8 }
    if connection.ecn.contains(.seen) { report.options |= 16 }
    report.windowScales = connection.sendScale | connection.receiveScale << 4
    report.pathMTU =
      UInt32(connection.pathSegmentSize) + (connection.flow.local.isIPv4 ? 40 : 60)
    report.lastAcknowledgementReceived = UInt32(
      clamping: (now - connection.lastReceivedAt).nanoseconds / 1_000_000)
  }

  private func describeSender(
    _ id: ConnectionID, _ connection: Connection, in report: inout ConnectionReport
  ) {
    let segmentSize = connection.segmentSize
    report.sendSegmentSize = segmentSize
    report.retransmissionTimeout = microseconds(connection.roundTrip.current.nanoseconds)
    report.roundTrip = microseconds(connection.roundTrip.smoothed)
    report.roundTripVariation = microseconds(connection.roundTrip.variation)
    report.congestionWindow = max(connection.congestion.window / segmentSize, 1)
    let threshold = connection.congestion.slowStartThreshold
    // Linux's TCP_INFINITE_SSTHRESH.
    report.sendSlowStartThreshold = threshold == .max ? 0x7fff_ffff : threshold / segmentSize
    report.minimumRoundTrip = microseconds(connection.roundTrip.minimum.nanoseconds)
    describeRecovery(connection, in: &report)
    report.unsentBytes = connection.unsentBytes
    report.sendWindow = connection.sendWindow
    report.congestionAlgorithm = connection.congestion.algorithm.rawValue
    report.pacingRate = pacingRate(id)
    let pacer = uncommon(id).pacer
    report.maximumPacingRate = pacer.isOn ? UInt64(pacer.maximumRate) : .max
  }

  private func describeRecovery(_ connection: Connection, in report: inout ConnectionReport) {
    report.unacknowledged = connection.flight.count
    // What Linux says as long as it has seen no reordering.
    report.reordering = Rack.duplicateThreshold
    if connection.congestion.isReducing { report.congestionState = 2 }
    guard connection.recovery != .none else { return }
    let recovery = recoveries[connection.recovery]
    if recovery.isRecovering || report.congestionState == 0 {
      report.congestionState = recovery.phase.linuxNumber
    }
    report.selectivelyAcknowledged = recovery.sackedSegments
    report.lost = (recovery.lostBytes + connection.segmentSize - 1) / connection.segmentSize
    report.duplicatesReported = recovery.duplicatesReported
    report.reorderingSeen = recovery.rack.hasReordering ? 1 : 0
  }

  private func describeReceiver(_ connection: Connection, in report: inout ConnectionReport) {
    report.receiveSegmentSize = UInt32(connection.peerSegmentSize)
    report.receiveWindow = connection.receiveWindow
    report.acknowledgementTimeout = UInt32(connection.acknowledgementTimeout) * 1000
    if connection.receiveRate != .none {
      report.receiveRoundTrip = microseconds(receiveRates[connection.receiveRate].roundTrip)
      report.receiveSpace = receiveRates[connection.receiveRate].space
    } else {
      report.receiveSpace = min(
        connection.receiveBuffer, 10 * UInt32(connection.peerSegmentSize))
    }
    report.receiveSlowStartThreshold = connection.receiveBuffer
    report.advertisedSegmentSize = UInt32(
      clamping: interfaces[Int(connection.interface)].mtu
        - (connection.flow.local.isIPv4 ? 40 : 60) - connection.optionLength)
  }

  private func describeTally(
    _ tally: ConnectionTally, _ uncommon: UncommonState, in report: inout ConnectionReport,
    now: Instant
  ) {
    let clock = milliseconds(now)
    report.lastDataSent = clock &- tally.dataSentAt
    report.lastDataReceived = clock &- tally.dataReceivedAt
    report.totalRetransmitted = uncommon.segmentsRetransmitted
    report.bytesAcknowledged = tally.bytesAcknowledged
    report.bytesReceived = tally.bytesReceived
    report.bytesRetransmitted = uncommon.bytesRetransmitted
    report.segmentsOut = tally.segmentsOut
    report.segmentsIn = tally.segmentsIn
    report.dataSegmentsOut = tally.dataSegmentsOut
    report.dataSegmentsIn = tally.dataSegmentsIn
    report.outOfOrderIn = uncommon.outOfOrderIn
  }

  private func microseconds(_ nanoseconds: UInt64) -> UInt32 {
    UInt32(clamping: nanoseconds / 1000)
  }

  /// The clock of `ConnectionTally`.
  @inline(__always)
  func milliseconds(_ now: Instant) -> UInt32 {
    UInt32(truncatingIfNeeded: now.nanoseconds / 1_000_000)
  }
}

extension LossRecovery.Phase {
  /// enum tcp_ca_state of Linux.
  var linuxNumber: UInt8 {
    switch self {
    case .open: 0
    case .disorder: 1
    case .recovery: 3
    case .loss: 4
    }
  }
}

extension TCPState {
  /// enum tcp_state of Linux (include/net/tcp_states.h).
  var linuxNumber: UInt8 {
    switch self {
    case .established: 1
    case .synSent: 2
    case .synReceived: 3
    case .finWait1: 4
    case .finWait2: 5
    case .timeWait: 6
    case .closed: 7
    case .closeWait: 8
    case .lastAck: 9
    case .listen: 10
    case .closing: 11
    }
  }
}
