import FSRing

// Urgent data (RFC 9293 section 3.8.5, RFC 6093): a mark in the stream, whose bytes are delivered
// like all others. Nothing is ever indexed by an urgent pointer.

extension Engine {
  /// Sixth step of section 3.10.7.4: the peer says where its urgent data ends (MUST-30), and may say
  /// so again and again (MUST-31). As in Linux with tcp_stdurg=0 the pointer counts to the byte after the urgent one (MUST-62), and a mark that is
  /// behind RCV.NXT, or not ahead of the one that is known, says nothing new.
  @inline(never)
  mutating func urgentArrives(_ id: ConnectionID, _ segment: inout Segment) {
    guard connections[id].state.canReceive else { return }
    let pointer = UInt32(segment.urgentPointer)
    let mark = segment.sequence + (pointer > 0 ? pointer - 1 : 0)
    guard mark >= connections[id].receiveNext else { return }
    if connections[id].flags.contains(.urgentAhead), mark <= uncommon(id).receiveUrgent {
      return
    }
    changeUncommon(id) { $0.receiveUrgent = mark }
    connections[id].flags.insert([.urgentAhead, .urgentKnown, .reportUrgent])
    // The application learns of it also when it advances (MUST-32), and before its bytes come.
    markDirty(id)
  }

  /// Puts the urgent mark into an event that follows all data (MUST-32, MUST-33).
  func attachUrgent(_ id: ConnectionID, _ event: inout Event) {
    let connection = connections[id]
    guard connection.state != .closed else { return }
    // RCV.NXT counts the FIN, too.
    let end = connection.receiveNext - (connection.state.canReceive ? UInt32(0) : 1)
    event.flags |= EventFlags.urgent
    event.urgentDistance = uncommon(id).receiveUrgent - end
    connections[id].flags.remove(.reportUrgent)
  }

  /// All bytes up to RCV.NXT have been posted: a mark among them is no longer ahead.
  @inline(__always)
  func passUrgent(_ id: ConnectionID) {
    if connections[id].flags.contains(.urgentAhead),
      connections[id].receiveNext > uncommon(id).receiveUrgent
    {
      connections[id].flags.remove(.urgentAhead)
    }
  }

  /// Bytes were taken back from an application: the next must learn of a mark among them.
  func takeBackUrgent(_ id: ConnectionID) {
    guard connections[id].flags.contains(.urgentKnown),
      uncommon(id).receiveUrgent >= connections[id].receiveNext
    else { return }
    connections[id].flags.insert([.urgentAhead, .reportUrgent])
  }

  /// The application has queued an urgent byte, the last one of the queue.
  mutating func queueUrgent(_ id: ConnectionID) {
    let end = connections[id].sendQueueEnd
    changeUncommon(id) { $0.sendUrgent = end }
    connections[id].flags.insert(.urgentQueued)
    // The peer is told at once, even if its window does not let the byte itself go out.
    acknowledgeSoon(id)
  }

  /// SND.UNA has moved.
  func urgentAcknowledged(_ id: ConnectionID) {
    if uncommon(id).sendUrgent <= connections[id].sendUnacknowledged {
      connections[id].flags.remove(.urgentQueued)
    }
  }

  /// Sets URG and the pointer of a segment before SND.UP. When the mark is too far ahead for the
  /// field, the pointer says as much as it can, but not in the middle of what is queued (as Linux).
  @inline(never)
  func setUrgent(_ id: ConnectionID, _ header: inout OutgoingHeader) {
    let connection = connections[id]
    let distance = uncommon(id).sendUrgent - header.sequence
    guard distance > 0 else { return }
    if distance <= 0xffff {
      header.urgentPointer = UInt16(distance)
    } else if header.sequence + 0xffff > connection.sendNext {
      header.urgentPointer = 0xffff
    } else {
      return
    }
    header.flags.insert(.urg)
  }
}
