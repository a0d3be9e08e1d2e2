// One segment: its header, its options and its frame.

extension Engine {
  /// Our timestamp clock: milliseconds, shifted for each connection.
  func timestamp(_ offset: UInt32, now: Instant) -> UInt32 {
    UInt32(truncatingIfNeeded: now.nanoseconds / 1_000_000) &+ offset
  }

  /// Builds one segment in a free frame and commits it. False: no free frame, or too many wait.
  mutating func transmit(
    _ id: ConnectionID, at sequence: SequenceNumber, length: Int, flags: TCPFlags, now: Instant
  ) -> Bool {
    let interface = Int(connections[id].interface)
    let queue = interfaces[interface].transmit
    guard queue.pendingCount < Self.outputLimit, let frame = queue.allocate() else { return false }
    if connections[id].pathSearch != .none { noteTransmission(id, sequence, length) }
    var header = outgoingHeader(id, interface: interface)
    header.sequence = sequence
    header.flags = flags
    if flags.contains(.syn) {
      header.options = synchronizeOptions(id, now: now)
      header.window = UInt16(clamping: receiveSpace(id))
    } else {
      header.window = advertisedWindow(id)
      if connections[id].flags.contains(.urgentQueued) { setUrgent(id, &header) }
      setOptions(id, &header, length: length, now: now)
      setCongestionBits(
        id, &header, isNewData: length > 0 && sequence >= connections[id].sendMaximum)
    }
    let target = unsafe queue.frame(frame)
    let headerLength = header.length
    let sum = unsafe gather(id, at: sequence, length: length, to: target + headerLength)
    unsafe header.write(to: target, payloadLength: length, payloadSum: sum)
    queue.commit(frame, length: headerLength + length)
    counters.framesSent += 1
    counters.bytesSent += UInt64(headerLength + length)
    if length > 0 || !flags.isDisjoint(with: [.syn, .fin]) { connections[id].lastSentAt = now }
    tally(id, at: sequence, length: length, flags: flags, now: now)
    if length > 0 { pace(id, headerLength + length, now: now) }
    if flags.contains(.ack) {
      if connections[id].flags.contains(.acknowledgeNow) || connections[id].acknowledgeAt != .never
      {
        acknowledgementSent(id)
      }
      connections[id].lastAcknowledgementSent = connections[id].receiveNext
      connections[id].flags.remove(.acknowledgeNow)
      connections[id].acknowledgeAt = .never
    }
    return true
  }

  @inline(__always)
  private func tally(
    _ id: ConnectionID, at sequence: SequenceNumber, length: Int, flags: TCPFlags, now: Instant
  ) {
    connections[id].tally.segmentsOut &+= 1
    guard length > 0 || !flags.isDisjoint(with: [.syn, .fin]) else { return }
    if length > 0 {
      connections[id].tally.dataSegmentsOut &+= 1
      let clock = milliseconds(now)
      connections[id].tally.dataSentAt = clock
      dataSent(id, clock: clock)
    }
    if sequence < connections[id].sendMaximum {
      changeUncommon(id) {
        $0.segmentsRetransmitted &+= 1
        $0.bytesRetransmitted &+= UInt64(length)
      }
    }
  }

  @inline(__always)
  private func outgoingHeader(_ id: ConnectionID, interface: Int) -> OutgoingHeader {
    var header = OutgoingHeader()
    header.sourceMAC = interfaces[interface].macAddress
    header.destinationMAC = connections[id].nextHop
    header.vlan = connections[id].vlan
    header.source = connections[id].flow.local
    header.destination = connections[id].flow.remote
    header.sourcePort = connections[id].flow.localPort
    header.destinationPort = connections[id].flow.remotePort
    header.hopLimit = connections[id].hopLimit
    // As the application has set it (SHLD-22).
    header.trafficClass = connections[id].trafficClass
    header.acknowledgement = connections[id].receiveNext
    return header
  }

  @inline(__always)
  private func setOptions(
    _ id: ConnectionID, _ header: inout OutgoingHeader, length: Int, now: Instant
  ) {
    if connections[id].flags.contains(.timestamps) {
      header.options.hasTimestamp = true
      header.options.timestampValue = timestamp(connections[id].timestampOffset, now: now)
      header.options.timestampEcho = connections[id].recentTimestamp
    }
    if connections[id].reassembly != .none || connections[id].flags.contains(.reportDuplicate) {
      setSelectiveAcknowledgement(id, &header, length: length)
    }
  }

  /// Puts as many ranges into the segment as it has room for (RFC 2018 section 3): what has come
  /// twice first, once (RFC 2883 section 4), then what is queued. Data is never shortened for them.
  @inline(never)
  private func setSelectiveAcknowledgement(
    _ id: ConnectionID, _ header: inout OutgoingHeader, length: Int
  ) {
    guard connections[id].flags.contains(.selectiveAcknowledgements) else { return }
    let room = Int(connections[id].segmentSize) - length
    let limit = min(header.options.hasTimestamp ? 3 : 4, (room - 4) / 8)
    guard limit > 0 else { return }
    var count = 0
    if connections[id].flags.contains(.reportDuplicate) {
      header.options.sackBlocks[0] = uncommon(id).duplicateBlock
      connections[id].flags.remove(.reportDuplicate)
      count = 1
    }
    header.options.sackCount = reassembly.selectiveBlocks(
      of: connections[id].reassembly, after: count, limit: limit, into: &header.options.sackBlocks)
  }
}
