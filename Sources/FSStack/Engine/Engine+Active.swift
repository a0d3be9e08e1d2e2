import FSRing

// Active opens: source port, path, SYN.

extension Engine {
  /// connect(2) on a slot of the application's half.
  mutating func connect(_ command: Command, _ channel: ChannelID, now: Instant) {
    let remote = IPAddress(high: command.remoteHigh, low: command.remoteLow)
    var local = IPAddress(high: command.localHigh, low: command.localLow)
    let path = paths.find(remote)
    let isOwn = path?.interface == loopback
    guard isOwn || isPossibleDestination(remote) else {
      channels[channel].refuse(command.slot, SocketError.networkUnreachable)
      return
    }
    // What the application has chosen (MUST-43), else what the routes say (MUST-44).
    if local.isUnspecified, let path { local = path.source }
    guard !local.isUnspecified, let interface = path?.interface, interface < interfaces.count,
      local.isIPv4 == remote.isIPv4
    else {
      channels[channel].refuse(command.slot, SocketError.hostUnreachable)
      requestPath(remote)
      return
    }
    guard isOwn || localAddresses.contains(local),
      command.localPort == 0 || configuration.activePorts.contains(command.localPort),
      let port = sourcePort(
        wanted: command.localPort, local: local, remote: remote, remotePort: command.remotePort,
        now: now)
    else {
      channels[channel].refuse(command.slot, SocketError.addressNotAvailable)
      return
    }
    let flow = Flow(local: local, localPort: port, remote: remote, remotePort: command.remotePort)
    let hash = secret.hash(flow)
    var initial: SequenceNumber?
    if case .timeWait(let old) = flows.find(flow, hash: hash) {
      initial = timeWait.records[old].nextInitialSequence
      timeWait.remove(old)
      counters.timeWaitReused += 1
    }
    // The route may be of a larger MTU than frames hold.
    let pathMTU = min(path?.mtu ?? 1280, interfaces[interface].mtu)
    let connection = makeConnection(
      flow, state: .synSent, interface: interface, nextHop: MACAddress(),
      vlan: path?.vlan ?? NetworkLayer.untagged, pathMTU: pathMTU, initial: initial, now: now)
    guard let id = insert(connection, hash: hash) else {
      channels[channel].refuse(command.slot, SocketError.noBufferSpace)
      return
    }
    adoptPathSize(id, now: now)
    attach(id, to: channel, slot: command.slot, now: now)
    connections[id].unacknowledgedSince = now
    counters.activeOpens += 1
    scheduleOutput(id)
  }

  /// Whether an address can be that of one other host (MUST-46). Broadcast addresses of subnets have no
  /// path: the kernel says so.
  private func isPossibleDestination(_ address: IPAddress) -> Bool {
    !address.isMulticast && !address.isUnspecified && !address.isLoopback
      && !localAddresses.contains(address)
  }

  private func attach(
    _ id: ConnectionID, to channel: ChannelID, slot: UInt32, now: Instant
  ) {
    connections[id].channel = channel
    connections[id].slot = slot
    connections[id].ownedSince = now
    connections[id].flags.insert(.announced)
    channels[channel].occupy(slot, by: id)
    channels[channel].connectionCount += 1
  }

  /// A source port that leads the replies to this engine (`SourcePortSteering`): the wanted one, or a free
  /// one of the active range. With none free, one whose TIME-WAIT record has timestamps: the
  /// peer can tell the new connection from the old by them (Linux's tcp_tw_reuse).
  private mutating func sourcePort(
    wanted: UInt16, local: IPAddress, remote: IPAddress, remotePort: UInt16, now: Instant
  ) -> UInt16? {
    let secret = self.secret
    let flows = self.flows
    let timeWait = self.timeWait
    let kernelPorts = self.kernelPorts
    func flow(_ port: UInt16) -> Flow {
      Flow(local: local, localPort: port, remote: remote, remotePort: remotePort)
    }
    func use(_ port: UInt16) -> SourcePortCursors.Use {
      // A connection with itself is none that anyone asks for. Where the kernel has one, it gets the answers.
      if local == remote && port == remotePort || kernelPorts.contains(port) { return .taken }
      switch flows.find(flow(port), hash: secret.hash(flow(port))) {
      case nil: return .free
      case .connection, .halfOpen: return .taken
      case .timeWait(let record):
        return timeWait.isReusable(record, now: now) ? .reusable : .taken
      }
    }
    if wanted != 0 { return use(wanted) == .taken ? nil : wanted }
    var steering = SourcePortSteering(
      flow(0), engine: configuration.engineIndex, engineCount: configuration.engineCount, ownership,
      arrivals: arrivals)
    repeat {
      let port = sourcePorts.search(
        configuration.activePorts, local: local, remote: remote, remotePort: remotePort,
        skip: { steering.portsOfOthers(from: $0) }, use: use)
      guard let port else { continue }
      // The next one to this destination will begin here.
      let next = port &+ 1 &+ UInt16(truncatingIfNeeded: steering.portsOfOthers(from: port &+ 1))
      flows.prefetch(secret.hash(flow(next)))
      return port
    } while steering.forgetArrivals()
    return nil
  }

  /// The kernel has connections of its own on these ports: no new ones are opened from there.
  public func setKernelPorts(_ ports: Set<UInt16>) {
    kernelPorts.removeAll()
    for port in ports { kernelPorts.insert(port) }
  }

  /// The card's key or table has become another one; nil: it is again what it was at the start. Flows
  /// keep their owners, which all engines have to agree on. But of the source ports that lead to an owner
  /// those are preferred that arrive there, too.
  public mutating func setArrivals(_ scaling: ReceiveSideScaling?) {
    arrivals?.deallocate()
    arrivals = nil
    guard let scaling, scaling.isValid(engineCount: configuration.engineCount) else { return }
    arrivals = CardHash(scaling, engineCount: configuration.engineCount)
  }

  /// Fills in the next hop of a connection that is being opened. False: it is not known yet; the SYN
  /// goes out when it is.
  mutating func resolvePath(_ id: ConnectionID) -> Bool {
    if let path = paths.find(connections[id].flow.remote), let nextHop = path.nextHop {
      connections[id].nextHop = nextHop
      return true
    }
    requestPath(connections[id].flow.remote)
    connections[id].flags.insert(.awaitsPath)
    if !pathLinks.contains(id) { pathLinks.append(id, to: &awaitingPath) }
    if connections[id].retransmitAt == .never {
      // As long as Linux tries to resolve a neighbour.
      connections[id].retransmitAt = connections[id].lastSentAt + .seconds(3)
      armTimers(id)
    }
    return false
  }

  mutating func requestPath(_ destination: IPAddress) {
    if !pathRequests.contains(destination), pathRequests.count < 1024 {
      pathRequests.append(destination)
    }
  }

  /// Enters a path, and sends what has waited for it.
  public mutating func setPath(_ path: PathConfiguration) {
    paths.set(path)
    guard let nextHop = path.nextHop else { return }
    var id = awaitingPath.first
    while id != .none {
      let next = pathLinks.next(after: id)
      if connections[id].flow.remote == path.destination {
        leavePathList(id)
        connections[id].nextHop = nextHop
        // In SYN-RECEIVED (a simultaneous open) the SYN-ACK has been sent, to nobody: its timer sends it again.
        if connections[id].state == .synSent { connections[id].retransmitAt = .never }
        scheduleOutput(id)
      }
      id = next
    }
  }

  /// A connection no longer waits for the next hop's address.
  mutating func leavePathList(_ id: ConnectionID) {
    guard pathLinks.contains(id) else { return }
    pathLinks.remove(id, from: &awaitingPath)
    connections[id].flags.remove(.awaitsPath)
  }

  /// Forgets a path; connections that use it keep the next hop they have.
  public mutating func removePath(_ destination: IPAddress) {
    paths.remove(destination)
  }

  /// Gives `body` the destinations for which a path is wanted.
  public mutating func drainPathRequests(_ body: (IPAddress) -> Void) {
    guard !pathRequests.isEmpty else { return }
    for destination in pathRequests { body(destination) }
    pathRequests.removeAll(keepingCapacity: true)
  }
}
