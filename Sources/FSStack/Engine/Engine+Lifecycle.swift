// How connections come into the tables and leave them.

extension Engine {
  /// Enters a connection into the slab and the local established table.
  mutating func insert(_ connection: Connection, hash: UInt64) -> ConnectionID? {
    guard let id = connections.allocate(connection) else {
      drop(.connectionTableFull)
      return nil
    }
    flows.insert(.connection(id), hash: hash)
    connections[id].flags.insert(.indexed)
    return id
  }

  /// A new connection's control block, in its first state; `initial` is its initial sequence number
  /// if something has decided it already.
  mutating func makeConnection(
    _ flow: Flow, state: TCPState, interface: Int, nextHop: MACAddress, vlan: UInt16,
    pathMTU: Int, initial: SequenceNumber? = nil, now: Instant
  ) -> Connection {
    let initial = initial ?? secret.initialSequence(flow, now: now)
    let size = UInt16(clamping: pathMTU - (flow.local.isIPv4 ? 40 : 60))
    return Connection(
      flow: flow, state: state, receiveScale: Self.windowScale(configuration.receiveBuffer),
      flags: [], sendUnacknowledged: initial, sendNext: initial, smallSegmentEnd: initial,
      sendMaximum: initial, sendQueueEnd: initial + 1, sendHeadSequence: initial + 1,
      sendCursorSequence: initial + 1, maximumSegmentSize: size, pathSegmentSize: size,
      lastSentAt: now, lastReceivedAt: now,
      timestampOffset: timestampOffsets.offset(flow.local, flow.remote),
      receiveBuffer: min(configuration.initialReceiveBuffer, configuration.receiveBuffer),
      nextHop: nextHop, vlan: vlan, interface: UInt8(interface),
      congestion: CongestionControl(configuration.congestionAlgorithm, segmentSize: UInt32(size)))
  }

  /// The smallest shift with which the window field can express the buffer (RFC 7323 section 2).
  static func windowScale(_ buffer: UInt32) -> UInt8 {
    var scale: UInt8 = 0
    while scale < 14 && buffer >> UInt32(scale) > 65535 { scale += 1 }
    return scale
  }

  /// Takes a connection out of the established table and stops its timers.
  private mutating func unlink(_ id: ConnectionID) {
    if connections[id].flags.contains(.indexed) {
      flows.remove(.connection(id), hash: secret.hash(connections[id].flow))
      connections[id].flags.remove(.indexed)
    }
    forgetOrphan(id)
    timers.disarm(id)
    if outputLinks.contains(id) { outputLinks.remove(id, from: &output) }
    connections[id].retransmitAt = .never
    connections[id].acknowledgeAt = .never
    connections[id].lifeAt = .never
    let uncommon = connections[id].uncommon
    if uncommon != .none {
      uncommonStates[uncommon].pushAt = .never
      uncommonStates[uncommon].pacer.stopWaiting()
    }
    forgetReassembly(id)
    endRecovery(id)
    if connections[id].receiveRate != .none {
      receiveRates.free(connections[id].receiveRate)
      connections[id].receiveRate = .none
    }
    endPathSearch(id)
    leavePathList(id)
    let endpoint = connections[id].endpoint
    if endpoint != .none {
      leaveEndpoint(id, endpoint)
    }
    connections[id].state = .closed
  }

  /// A connection that no acceptor has been given leaves its endpoint.
  private mutating func leaveEndpoint(_ id: ConnectionID, _ endpoint: EndpointID) {
    if ownerLinks.contains(id) {
      ownerLinks.remove(id, from: &listeners.endpoints[endpoint].pending)
      listeners.endpoints[endpoint].pendingCount -= 1
    }
    connections[id].origin = .opened
  }

  /// The connection is over in good order, or nobody needs to know.
  mutating func retire(_ id: ConnectionID) {
    unlink(id)
    returnQueued(id)
    if connections[id].slot == .max { forget(id) }
  }

  /// Gives all send chunks back, as if their bytes had been acknowledged.
  private mutating func returnQueued(_ id: ConnectionID) {
    guard connections[id].sendHead != .max else { return }
    // SND.UNA may still stand at the SYN, which is no byte of the application.
    let first = max(connections[id].sendUnacknowledged, connections[id].sendHeadSequence)
    let rest = connections[id].sendQueueEnd - first
    freeQueued(id)
    returnBytes(id, UInt32(max(rest, 0)))
  }

  /// The connection is over with an error, of which its application is told.
  mutating func fail(_ id: ConnectionID, _ error: UInt16) {
    unlink(id)
    returnQueued(id)
    guard !connections[id].flags.contains(.orphaned) else {
      if connections[id].slot == .max { forget(id) }
      return
    }
    guard connections[id].slot != .max else {
      forget(id)
      return
    }
    changeUncommon(id) { $0.error = error }
    connections[id].flags.insert(.reportFailed)
    markDirty(id)
  }

  /// The connection goes on elsewhere; its application is told. All that it has sent until now counts as
  /// acknowledged, and what it sends from now on stays its own. What it has been told of remains in its
  /// chunks until it closes, as when a connection fails.
  mutating func moveAway(_ id: ConnectionID) {
    unlink(id)
    returnQueued(id)
    connections[id].receiveUnposted = .max
    connections[id].sendUnacknowledged = connections[id].sendMaximum
    connections[id].sendQueueEnd = connections[id].sendMaximum
    connections[id].flags.insert(.moved)
    kernelPorts.insert(connections[id].flow.localPort)
    guard connections[id].slot != .max else {
      forget(id)
      return
    }
    if !connections[id].flags.contains(.orphaned) { connections[id].flags.insert(.reportMoved) }
    markDirty(id)
  }

  /// Resets the peer and forgets the connection; its application has given it up.
  mutating func abort(_ id: ConnectionID) {
    if connections[id].state >= .synReceived { sendReset(id) }
    retire(id)
  }

  /// Resets the peer with the answer that its segment gets when there is no connection.
  mutating func abort(_ id: ConnectionID, answering segment: inout Segment) {
    sendReset(answering: &segment, of: id)
    retire(id)
  }

  /// Frees the last of a connection: it has neither peer nor application.
  mutating func forget(_ id: ConnectionID) {
    let channel = connections[id].channel
    if channel != .none {
      if ownerLinks.contains(id) { ownerLinks.remove(id, from: &channels[channel].dirty) }
      freeReceived(id)
      freeQueued(id)
      channels[channel].connectionCount -= 1
      releaseIfOver(channel)
    }
    endUncommon(id)
    connections.free(id)
  }

  /// We closed first: the flow waits for two segment lifetimes (section 3.10.7.4, eighth step).
  mutating func enterTimeWait(_ id: ConnectionID, now: Instant) {
    let connection = connections[id]
    let window = connection.receiveWindow >> UInt32(connection.receiveScale)
    let record = TimeWaitRecord(
      flow: connection.flow, sendNext: connection.sendMaximum,
      receiveNext: connection.receiveNext, recentTimestamp: connection.recentTimestamp,
      windowField: UInt16(clamping: max(window, 1)),
      hasTimestamps: connection.flags.contains(.timestamps))
    // A FIN of this burst is acknowledged from the record: the connection may be gone by its end.
    if connection.flags.contains(.acknowledgeNow) {
      sendAcknowledgement(
        record, to: connection.nextHop, vlan: connection.vlan,
        interface: Int(connection.interface), now: now)
    }
    retire(id)
    timeWait.insert(record, now: now)
  }
}
