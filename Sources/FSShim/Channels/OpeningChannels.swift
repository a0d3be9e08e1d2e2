import CShim
import Synchronization

// How channels come into being, and how they end.

extension ChannelTable {
  /// The calling thread's own channel: the one it has, one whose thread has ended, or a new one. -1
  /// when no daemon gives one.
  static func forThread() -> Int32 {
    let own = threadChannel()
    if own >= 0 { return own }
    let lock = processWord(.control)
    guard Lock.acquire(lock) else { return -1 }
    defer { Lock.release(lock) }
    guard ControlConnection.ensure() else { return -1 }
    var channel = adopt()
    if channel < 0 { channel = open(exactEngine: nil) }
    if channel < 0 { channel = share() }
    guard channel >= 0 else { return -1 }
    fs_thread_state().pointee.channel = UInt32(channel) + 1
    fs_remember_thread()
    return channel
  }

  /// Takes over a channel that no thread calls its own. The control lock is held.
  private static func adopt() -> Int32 {
    let me = currentThreadID()
    for index in 0..<count where at(index).isOpen && !at(index).pointee.isInvited {
      if at(index).owner.pointee.compareExchange(
        expected: 0, desired: me, ordering: .acquiringAndReleasing
      ).exchanged {
        return index
      }
    }
    return -1
  }

  /// Some channel that another thread calls its own; for the threads beyond the limit.
  private static func share() -> Int32 {
    let total = count
    guard total > 0 else { return -1 }
    let start = Int32(currentThreadID() % UInt32(total))
    for step in 0..<total {
      let index = (start + step) % total
      if at(index).isOpen { return index }
    }
    return -1
  }

  /// An open channel to an engine, opening one if need be. The control lock is held.
  static func forEngine(_ engine: UInt32) -> Int32 {
    for index in 0..<count where at(index).isOpen && at(index).pointee.engine == engine {
      return index
    }
    let index = open(exactEngine: engine)
    if index >= 0 {
      at(index).pointee.isInvited = true
      at(index).owner.pointee.store(0, ordering: .relaxed)
    }
    return index
  }

  private static var openCount: Int {
    var open = 0
    for index in 0..<count where at(index).isOpen { open += 1 }
    return open
  }

  /// Asks the daemon for a channel. The control lock is held.
  private static func open(exactEngine: UInt32?) -> Int32 {
    guard openCount < Limits.ownChannels else { return -1 }
    let index = freeNumber()
    guard index >= 0 else { return -1 }
    var message = ControlConnection.message(.channel)
    message.argument = UInt32(fs_sys_current_cpu())
    if let exactEngine {
      message.engine = exactEngine
      message.flags = ControlFlags.exactEngine
    } else if fs_pins_threads() {
      message.flags = ControlFlags.pin
    }
    var reply = ControlConnection.Reply()
    guard ControlConnection.request(message, descriptor: -1, &reply) else { return -1 }
    guard reply.message.status == 0, reply.descriptorCount == 3, reply.message.geometry.isValid,
      establish(index, reply)
    else {
      reply.closeDescriptors()
      return -1
    }
    if reply.message.flags & ControlFlags.pin != 0 {
      // Refused by the application's limits it runs where it may.
      _ = fs_sys_bind_thread(UInt32(reply.message.localPort))
    }
    // All pools together hold a small part of what the process may have.
    let descriptors = Int(fs_sys_descriptor_limit()) / 8
    process.pointee.poolLimit = descriptors / (openCount + 1) / 2
    at(index).owner.pointee.store(currentThreadID(), ordering: .relaxed)
    at(index).openWord.pointee.store(1, ordering: .sequentiallyConsistent)
    if index == count {
      processWord(.channelWatermark).pointee.store(UInt32(index) + 1, ordering: .releasing)
    }
    return index
  }

  /// A number that no channel has, or whose channel is gone and forgotten by all its sockets.
  private static func freeNumber() -> Int32 {
    let total = count
    if total < Limits.channels / 2 { return total }
    for index in 0..<total where !at(index).isOpen && at(index).pointee.socketCount == 0 {
      unmap(index)
      return index
    }
    return total < Limits.channels ? total : -1
  }

  private static func unmap(_ index: Int32) {
    let channel = at(index)
    // The memory of a parent's channel has not come along into this process.
    if channel.pointee.processGeneration == process.pointee.generation {
      _ = fs_sys_unmap(channel.pointee.memory, UInt(channel.pointee.geometry.byteCount))
      closeInternal(channel.pointee.wakeDescriptor)
      closeInternal(channel.pointee.doorbell)
    }
    let layout = PrivateLayout(channel.pointee.geometry)
    _ = fs_sys_unmap(UnsafeMutableRawPointer(channel.pointee.slots), UInt(layout.byteCount))
  }

  /// Maps the memory, and makes the channel's own.
  private static func establish(_ index: Int32, _ reply: borrowing ControlConnection.Reply) -> Bool
  {
    let geometry = reply.message.geometry
    let layout = PrivateLayout(geometry)
    guard let memory = fs_sys_map_shared(reply.descriptors[0], UInt(geometry.byteCount)) else {
      return false
    }
    guard ChannelHeader(base: memory).isCurrent,
      let own = fs_sys_map_private(UInt(layout.byteCount))
    else {
      _ = fs_sys_unmap(memory, UInt(geometry.byteCount))
      return false
    }
    // The rings have one producer and one consumer: a forked child must not even see them.
    _ = fs_sys_madvise(memory, UInt(geometry.byteCount), MADV_DONTFORK)
    _ = fs_sys_close(reply.descriptors[0])
    let generation = at(index).pointee.generation &+ 1
    var channel = layout.channel(memory: memory, own: own, geometry: geometry)
    channel.generation = generation == 0 ? 1 : generation
    channel.processGeneration = process.pointee.generation
    channel.number = reply.message.channel
    channel.engine = reply.message.engine
    channel.processor = Int32(bitPattern: reply.message.argument)
    channel.wakeDescriptor = moveToInternal(reply.descriptors[1])
    channel.doorbell = moveToInternal(reply.descriptors[2])
    at(index).initialize(to: channel)
    return true
  }

  /// A thread ends: its channel can be taken over.
  static func threadEnds() {
    let index = Int32(bitPattern: fs_thread_state().pointee.channel) - 1
    guard index >= 0, isInitialized else { return }
    fs_thread_state().pointee.channel = 0
    if at(index).isOpen, at(index).pointee.leavingCount > 0, Lock.acquire(at(index).lockWord) {
      at(index).leaveListeners()
      Lock.release(at(index).lockWord)
    }
    _ = at(index).owner.pointee.compareExchange(
      expected: currentThreadID(), desired: 0, ordering: .releasing)
  }
}

/// Where in a channel's own memory its tables are.
private struct PrivateLayout {
  let pieces: Int
  let chunks: Int
  let queues: Int
  let unreported: Int
  let delayed: Int
  let pools: Int
  let byteCount: Int

  init(_ geometry: ChannelGeometry) {
    pieces = Int(geometry.slotCount) * MemoryLayout<Slot>.stride
    chunks = pieces + Int(geometry.receiveChunkCount) * MemoryLayout<ReceivePiece>.stride
    queues = chunks + Int(geometry.sendChunkCount) * MemoryLayout<SendChunks.Record>.stride
    unreported = queues + Limits.listeners * MemoryLayout<AcceptQueue>.stride
    let unaligned = unreported + Channel.unreportedCapacity * MemoryLayout<UInt32>.stride
    delayed = (unaligned + 63) & ~63
    pools = delayed + Channel.delayedCapacity * MemoryLayout<Command>.stride
    byteCount = pools + 4 * DescriptorPool.byteCount
  }

  func channel(
    memory: UnsafeMutableRawPointer, own: UnsafeMutableRawPointer, geometry: ChannelGeometry
  ) -> Channel {
    let header = ChannelHeader(base: memory)
    return Channel(
      generation: 0, processGeneration: 0, number: 0, engine: 0, wakeDescriptor: -1, doorbell: -1,
      memory: memory, geometry: geometry, header: header,
      events: RingConsumer(
        elements: (memory + geometry.eventOffset).assumingMemoryBound(to: Event.self),
        capacity: geometry.eventCapacity, producerIndex: header.eventTail,
        consumerIndex: header.eventHead),
      commands: RingProducer(
        elements: (memory + geometry.commandOffset).assumingMemoryBound(to: Command.self),
        capacity: geometry.commandCapacity, producerIndex: header.commandTail,
        consumerIndex: header.commandHead),
      pieces: ReceivePieces(
        records: (own + pieces).assumingMemoryBound(to: ReceivePiece.self),
        chunkCount: geometry.receiveChunkCount, chunkSize: UInt32(ChannelGeometry.receiveChunkSize)),
      chunks: SendChunks(
        records: (own + chunks).assumingMemoryBound(to: SendChunks.Record.self),
        count: geometry.sendChunkCount),
      slots: own.assumingMemoryBound(to: Slot.self),
      queues: (own + queues).assumingMemoryBound(to: AcceptQueue.self),
      slotWatermark: geometry.firstConnectSlot,
      unreported: (own + unreported).assumingMemoryBound(to: UInt32.self),
      delayed: (own + delayed).assumingMemoryBound(to: Command.self),
      placeholders4: DescriptorPool(memory: own + pools),
      placeholders6: DescriptorPool(memory: own + pools + DescriptorPool.byteCount),
      fresh4: DescriptorPool(memory: own + pools + 2 * DescriptorPool.byteCount),
      fresh6: DescriptorPool(memory: own + pools + 3 * DescriptorPool.byteCount))
  }
}

extension UnsafeMutablePointer<Channel> {
  /// The daemon is gone, or talks nonsense: everything the channel carries is dead. The lock is
  /// held.
  func breakChannel() {
    guard openWord.pointee.exchange(0, ordering: .sequentiallyConsistent) != 0 else { return }
    fs_report(Int32(FS_REPORT_CHANNEL_BROKEN), Int(pointee.engine))
    failAll(from: 0, to: pointee.acceptWatermark)
    failAll(from: pointee.geometry.firstConnectSlot, to: pointee.slotWatermark)
    // Threads that sleep look at their sockets again.
    fs_sys_ring(pointee.wakeDescriptor)
    ReadinessMemory.existing?.rouseAll(waitingFor: Waiter.none)
  }

  private func failAll(from first: UInt32, to end: UInt32) {
    for number in first..<end {
      let slot = pointee.slots + Int(number)
      guard slot.pointee.socket != 0 else { continue }
      let socket = SocketTable.at(slot.pointee.socket - 1)
      guard socket.pointee.state != .failed else { continue }
      failed(socket, slot, error: UInt16(ECONNRESET))
      socket.updateReadiness()
      if socket.pointee.state != .queued { notifyOfOwn(socket, Ready.dead | Ready.error) }
    }
  }
}
