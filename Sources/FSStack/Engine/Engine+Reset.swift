// RST segments, and the way out for segments of no connection in the slab.

extension Engine {
  /// Answers a segment of no connection with RST (RFC 9293 section 3.10.7.1).
  mutating func sendReset(
    answering segment: inout Segment, _ flow: Flow, interface: Int
  ) {
    guard !segment.flags.contains(.rst) else { return }
    var header = OutgoingHeader()
    header.destinationMAC = segment.sourceMAC
    header.vlan = segment.vlan
    if segment.flags.contains(.ack) {
      header.sequence = segment.acknowledgement
      header.flags = .rst
    } else {
      var length = UInt32(segment.payloadLength)
      if segment.flags.contains(.syn) { length += 1 }
      if segment.flags.contains(.fin) { length += 1 }
      header.acknowledgement = segment.sequence + length
      header.flags = [.rst, .ack]
    }
    transmit(&header, flow, interface: interface)
    counters.resetsSent += 1
  }

  /// As above, for a connection that has not yet synchronized.
  mutating func sendReset(answering segment: inout Segment, of id: ConnectionID) {
    sendReset(
      answering: &segment, connections[id].flow, interface: Int(connections[id].interface))
  }

  /// Tells the peer that a synchronized connection is over.
  mutating func sendReset(_ id: ConnectionID) {
    var header = OutgoingHeader()
    header.destinationMAC = connections[id].nextHop
    header.vlan = connections[id].vlan
    // SND.NXT may have gone back; the peer expects what it has acknowledged or more.
    header.sequence = connections[id].sendMaximum
    header.acknowledgement = connections[id].receiveNext
    header.flags = [.rst, .ack]
    transmit(&header, connections[id].flow, interface: Int(connections[id].interface))
    counters.resetsSent += 1
  }

  /// Sends a segment without data that belongs to no connection in the slab.
  mutating func transmit(
    _ header: inout OutgoingHeader, _ flow: Flow, interface: Int
  ) {
    let queue = interfaces[interface].transmit
    guard let frame = queue.allocate() else {
      drop(.transmitQueueFull)
      return
    }
    header.sourceMAC = interfaces[interface].macAddress
    header.source = flow.local
    header.destination = flow.remote
    header.sourcePort = flow.localPort
    header.destinationPort = flow.remotePort
    unsafe header.write(to: queue.frame(frame), payloadLength: 0, payloadSum: 0)
    queue.commit(frame, length: header.length)
    counters.framesSent += 1
    counters.bytesSent += UInt64(header.length)
  }
}
