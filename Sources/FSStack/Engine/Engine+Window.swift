import FSRing

// The window that we offer (RFC 9293 section 3.8.6).

extension Engine {
  /// Bytes that the application's buffer has room for; none as long as it does not read (MAY-8).
  func receiveSpace(_ id: ConnectionID) -> UInt32 {
    let unread = connections[id].unreadBytes
    let buffer = min(connections[id].receiveBuffer, uncommon(id).windowClamp)
    var space = buffer > unread ? buffer - unread : 0
    let channel = connections[id].channel
    if channel != .none {
      // When the channel's chunks run short nobody may promise more than a small share of them.
      let free = channels[channel].freeReceiveChunks
      let share = UInt32(ChannelGeometry.receiveChunkSize) / 2 * (free / 8)
      if free < channels[channel].geometry.receiveChunkCount / 4 { space = min(space, share) }
    }
    return space
  }

  /// The window field of a segment. The right edge moves only forward (SHLD-14), and only by a
  /// segment or half the buffer at least (receiver's SWS avoidance, MUST-39).
  ///
  /// The field counts in units of the scale: rounded down, the edge would move left by less than one
  /// whenever RCV.NXT moves (RFC 7323 section 2.4). So it is rounded up, as in Linux, unless that
  /// would promise more than a unit beyond the buffer.
  @inline(__always)
  func advertisedWindow(_ id: ConnectionID) -> UInt16 {
    let scale = UInt32(connections[id].receiveScale)
    let unit = UInt32(1) << scale
    let space = receiveSpace(id)
    let edge = connections[id].receiveNext + ((space >> scale) << scale)
    let gain = edge - connections[id].receiveEdge
    let step = min(
      Int32(connections[id].peerSegmentSize), Int32(connections[id].receiveBuffer / 2))
    if gain >= step {
      connections[id].receiveEdge = edge
    } else {
      let window = connections[id].receiveWindow
      let rounded = (window + unit - 1) & ~(unit - 1)
      if rounded <= max(window, space + unit) {
        connections[id].receiveEdge = connections[id].receiveNext + rounded
      }
    }
    return UInt16(clamping: connections[id].receiveWindow >> scale)
  }

  /// Whether enough has been read since the last segment that the peer should learn of it: as in
  /// Linux (tcp_cleanup_rbuf) when the window can at least double, or opens.
  func shouldUpdateWindow(_ id: ConnectionID) -> Bool {
    guard connections[id].state.canReceive else { return false }
    let window = connections[id].receiveWindow
    guard UInt64(window) * 2 <= UInt64(connections[id].receiveBuffer) else { return false }
    let space = UInt64(receiveSpace(id))
    let step = min(
      2 * UInt64(connections[id].peerSegmentSize), UInt64(connections[id].receiveBuffer / 2))
    return space >= UInt64(window) * 2 && space >= UInt64(window) + step
  }
}
