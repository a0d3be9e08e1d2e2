import FSDevice
import FSStack

// The path of packets. No allocation, no lock.

extension EngineLoop {
  /// Makes the frames that the kernel has sent free again.
  func reapCompletions() {
    for position in exits.indices {
      let queue = exits[position].queue
      exits[position].port.withSocket { socket in
        _ = socket.reapCompletions { queue.recycle($0) }
      }
    }
  }

  /// Takes a burst from each socket. Returns the frames.
  mutating func receive(_ now: Instant) -> Int {
    var total = 0
    for position in ports.indices {
      let port = ports[position]
      let count = port.withSocket { socket in
        unsafe socket.receiveBurst(
          maximum: Self.burst, announce: { unsafe engine.announce($0) }
        ) { frame in
          switch unsafe engine.receive(frame, interface: port.interface, now: now) {
          case .done: break
          case .handOver(let owner): unsafe handOver(frame, interface: port.interface, to: owner)
          }
        }
      }
      if count > 0 {
        counters.countBurst(count)
        total += count
      }
    }
    if total > 0 { wakeOwners() }
    return total
  }

  private mutating func handOver(_ frame: UnsafeRawBufferPointer, interface: Int, to owner: Int) {
    guard let ring = peers.outgoing[owner], unsafe ring.push(frame, interface: interface) else {
      counters.handOverFull &+= 1
      return
    }
    handedOver[owner] = true
  }

  private mutating func wakeOwners() {
    for owner in handedOver.indices where handedOver[owner] {
      handedOver[owner] = false
      if peers.doorbells[owner].ringIfAsleep() { counters.engineWakeUps &+= 1 }
    }
  }

  /// Takes what other engines have handed over. Returns the frames.
  mutating func receiveHandedOver(_ now: Instant) -> Int {
    var total = 0
    for ring in peers.incoming {
      total += unsafe ring.drain(maximum: Self.burst) { frame, interface in
        unsafe engine.receiveHandedOver(frame, interface: interface, now: now)
      }
    }
    return total
  }

  /// How soon to look whether frames have been completed that the next ones wait for.
  private static let completionDelay: UInt64 = 50_000
  /// How soon to try again what the kernel has refused.
  private static let refusalDelay: UInt64 = 1_000_000

  /// Moves what the engine wants to send to the transmit rings, and tells the kernel once for each.
  /// Returns the frames moved.
  mutating func transmit() -> Int {
    var total = 0
    var delay = UInt64.max
    for position in exits.indices {
      let queue = exits[position].queue
      let before = queue.pendingCount
      exits[position].port.withSocket { socket in
        if before > 0, socket.hasRoom(for: before) {
          queue.takePending { socket.enqueue($0, length: $1) }
        }
        if socket.needsKick, !socket.kick() {
          delay = min(delay, Self.refusalDelay)
        } else if queue.pendingCount > 0 {
          delay = min(delay, Self.completionDelay)
        }
      }
      total += before - queue.pendingCount
    }
    if engine.hasOutputWaiting { delay = min(delay, Self.completionDelay) }
    transmitDelay = delay == .max ? nil : delay
    return total
  }

  /// Wakes the applications that sleep and have got something.
  mutating func wakeApplications() {
    engine.drainWakeups { id in
      counters.wakeUps &+= 1
      let number = wakeDescriptors[Int(id.raw)]
      // Where one has blocked, the next may.
      let isSuspect = !stuckChannels.isEmpty && EventDescriptor.blocks(number)
      if isSuspect || !EventDescriptor.ring(number) { stuckChannels.append(id) }
    }
    if !stuckChannels.isEmpty { closeStuckChannels() }
  }
}
