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
    /// Both of its ends are in this engine, and only one is asked for.
    case loopback
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

  /// Gives a connection up: it is described, forgotten, and its application told that it has moved.
  ///
  /// For a second, segments that are still under way to here are dropped without an answer; the peer
  /// sends them again. Bytes ahead of a gap are not taken along, although the peer may have been told
  /// of them: a receiver may do so (RFC 2018 section 8).
  public mutating func exportConnection(
    _ flow: FlowAddress, claims: [ExportClaim], now: Instant
  ) -> Result<ExportedConnection, ExportRefusal> {
    let flow = Flow(flow)
    let hash = secret.hash(flow)
    guard let candidate = find(flow, hash: hash), isClaimed(candidate, claims) else {
      return .failure(.unknown)
    }
    // What the application has already written or read belongs to what is handed over.
    catchUp(connections[candidate].channel, now: now)
    guard let id = find(flow, hash: hash), isClaimed(id, claims) else { return .failure(.unknown) }
    guard connections[id].state >= .established else { return .failure(.opening) }
    guard connections[id].interface != loopback else { return .failure(.loopback) }
    let exported = description(of: id, now: now)
    counters.exported += 1
    moved.insert(flow, hash: hash, now: now)
    moveAway(id)
    return .success(exported)
  }

  /// The connections on which a claim stands, for `exportConnection`.
  public func exportableConnections(_ claim: ExportClaim) -> [FlowAddress] {
    guard channels.isAllocated(claim.channel), !channels[claim.channel].isDetached else {
      return []
    }
    var found: [FlowAddress] = []
    for slot in 0..<channels[claim.channel].geometry.slotCount {
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
      listener: connection.acceptedBy == .max ? nil : connection.acceptedBy,
      channel: connection.channel,
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

/// What identifies a connection to the owner of an engine: both endpoints.
public struct FlowAddress: Hashable, Sendable {
  /// This host's address.
  public var local: IPAddress
  /// This host's port.
  public var localPort: UInt16
  /// The peer's address.
  public var remote: IPAddress
  /// The peer's port.
  public var remotePort: UInt16

  /// The connection between two endpoints.
  public init(local: IPAddress, localPort: UInt16, remote: IPAddress, remotePort: UInt16) {
    self.local = local
    self.localPort = localPort
    self.remote = remote
    self.remotePort = remotePort
  }

  init(_ flow: Flow) {
    self.init(
      local: flow.local, localPort: flow.localPort, remote: flow.remote,
      remotePort: flow.remotePort)
  }
}

extension Flow {
  init(_ address: FlowAddress) {
    self.init(
      local: address.local, localPort: address.localPort, remote: address.remote,
      remotePort: address.remotePort)
  }
}

/// A connection with everything that another stack needs to go on with it. Numbers are sequence
/// numbers of the connection; windows are in bytes.
public struct ExportedConnection: Equatable, Sendable {
  /// Both endpoints.
  public var address: FlowAddress
  /// Number of the first byte of `unacknowledged`, or of what would be sent next.
  public var sendUnacknowledged: UInt32
  /// RCV.NXT: one past the last of `unread`, and past the peer's FIN if that has arrived.
  public var receiveNext: UInt32
  /// SND.WND.
  public var sendWindow: UInt32
  /// The largest window that the peer has offered.
  public var largestSendWindow: UInt32
  /// SND.WL1.
  public var windowUpdateSequence: UInt32
  /// What the peer may send beyond `receiveNext`.
  public var receiveWindow: UInt32
  /// Shift of the windows that the peer sends.
  public var sendScale: UInt8
  /// Shift of the windows that we send.
  public var receiveScale: UInt8
  /// Bytes that the peer takes in a segment, options not deducted.
  public var maximumSegmentSize: UInt16
  /// RFC 2018.
  public var permitsSelectiveAcknowledgements: Bool
  /// The value of our timestamp clock, which counts milliseconds; nil without timestamps.
  public var timestamp: UInt32?
  /// There is an end behind `unread`: the peer's FIN has arrived, or shutdown(SHUT_RD) was called.
  public var isReadOver: Bool
  /// There is an end behind `unsent`: our FIN has been, or is to be, sent.
  public var isWriteShut: Bool
  /// Bytes received, in order, that the application has not read.
  public var unread: [UInt8]
  /// Bytes sent and not acknowledged.
  public var unacknowledged: [UInt8]
  /// Bytes never sent.
  public var unsent: [UInt8]
  /// The listener that it was accepted from.
  public var listener: UInt32?
  /// The channel that it was of.
  public var channel: ChannelID
  /// When it came to its owner.
  public var ownedSince: Instant
}
