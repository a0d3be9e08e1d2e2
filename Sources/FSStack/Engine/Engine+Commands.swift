import FSRing

// Commands of applications. Everything in them is suspect.

extension Engine {
  /// Executes the commands that channels hold; returns how many.
  public mutating func serviceChannels(now: Instant) -> Int {
    var executed = 0
    for raw in 0..<channels.watermark {
      let id = ChannelID(raw: raw)
      guard channels.isAllocated(id), !channels[id].isClosed else { continue }
      executed += service(id, now: now)
    }
    counters.commands += UInt64(executed)
    return executed
  }

  /// Executes the commands of one channel; returns how many.
  @inline(__always)
  mutating func service(_ channel: ChannelID, now: Instant) -> Int {
    guard let ready = channels[channel].commands.readyCount() else {
      violate(channel, .commandIndexImpossible)
      return 0
    }
    guard ready > 0 else { return 0 }
    let looksAhead = hasManyConnections
    for position in 0..<ready {
      if looksAhead { prefetchCommands(channel, at: position, of: ready) }
      let command = channels[channel].commands.element(at: position)
      if let violation = execute(command, channel, now: now) {
        violate(channel, violation)
        return Int(position)
      }
    }
    channels[channel].commands.release(ready)
    return Int(ready)
  }

  /// Executes one command; returns what is wrong with it.
  private mutating func execute(
    _ command: Command, _ channel: ChannelID, now: Instant
  ) -> ChannelViolation? {
    guard let kind = CommandKind(rawValue: command.kind) else { return .unknownCommand }
    switch kind {
    case .pause, .resume:
      pause(command, channel, kind == .pause, now: now)
      return nil
    case .wantSpace:
      wantSpace(channel)
      return nil
    case .connect:
      let geometry = channels[channel].geometry
      guard command.slot >= geometry.firstConnectSlot, command.slot < geometry.slotCount else {
        return .slotOutOfRange
      }
      guard channels[channel].isFree(command.slot) else { return .slotInUse }
      connect(command, channel, now: now)
      return nil
    case .send, .consume, .shutdown, .close, .option, .handBack, .inquire:
      guard command.slot < channels[channel].geometry.slotCount else { return .slotOutOfRange }
      guard let id = channels[channel].connection(on: command.slot),
        !connections[id].flags.contains(.orphaned)
      else {
        // Nobody can know yet, or only close it, when there was no room for a connection.
        guard channels[channel].isRefused(command.slot) else { return .slotNotOpen }
        if kind == .close { channels[channel].release(command.slot) }
        return kind == .inquire ? inquire(command, nil, channel, now: now) : nil
      }
      return execute(kind, command, id, channel, now: now)
    }
  }

  private mutating func execute(
    _ kind: CommandKind, _ command: Command, _ id: ConnectionID, _ channel: ChannelID, now: Instant
  ) -> ChannelViolation? {
    switch kind {
    case .send:
      return queue(command, id, channel, now: now)
    case .consume:
      guard consume(id, command.length, now: now) else { return .consumedTooMuch }
      if shouldUpdateWindow(id) { acknowledgeSoon(id) }
      readEverything(id, now: now)
      // What waited for a chunk need not wait for the peer to send it again. Last: it may bring the FIN.
      if connections[id].reassembly != .none { drainReassembly(id, now: now) }
      return nil
    case .shutdown:
      shutdown(id, command.flags, now: now)
      return nil
    case .close:
      guard consume(id, command.length, now: now) else { return .consumedTooMuch }
      close(id, isReset: command.flags & CommandFlags.reset != 0, now: now)
      return nil
    case .option:
      setOption(
        id, level: Int(command.length >> 16), name: Int(command.length & 0xffff),
        value: command.value, now: now)
      return nil
    case .inquire:
      return inquire(command, id, channel, now: now)
    case .handBack:
      guard command.slot < channels[channel].geometry.firstConnectSlot,
        connections[id].acceptedBy != nil, isUntouched(id)
      else { return .handBackInvalid }
      guard connections[id].state == .established || connections[id].state == .closeWait else {
        // Dead in the meantime: there is nothing to give to anybody.
        close(id, isReset: true, now: now)
        return nil
      }
      handBack(id, now: now)
      return nil
    case .connect, .pause, .resume, .wantSpace:
      preconditionFailure("handled before")
    }
  }

  /// Whether an application has changed nothing about a connection that another one would meet.
  private func isUntouched(_ id: ConnectionID) -> Bool {
    connections[id].sendHead == .max && connections[id].unreportedAcknowledged == 0
      && connections[id].flags.isDisjoint(with: [.finQueued, .readShut])
  }

  private mutating func pause(
    _ command: Command, _ channel: ChannelID, _ pauses: Bool, now: Instant
  ) {
    // The daemon may just have removed it.
    guard let acceptor = listeners.find(command.length, channel) else { return }
    listeners.acceptors[acceptor].isPaused = pauses
    listeners.acceptors[acceptor].takesOne = !pauses && command.flags & CommandFlags.once != 0
    if !pauses { assignPending(listeners.acceptors[acceptor].endpoint, now: now) }
  }

  /// The application sleeps until there is room: what it has not read yet may be just that.
  private mutating func wantSpace(_ channel: ChannelID) {
    if channels[channel].events.isDrained {
      channels[channel].wantsSpace = true
    } else {
      wake(channel)
    }
  }

  /// Queues the bytes of a send chunk. The checks come first, the record is private afterwards.
  @inline(__always)
  private mutating func queue(
    _ command: Command, _ id: ConnectionID, _ channel: ChannelID, now: Instant
  ) -> ChannelViolation? {
    guard command.chunk < channels[channel].geometry.sendChunkCount else {
      return .chunkOutOfRange
    }
    guard channels[channel][send: command.chunk].length == 0 else { return .chunkInUse }
    guard command.length > 0,
      Int(command.offset) + Int(command.length) <= ChannelGeometry.sendChunkSize
    else { return .chunkRangeInvalid }
    guard !connections[id].flags.contains(.finQueued) else { return .sendAfterShutdown }
    guard connections[id].state != .closed else {
      if connections[id].flags.contains(.moved) {
        // Not ours to send. Its chunk counts as acknowledged when the application closes the slot.
        connections[id].sendQueueEnd += command.length
        return nil
      }
      // A dead connection. The event that says so returns all chunks that the application has sent
      // by the time it reads it. When it closes first it gets no such event: count the bytes.
      if connections[id].flags.contains(.reportFailed) { returnBytes(id, command.length) }
      return nil
    }
    channels[channel][send: command.chunk] = SendChunk(
      next: .max, offset: command.offset, length: UInt16(command.length))
    channels[channel].sendChunksInUse += 1
    if connections[id].sendTail == .max {
      connections[id].sendHead = command.chunk
      connections[id].sendHeadSequence = connections[id].sendQueueEnd
    } else {
      channels[channel][send: connections[id].sendTail].next = command.chunk
    }
    connections[id].sendTail = command.chunk
    connections[id].sendQueueEnd += command.length
    if command.flags & CommandFlags.urgent != 0 { queueUrgent(id) }
    if command.flags & CommandFlags.more != 0 {
      connections[id].flags.insert(.more)
    } else {
      connections[id].flags.remove(.more)
    }
    scheduleOutput(id)
    // Written on another processor, and copied when all commands have been executed.
    channels[channel].prefetchSendBytes(command.chunk)
    return nil
  }

  /// shutdown(2).
  private mutating func shutdown(_ id: ConnectionID, _ flags: UInt8, now: Instant) {
    if connections[id].state == .synSent {
      // Gives up the attempt, as in Linux.
      fail(id, SocketError.connectionReset)
      return
    }
    if flags & CommandFlags.shutRead != 0 { connections[id].flags.insert(.readShut) }
    if flags & CommandFlags.shutWrite != 0, connections[id].state != .closed {
      connections[id].flags.insert(.finQueued)
      scheduleOutput(id)
    }
  }

  /// close(2) of both directions (MAY-1): the connection goes on until its bytes and FIN have been
  /// acknowledged (RFC 9293 section 3.10.4, and SHLD-3 for unread bytes). It keeps its slot until the
  /// application has been told of the acknowledgement of all it has sent, so that no chunk is lost.
  mutating func close(
    _ id: ConnectionID, isReset: Bool, isKilled: Bool = false, now: Instant
  ) {
    // What is ahead of a gap has not been received: the rest of it will be answered with RST. Whether a killed
    // application had read what it was told of, nobody knows.
    let hasUnread =
      isKilled ? connections[id].receiveUnposted != .max : connections[id].unreadBytes > 0
    freeReceived(id)
    forgetReassembly(id)
    connections[id].flags.insert(.orphaned)
    if connections[id].flags.contains(.moved) {
      returnBytes(
        id,
        UInt32(max(connections[id].sendQueueEnd - connections[id].sendUnacknowledged, 0)))
      connections[id].sendQueueEnd = connections[id].sendUnacknowledged
    }
    if connections[id].sendHead == .max, connections[id].unreportedAcknowledged == 0 {
      let channel = connections[id].channel
      if ownerLinks.contains(id) { ownerLinks.remove(id, from: &channels[channel].dirty) }
      releaseSlot(id)
    }
    switch connections[id].state {
    case .closed:
      if connections[id].slot == .max { forget(id) }
    case .synSent:
      retire(id)
    case .closing where !hasUnread, .lastAck where !hasUnread:
      // Both sides have finished: there is nothing to reset (RFC 9293 section 3.10.5).
      if isReset || !becomeOrphan(id) { retire(id) }
    case .finWait2 where !isReset && !hasUnread:
      if becomeOrphan(id) { _ = awaitFinish(id, now: now) } else { abort(id) }
    case .listen, .timeWait, .synReceived, .established, .finWait1, .finWait2, .closeWait, .closing,
      .lastAck:
      if isReset || hasUnread || !becomeOrphan(id) {
        abort(id)
      } else {
        connections[id].flags.insert(.finQueued)
        scheduleOutput(id)
      }
    }
  }
}
