import FSRing

@testable import FSStack

// Another stack that goes on with an exported connection, as the kernel does with TCP_REPAIR: what was
// in flight is sent again, timers and the congestion control begin anew.

extension Engine {
  /// Makes a connection of a description, on a slot of the application's half; nil when there is no
  /// path. The application has still to send `unacknowledged` and `unsent`.
  mutating func continueConnection(
    _ exported: ExportedConnection, channel: ChannelID, slot: UInt32, now: Instant
  ) -> ConnectionID? {
    let flow = Flow(exported.address)
    guard let path = paths.find(flow.remote), let nextHop = path.nextHop else { return nil }
    let next = SequenceNumber(exported.sendUnacknowledged)
    var connection = makeConnection(
      flow, state: .established, interface: 0, nextHop: nextHop, vlan: NetworkLayer.untagged,
      pathMTU: path.mtu, initial: next - 1, now: now)
    connection.sendUnacknowledged = next
    connection.sendNext = next
    connection.sendMaximum = next
    connection.smallSegmentEnd = next
    connection.receiveNext =
      SequenceNumber(exported.receiveNext) - UInt32(exported.unread.count)
    connection.receiveEdge = SequenceNumber(exported.receiveNext) + exported.receiveWindow
    connection.lastAcknowledgementSent = connection.receiveNext
    connection.sendScale = exported.sendScale
    connection.receiveScale = exported.receiveScale
    connection.sendWindow = exported.sendWindow
    connection.largestSendWindow = exported.largestSendWindow
    connection.windowUpdateSequence = SequenceNumber(exported.windowUpdateSequence)
    connection.maximumSegmentSize = exported.maximumSegmentSize
    if exported.permitsSelectiveAcknowledgements {
      connection.flags.insert(.selectiveAcknowledgements)
    }
    if let value = exported.timestamp {
      connection.flags.insert(.timestamps)
      connection.timestampOffset = value &- timestamp(0, now: now)
    }
    connection.flags.formUnion([.announced, .noDelay, .acknowledgeNow])
    // The kernel counts what was sent as sent, so that it may be acknowledged at once.
    connection.congestion = CongestionControl(
      segmentSize: max(UInt32(connection.maximumSegmentSize), UInt32(exported.unacknowledged.count))
    )
    connection.channel = channel
    connection.slot = slot
    guard let id = insert(connection, hash: secret.hash(flow)) else { return nil }
    channels[channel].occupy(slot, by: id)
    channels[channel].connectionCount += 1
    let taken = exported.unread.withUnsafeBytes { deliver(id, $0) }
    precondition(taken == exported.unread.count)
    connections[id].receiveNext = SequenceNumber(exported.receiveNext)
    if exported.isReadOver {
      connections[id].state = .closeWait
      connections[id].flags.insert(.reportFinished)
    }
    markDirty(id)
    scheduleOutput(id)
    return id
  }
}

extension TestSocket {
  /// What the stack behind the connection calls it.
  var flowAddress: FlowAddress {
    FlowAddress(
      local: IPAddress(high: endpoint.localHigh, low: endpoint.localLow),
      localPort: endpoint.localPort,
      remote: IPAddress(high: endpoint.remoteHigh, low: endpoint.remoteLow),
      remotePort: endpoint.remotePort)
  }

  /// Whether bytes are those of the stream from `position` on, sent or received by this side.
  func matches(_ bytes: [UInt8], from position: Int, isSent: Bool) -> Bool {
    bytes.enumerated().allSatisfy { index, byte in
      byte == StreamPattern.byte(position + index, port: port, toServer: isSent != isServer)
    }
  }
}
