import FSRing

// A connection leaves for the kernel: processes that share it, or that do not know of us, go on with
// it there.

extension Engine {
  /// Why a connection cannot be exported.
  public enum ExportRefusal: Error, Equatable, Sendable {
    /// There is none, it is dead, it has been closed, or none of the owners has it.
    case unknown
    /// It is being opened.
    case opening
    /// Its other end is in this engine, too, and cannot be exported now.
    case otherEnd
  }

  /// Who may dispose of connections: a channel, of what it had before a moment.
  public struct ExportClaim: Equatable, Sendable {
    /// The channel.
    public var channel: ChannelID
    /// Connections that came to it later are not meant.
    public var before: Instant

    /// A claim on what `channel` had `before` a moment; never: on all that it has.
    public init(channel: ChannelID, before: Instant = .never) {
      self.channel = channel
      self.before = before
    }
  }

  /// Carries out what a channel's application has asked for until now.
  public mutating func catchUp(_ channel: ChannelID, now: Instant) {
    guard channels.isAllocated(channel), !channels[channel].isClosed else { return }
    counters.commands += UInt64(service(channel, now: now))
  }

  /// Whether a claim is on a connection.
  public func isClaimed(_ flow: FlowAddress, by claims: [ExportClaim]) -> Bool {
    let flow = Flow(flow)
    return claimed(flow, hash: secret.hash(flow), claims) != nil
  }

  private func claimed(_ flow: Flow, hash: UInt64, _ claims: [ExportClaim]) -> ConnectionID? {
    find(flow, hash: hash).flatMap { isClaimed($0, claims) ? $0 : nil }
  }

  /// Gives a connection up: it is described, forgotten, and its application told that it has moved.
  ///
  /// For a second, segments that are still under way to here are dropped without an answer; the peer
  /// sends them again. Bytes ahead of a gap are not taken along, although the peer may have been told
  /// of them: a receiver may do so (RFC 2018 section 8).
  ///
  /// Of a connection within the host both ends go.
  public mutating func exportConnection(
    _ flow: FlowAddress, claims: [ExportClaim], now: Instant
  ) -> Result<ExportedConnection, ExportRefusal> {
    let flow = Flow(flow)
    let hash = secret.hash(flow)
    guard let candidate = claimed(flow, hash: hash, claims) else { return .failure(.unknown) }
    // What the application has already written or read belongs to what is handed over.
    catchUp(connections[candidate].channel, now: now)
    guard let id = claimed(flow, hash: hash, claims) else { return .failure(.unknown) }
    guard connections[id].state >= .established else { return .failure(.opening) }
    guard connections[id].interface == loopback else { return .success(giveUp(id, hash, now: now)) }
    guard let end = otherEnd(of: flow, now: now), find(flow, hash: hash) == id else {
      return .failure(.otherEnd)
    }
    var exported = giveUp(id, hash, now: now)
    if end.id != .none { exported.otherEnd = [giveUp(end.id, end.hash, now: now)] }
    return .success(exported)
  }

  private mutating func giveUp(
    _ id: ConnectionID, _ hash: UInt64, now: Instant
  ) -> ExportedConnection {
    let exported = description(of: id, now: now)
    counters.exported += 1
    moved.insert(connections[id].flow, hash: hash, now: now)
    moveAway(id)
    // Its application is to know before anybody can use the connection elsewhere.
    postEvents()
    return exported
  }

  /// The other end of a connection within this host; none if it is over. Nil if it is there and belongs
  /// to no application yet.
  private mutating func otherEnd(
    of flow: Flow, now: Instant
  ) -> (id: ConnectionID, hash: UInt64)? {
    let other = Flow(
      local: flow.remote, localPort: flow.remotePort, remote: flow.local, remotePort: flow.localPort
    )
    let hash = secret.hash(other)
    if let candidate = find(other, hash: hash), connections[candidate].channel != .none {
      catchUp(connections[candidate].channel, now: now)
    }
    guard let id = find(other, hash: hash) else {
      if case .halfOpen = flows.find(other, hash: hash) { return nil }
      return (.none, hash)
    }
    let connection = connections[id]
    guard connection.state >= .established, connection.channel != .none,
      !channels[connection.channel].isViolated
    else { return nil }
    return (id, hash)
  }

  /// The connections on which a claim stands, for `exportConnection`.
  public func exportableConnections(_ claim: ExportClaim) -> [FlowAddress] {
    guard channels.isAllocated(claim.channel), !channels[claim.channel].isDetached else {
      return []
    }
    var found: [FlowAddress] = []
    var next = channels[claim.channel].usedSlot(from: 0)
    while let slot = next {
      next = channels[claim.channel].usedSlot(from: slot + 1)
      guard let id = channels[claim.channel].connection(on: slot),
        connections[id].state >= .established, isClaimed(id, [claim])
      else { continue }
      found.append(FlowAddress(connections[id].flow))
    }
    return found
  }

  private func isClaimed(_ id: ConnectionID, _ claims: [ExportClaim]) -> Bool {
    let connection = connections[id]
    guard connection.channel != .none, !channels[connection.channel].isClosed,
      !connection.flags.contains(.orphaned)
    else { return false }
    return claims.contains {
      $0.channel == connection.channel && connection.ownedSince <= $0.before
    }
  }

  private func description(of id: ConnectionID, now: Instant) -> ExportedConnection {
    let connection = connections[id]
    let first = min(connection.sendUnacknowledged, connection.sendQueueEnd)
    let queued = queuedBytes(id, from: first)
    let sent = Int(max(min(connection.sendMaximum, connection.sendQueueEnd) - first, 0))
    return ExportedConnection(
      address: FlowAddress(connection.flow), sendUnacknowledged: first.value,
      receiveNext: connection.receiveNext.value, sendWindow: connection.sendWindow,
      largestSendWindow: connection.largestSendWindow,
      windowUpdateSequence: connection.windowUpdateSequence.value,
      receiveWindow: connection.receiveWindow, sendScale: connection.sendScale,
      receiveScale: connection.receiveScale, maximumSegmentSize: connection.maximumSegmentSize,
      permitsSelectiveAcknowledgements: connection.flags.contains(.selectiveAcknowledgements),
      timestamp: connection.flags.contains(.timestamps)
        ? timestamp(connection.timestampOffset, now: now) : nil,
      isReadOver: !connection.state.canReceive || connection.flags.contains(.readShut),
      isWriteShut: connection.flags.contains(.finQueued), unread: unreadBytes(id),
      unacknowledged: Array(queued[..<sent]), unsent: Array(queued[sent...]),
      listener: connection.acceptedBy,
      channel: connection.channel, isOrphan: connection.flags.contains(.orphaned),
      ownedSince: connection.ownedSince)
  }

  /// What the application has not read, or has not said that it has.
  private func unreadBytes(_ id: ConnectionID) -> [UInt8] {
    let channel = connections[id].channel
    var bytes: [UInt8] = []
    bytes.reserveCapacity(Int(connections[id].unreadBytes))
    var chunk = connections[id].receiveHead
    while chunk != .max {
      unsafe bytes.append(contentsOf: channels[channel].unreadBytes(chunk))
      chunk = channels[channel][receive: chunk].next
    }
    return bytes
  }

  /// The bytes queued from a number on.
  private func queuedBytes(_ id: ConnectionID, from first: SequenceNumber) -> [UInt8] {
    let channel = connections[id].channel
    var bytes: [UInt8] = []
    var chunk = connections[id].sendHead
    var sequence = connections[id].sendHeadSequence
    while chunk != .max {
      let record = channels[channel][send: chunk]
      let skip = min(max(Int(first - sequence), 0), Int(record.length))
      unsafe bytes.append(
        contentsOf: UnsafeRawBufferPointer(
          start: channels[channel].sendBytes(chunk) + skip, count: Int(record.length) - skip))
      sequence += UInt32(record.length)
      chunk = record.next
    }
    return bytes
  }
}
