import FSRing

// The receive buffer grows with the rate at which an application reads.

extension Engine {
  /// The application has read: once in a round trip its rate may ask for a larger buffer.
  mutating func adjustReceiveBuffer(_ id: ConnectionID, now: Instant) {
    guard connections[id].state.canReceive,
      !connections[id].flags.contains(.receiveBufferLocked)
    else { return }
    let read = UInt32(
      truncatingIfNeeded: connections[id].tally.bytesReceived
        - UInt64(connections[id].unreadBytes))
    let segmentSize = UInt32(connections[id].peerSegmentSize)
    guard connections[id].receiveRate != .none else {
      // Most connections never receive so much.
      if read >= configuration.initialReceiveBuffer / 4 { beginReceiveRate(id, read, now: now) }
      return
    }
    guard
      let wanted = receiveRates[connections[id].receiveRate].read(
        read, segmentSize: segmentSize, now: now)
    else { return }
    let size = min(wanted, largestReceiveBuffer(id))
    if size > connections[id].receiveBuffer { connections[id].receiveBuffer = size }
  }

  /// SO_RCVLOWAT: the application reads nothing before so many bytes have come, so the buffer has to
  /// hold them (tcp_set_rcvlowat of Linux).
  mutating func setReceiveLowWater(_ id: ConnectionID, _ bytes: UInt32) {
    guard !connections[id].flags.contains(.receiveBufferLocked) else { return }
    let wanted = UInt32(clamping: UInt64(bytes) * 2)
    let size = min(wanted, largestReceiveBuffer(id))
    guard size > connections[id].receiveBuffer else { return }
    connections[id].receiveBuffer = size
    if shouldUpdateWindow(id) { acknowledgeSoon(id) }
  }

  private func beginReceiveRate(_ id: ConnectionID, _ read: UInt32, now: Instant) {
    let connection = connections[id]
    let rate = ReceiveRate(
      window: connection.receiveBuffer, segmentSize: UInt32(connection.peerSegmentSize),
      read: read, receiveNext: connection.receiveNext, now: now)
    connections[id].receiveRate = receiveRates.allocate(rate) ?? .none
  }

  /// What the window field can express, the configuration allows, and a quarter of the channel's free
  /// chunks hold.
  private func largestReceiveBuffer(_ id: ConnectionID) -> UInt32 {
    guard connections[id].receiveScale != 0 else { return 65535 }
    let free = channels[connections[id].channel].freeReceiveChunks
    let share = UInt64(free) * UInt64(ChannelGeometry.receiveChunkSize) / 4
    return min(configuration.receiveBuffer, UInt32(clamping: share))
  }

  /// Measures the round trip by a segment with data, before RCV.NXT moves.
  @inline(__always)
  func measureReceiveRoundTrip(_ id: ConnectionID, _ segment: inout Segment, now: Instant) {
    let rate = connections[id].receiveRate
    guard rate != .none else { return }
    receiveRates[rate].arrived(
      connections[id].receiveNext, window: connections[id].receiveWindow, now: now)
    if segment.options.hasTimestamp, connections[id].flags.contains(.timestamps),
      segment.payloadLength >= Int(connections[id].peerSegmentSize)
    {
      let echo = segment.options.timestampEcho
      receiveRates[rate].echoed(
        echo, milliseconds: timestamp(connections[id].timestampOffset, now: now) &- echo)
    }
  }
}
