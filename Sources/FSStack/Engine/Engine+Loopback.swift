// Connections between two programs of this host. Both ends are in this engine; what one sends is what
// the other receives in the next round, by way of frames like any other.

extension Engine {
  /// Adds the interface over which the engine's connections reach each other; its number. What is
  /// committed to its transmit queue, `receiveLoopback` takes.
  public mutating func addLoopback(mtu: Int, transmit: TransmitQueue) -> Int {
    precondition(loopback < 0)
    loopback = addInterface(
      InterfaceConfiguration(
        macAddress: MACAddress(), mtu: mtu, isVirtual: true, transmit: transmit))
    return loopback
  }

  /// Frames that wait for `receiveLoopback`: the engine must not sleep on them.
  public var loopbackPending: Int {
    loopback < 0 ? 0 : interfaces[loopback].transmit.pendingCount
  }

  /// Receives what the engine has sent to itself so far; returns the number of frames.
  public mutating func receiveLoopback(now: Instant) -> Int {
    let waiting = loopbackPending
    guard waiting > 0 else { return 0 }
    let queue = interfaces[loopback].transmit
    var count = 0
    queue.takePending { offset, length in
      // What these frames bring forth is for the next round.
      guard count < waiting else { return false }
      count += 1
      let frame = unsafe UnsafeRawBufferPointer(start: queue.frame(offset), count: length)
      _ = unsafe process(frame, interface: loopback, now: now, mayHandOver: false)
      queue.recycle(offset)
      return true
    }
    counters.loopbackFrames += UInt64(count)
    return count
  }
}
