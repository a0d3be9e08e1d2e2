import FSDevice
import FSRing
import FSStack
import Glibc

extension EngineLoop {
  /// Carries out what the control thread has left. Returns the number of tasks.
  mutating func runTasks() -> Int {
    let tasks = mailbox.take()
    for task in tasks { task(&self) }
    counters.tasks &+= UInt64(tasks.count)
    return tasks.count
  }

  /// Takes up a channel: its memory in the engine, its doorbell in the epoll set.
  mutating func attach(_ channel: Channel) -> ChannelID? {
    let attached = unsafe engine.attachChannel(memory: channel.memory, geometry: channel.geometry)
    guard let id = attached else { return nil }
    let position = Int(id.raw)
    while channels.count <= position {
      channels.append(nil)
      wakeDescriptors.append(-1)
    }
    channels[position] = channel
    wakeDescriptors[position] = channel.applicationWake.descriptor.number
    do {
      // Edge-triggered: the counter is never read, each write is an edge.
      try poller.add(channel.doorbell.descriptor.number, token: UInt64(id.raw), edge: true)
    } catch {
      Log.note("engine \(index): no doorbell for a channel: \(error)")
      engine.detachChannel(id, .expelled, now: .current)
      return nil
    }
    return id
  }

  /// Ends the channels of applications that made their eventfd block its writer. Where one is there may be more,
  /// each of which would hold up this engine again.
  mutating func closeStuckChannels() {
    for position in wakeDescriptors.indices where wakeDescriptors[position] >= 0 {
      let id = ChannelID(raw: UInt32(position))
      let isSuspect = EventDescriptor.blocks(wakeDescriptors[position])
      if isSuspect, !stuckChannels.contains(id) { stuckChannels.append(id) }
    }
    for id in stuckChannels {
      // Its last commands may wake it once more.
      wakeDescriptors[Int(id.raw)] = -1
      guard let channel = channels[Int(id.raw)] else { continue }
      engine.detachChannel(id, .expelled, now: .current)
      outbox.post([
        .violation(engine: index, channel: channel, reason: "its eventfd blocks who writes it")
      ])
    }
    stuckChannels.removeAll(keepingCapacity: true)
  }

  /// Tells the control thread what the engine has to say.
  mutating func reportToControl() {
    var notices: [EngineNotice] = []
    var wanted: [IPAddress] = []
    let engineIndex = index
    engine.drainViolations { id, violation in
      guard let channel = channels[Int(id.raw)] else { return }
      notices.append(
        .violation(engine: engineIndex, channel: channel, reason: "\(violation)"))
    }
    engine.drainReleasedChannels { id in
      guard let channel = channels[Int(id.raw)] else { return }
      channels[Int(id.raw)] = nil
      wakeDescriptors[Int(id.raw)] = -1
      poller.remove(channel.doorbell.descriptor.number)
      notices.append(.released(engine: engineIndex, channel: channel, id: id))
    }
    engine.drainPathRequests { wanted.append($0) }
    if !wanted.isEmpty { notices.append(.pathsWanted(wanted)) }
    if !notices.isEmpty { outbox.post(notices) }
  }

  /// Everything counted.
  func snapshot() -> EngineSnapshot {
    EngineSnapshot(
      index: index, processor: processor, engine: engine.statistics(), loop: counters,
      sockets: sockets.map { socket in
        SocketSnapshot(
          interface: socket.interface, queue: socket.queue, mode: socket.mode.rawValue,
          counters: socket.counters.entries.map { (Fields.snakeCase($0.name), $0.value) },
          kernel: (socket.statistics()?.entries ?? []).map {
            (Fields.snakeCase($0.name), $0.value)
          })
      })
  }
}
