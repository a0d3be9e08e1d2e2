import FSRing
import Synchronization

// What the control plane asks of an engine, on the engine's own thread.

extension Engine {
  // MARK: The burst

  /// Ends a burst: sends what connections have to send and posts what applications must know.
  public mutating func finishBurst(now: Instant) {
    if hasNewRoom { assignToNewRoom(now: now) }
    if !output.isEmpty { flushOutput(now: now) }
    postEvents()
    if !violators.isEmpty { detachViolators(now: now) }
  }

  /// Declares to all applications that this engine is about to sleep. False: a command has come in
  /// the meantime, or room for events that wait for it, and the engine stays awake.
  public mutating func prepareSleep() -> Bool {
    // The last events of a burst may have made room.
    if hasNewRoom { return false }
    setSleeping(true)
    atomicMemoryFence(ordering: .sequentiallyConsistent)
    for raw in 0..<channels.watermark {
      let id = ChannelID(raw: raw)
      guard channels.isAllocated(id), !channels[id].isClosed else { continue }
      if channels[id].commands.readyCount() != 0 || channels[id].canPostWaiting() {
        endSleep()
        return false
      }
    }
    return true
  }

  /// Declares that this engine is awake.
  public mutating func endSleep() {
    if isSleeping { setSleeping(false) }
  }

  private mutating func setSleeping(_ sleeping: Bool) {
    isSleeping = sleeping
    sleepEpoch = sleepEpoch &+ 1
    for raw in 0..<channels.watermark where channels.isAllocated(ChannelID(raw: raw)) {
      unsafe channels[ChannelID(raw: raw)].header.engineSleep.pointee.store(
        sleepEpoch, ordering: .relaxed)
    }
  }

  /// The engine stops: resets up to `limit` connections, so that no peer waits for an answer that
  /// nobody will give. Returns how many; none when all are reset.
  public mutating func abortConnections(limit: Int) -> Int {
    var count = 0
    for raw in 0..<connections.watermark {
      let id = ConnectionID(raw: raw)
      guard connections.isAllocated(id), connections[id].state >= .synReceived else { continue }
      guard count < limit else { break }
      sendReset(id)
      fail(id, SocketError.connectionReset)
      count += 1
    }
    for raw in 0..<halfOpen.records.watermark where count < limit {
      let id = HalfOpenID(raw: raw)
      guard halfOpen.records.isAllocated(id) else { continue }
      abort(id)
      count += 1
    }
    return count
  }

  // MARK: Interfaces and addresses

  /// Adds an interface; its number counts from 0.
  public mutating func addInterface(_ interface: InterfaceConfiguration) -> Int {
    precondition(interfaces.count < 256)
    interfaces.append(interface)
    return interfaces.count - 1
  }

  /// The interface's address or MTU has changed. An MTU that frames do not hold counts as what they do.
  public mutating func updateInterface(_ index: Int, macAddress: MACAddress, mtu: Int) {
    let mtu = min(mtu, interfaces[index].largestPacket)
    interfaces[index].macAddress = macAddress
    interfaces[index].mtu = mtu
    for raw in 0..<connections.watermark {
      let id = ConnectionID(raw: raw)
      guard connections.isAllocated(id), Int(connections[id].interface) == index else { continue }
      let size = UInt16(clamping: mtu - (connections[id].flow.local.isIPv4 ? 40 : 60))
      connections[id].pathSegmentSize = min(connections[id].pathSegmentSize, size)
    }
  }

  /// The addresses for which segments are accepted.
  public mutating func setLocalAddresses(
    _ addresses: [(interface: Int, address: IPAddress)]
  ) {
    localAddresses = addresses.map(\.address)
  }

  /// What applications remember of routes is void.
  public mutating func advanceRouteGeneration() {
    routeGeneration = routeGeneration &+ 1
    for raw in 0..<channels.watermark where channels.isAllocated(ChannelID(raw: raw)) {
      publishRouteGeneration(ChannelID(raw: raw))
    }
  }

  private func publishRouteGeneration(_ id: ChannelID) {
    unsafe channels[id].header.routeGeneration.pointee.store(routeGeneration, ordering: .releasing)
  }

  // MARK: Channels

  /// Takes up a channel whose memory, zeroed and of `geometry.byteCount` bytes, stays mapped until
  /// `freeChannel`. Nil: there are too many.
  public mutating func attachChannel(
    memory: UnsafeMutableRawPointer, geometry: ChannelGeometry
  ) -> ChannelID? {
    precondition(geometry.isValid)
    guard channels.count < channels.capacity else { return nil }
    guard
      let id = channels.allocate(unsafe ChannelState(memory: memory, geometry: geometry))
    else { return nil }
    channels[id].header.initialize()
    publishRouteGeneration(id)
    return id
  }

  /// How an application has ended.
  public enum ApplicationEnd: Sendable {
    /// In good order: it has said what it has read.
    case exit
    /// Killed, or replaced by another program: whatever it has been told of counts as read. What it has written is
    /// delivered, as by Linux.
    case killed
    /// By us: it has broken the rules. Its connections are reset.
    case expelled
  }

  /// The channel's process has gone.
  public mutating func detachChannel(_ id: ChannelID, _ end: ApplicationEnd, now: Instant) {
    guard channels.isAllocated(id), !channels[id].isDetached else { return }
    // What the process asked for before it went is still done: it may have ended with its last write.
    if !channels[id].isViolated { counters.commands += UInt64(service(id, now: now)) }
    channels[id].isDetached = true
    listeners.leave(id)
    // Held until the loop is over, so that the last connection does not free the channel.
    channels[id].connectionCount += 1
    var next = channels[id].usedSlot(from: 0)
    while let slot = next {
      next = channels[id].usedSlot(from: slot + 1)
      guard let connection = channels[id].connection(on: slot) else { continue }
      if !connections[connection].flags.contains(.orphaned) {
        close(connection, isReset: end == .expelled, isKilled: end == .killed, now: now)
      }
      // The close may have left the slot to report acknowledgements; nobody reads them.
      if channels[id].connection(on: slot) == connection { abandon(connection) }
    }
    channels[id].connectionCount -= 1
    releaseIfOver(id)
  }

  /// Takes the slot from a closed connection whose application has gone.
  private mutating func abandon(_ id: ConnectionID) {
    let channel = connections[id].channel
    if ownerLinks.contains(id) { ownerLinks.remove(id, from: &channels[channel].dirty) }
    releaseSlot(id)
    if connections[id].state == .closed { forget(id) }
  }

  /// Reports a detached channel when its last connection has gone.
  mutating func releaseIfOver(_ id: ChannelID) {
    guard channels[id].isDetached, channels[id].connectionCount == 0 else { return }
    releasedChannels.append(id)
  }

  /// Gives `body` the channels of which nothing is left but the number. Others may still name it: it is not given
  /// to another channel before `freeChannel`.
  public mutating func drainReleasedChannels(_ body: (ChannelID) -> Void) {
    guard !releasedChannels.isEmpty else { return }
    for id in releasedChannels { body(id) }
    releasedChannels.removeAll(keepingCapacity: true)
  }

  /// Nobody names a released channel any more. Afterwards its memory may be unmapped.
  public mutating func freeChannel(_ id: ChannelID) {
    channels[id].deallocate()
    channels.free(id)
  }

  /// Closes a channel whose application does what no correct one does.
  mutating func violate(_ id: ChannelID, _ violation: ChannelViolation) {
    guard !channels[id].isViolated else { return }
    channels[id].isViolated = true
    counters.violations += 1
    violations.append((id, violation))
    violators.append(id)
  }

  private mutating func detachViolators(now: Instant) {
    for id in violators { detachChannel(id, .expelled, now: now) }
    violators.removeAll(keepingCapacity: true)
  }

  /// Gives `body` the channels that were closed because of a violation, with the reason.
  public mutating func drainViolations(_ body: (ChannelID, ChannelViolation) -> Void) {
    guard !violations.isEmpty else { return }
    for (id, violation) in violations { body(id, violation) }
    violations.removeAll(keepingCapacity: true)
  }

  // MARK: Listeners

  /// Begins to accept connections to `address` and `port`; 0.0.0.0 and :: are wildcards, and the
  /// latter takes IPv4 too unless `ipv6Only`. Connections of the port, open or being opened, have
  /// tables of their own: they go on (MUST-41, MUST-42). False: there are too many.
  @discardableResult
  public mutating func addListener(
    _ number: UInt32, address: IPAddress, port: UInt16, ipv6Only: Bool, backlog: Int
  ) -> Bool {
    listeners.add(number, address: address, port: port, isIPv6Only: ipv6Only, backlog: backlog)
  }

  /// A listener has other options, or another backlog, from now on.
  public mutating func updateListener(
    _ number: UInt32, backlog: Int, options: ListenerOptions
  ) {
    listeners.update(number, backlog: backlog, options)
  }

  /// Stops accepting; what no application has taken is reset.
  public mutating func removeListener(_ number: UInt32) {
    guard let endpoint = listeners.remove(number) else { return }
    for raw in 0..<connections.watermark {
      let id = ConnectionID(raw: raw)
      if connections.isAllocated(id), connections[id].endpoint == endpoint { abort(id) }
    }
    for raw in 0..<halfOpen.records.watermark {
      let id = HalfOpenID(raw: raw)
      if halfOpen.records.isAllocated(id), halfOpen.records[id].endpoint == endpoint { abort(id) }
    }
    listeners.removeEndpoint(endpoint)
  }

  /// Lets connections of a listener go to a channel. False: no such listener or channel.
  public mutating func joinListener(
    _ number: UInt32, channel: ChannelID, remote: Bool, now: Instant
  ) -> Bool {
    guard channels.isAllocated(channel), !channels[channel].isDetached,
      let endpoint = listeners.join(number, channel: channel, isRemote: remote)
    else { return false }
    assignPending(endpoint, now: now)
    return true
  }

  /// No more connections of a listener for a channel.
  public mutating func leaveListener(_ number: UInt32, channel: ChannelID) {
    listeners.leave(channel, listener: number)
  }

  /// Connections whose local port this is, half-open ones too.
  public func connectionCount(onPort port: UInt16) -> Int {
    var count = 0
    for raw in 0..<connections.watermark {
      let id = ConnectionID(raw: raw)
      if connections.isAllocated(id), connections[id].flow.localPort == port { count += 1 }
    }
    for raw in 0..<halfOpen.records.watermark {
      let id = HalfOpenID(raw: raw)
      if halfOpen.records.isAllocated(id), halfOpen.records[id].flow.localPort == port {
        count += 1
      }
    }
    return count
  }

  // MARK: Statistics

  /// A snapshot of counters and fillings.
  public func statistics() -> EngineStatistics {
    var states = connectionCounts()
    states[.listen] = listeners.count
    states[.synReceived, default: 0] += Int(halfOpen.records.count)
    states[.timeWait] = Int(timeWait.records.count)
    var reasons: [DropReason: UInt64] = [:]
    for reason in DropReason.allCases { reasons[reason] = drops[Int(reason.rawValue)] }
    var receiveChunks = 0
    var sendChunks = 0
    for raw in 0..<channels.watermark {
      let id = ChannelID(raw: raw)
      guard channels.isAllocated(id) else { continue }
      receiveChunks += Int(channels[id].receiveChunksInUse)
      sendChunks += Int(channels[id].sendChunksInUse)
    }
    return EngineStatistics(
      counters: counters, drops: reasons, connections: states, channels: Int(channels.count),
      receiveChunksInUse: receiveChunks, sendChunksInUse: sendChunks,
      reassemblySegments: reassembly.count,
      freeTransmitFrames: interfaces.map(\.transmit.freeCount),
      transmitRecords: Int(records.slab.count))
  }

  /// The connections of the slab by their states, those that occur. There may be a million, so that they
  /// are not counted in the dictionary.
  private func connectionCounts() -> [TCPState: Int] {
    var counts = InlineArray<16, Int>(repeating: 0)
    for raw in 0..<connections.watermark {
      let id = ConnectionID(raw: raw)
      if connections.isAllocated(id) { counts[Int(connections[id].state.rawValue)] += 1 }
    }
    var states: [TCPState: Int] = [:]
    for state in TCPState.allCases where counts[Int(state.rawValue)] > 0 {
      states[state] = counts[Int(state.rawValue)]
    }
    return states
  }
}
