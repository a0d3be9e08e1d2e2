import FSRing

// The window that we offer (RFC 9293 section 3.8.6).

extension Engine {
  /// Bytes that the application's buffer has room for.
  func receiveSpace(_ id: ConnectionID) -> UInt32 {
    let unread = connections[id].unreadBytes
    let buffer = connections[id].receiveBuffer
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

  /// The window field of a segment: the right edge moves only forward (SHLD-14), and only by a
  /// segment or half the buffer at least (receiver's SWS avoidance, MUST-39).
  @inline(__always)
  func advertisedWindow(_ id: ConnectionID) -> UInt16 {
    let scale = UInt32(connections[id].receiveScale)
    let edge = connections[id].receiveNext + ((receiveSpace(id) >> scale) << scale)
    let gain = edge - connections[id].receiveEdge
    let step = min(
      Int32(connections[id].peerSegmentSize), Int32(connections[id].receiveBuffer / 2))
    if gain >= step { connections[id].receiveEdge = edge }
    return UInt16(clamping: connections[id].receiveWindow >> scale)
  }

  /// Whether enough has been read since the last segment that the peer should learn of it.
  func shouldUpdateWindow(_ id: ConnectionID) -> Bool {
    guard connections[id].state.canReceive else { return false }
    let gain =
      Int64(receiveSpace(id)) - Int64(connections[id].receiveWindow)
    let step = min(
      2 * Int64(connections[id].peerSegmentSize), Int64(connections[id].receiveBuffer / 2))
    let window = connections[id].receiveWindow
    return gain >= step && (window < connections[id].receiveBuffer / 2 || window == 0)
  }
}
