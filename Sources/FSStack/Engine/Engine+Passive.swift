// Passive opens: from SYN to the application's accept queue.

extension Engine {
  /// A segment for no connection: for a listener, or for nobody (RFC 9293 section 3.10.7.1, .2).
  /// `initial` is our initial sequence number when the flow was in TIME-WAIT.
  mutating func listenSegmentArrives(
    _ segment: inout Segment, _ flow: Flow, hash: UInt64, interface: Int,
    initial: SequenceNumber?, now: Instant
  ) {
    if segment.flags.contains(.rst) {
      drop(.noListener)
      return
    }
    guard let endpoint = listeners.find(flow.local, port: flow.localPort),
      listeners.accepts(endpoint, flow.local), segment.flags.contains(.syn),
      !segment.flags.contains(.ack)
    else {
      drop(.noListener)
      sendReset(answering: &segment, flow, interface: interface)
      return
    }
    let waiting =
      listeners.endpoints[endpoint].halfOpen
      + listeners.endpoints[endpoint].pendingCount
    guard waiting < listeners.endpoints[endpoint].backlog else {
      // The peer will try again (as Linux without SYN cookies).
      drop(.listenQueueFull)
      return
    }
    var connection = makeConnection(
      flow, state: .synReceived, interface: interface, nextHop: segment.sourceMAC,
      vlan: segment.vlan, pathMTU: interfaces[interface].mtu, initial: initial, now: now)
    connection.flags.insert(.passive)
    connection.endpoint = endpoint
    connection.receiveNext = segment.sequence + 1
    connection.receiveEdge = connection.receiveNext + min(connection.receiveBuffer, 65535)
    connection.sendWindow = UInt32(segment.window)
    connection.largestSendWindow = UInt32(segment.window)
    guard let id = insert(connection, hash: hash) else { return }
    acceptOptions(id, &segment, now: now)
    negotiateECN(id, synchronize: &segment)
    listeners.endpoints[endpoint].halfOpen += 1
    counters.passiveOpens += 1
    scheduleOutput(id)
  }

  /// The handshake of a passive open is complete: an acceptor gets the connection, or it waits for
  /// one.
  mutating func acceptEstablished(_ id: ConnectionID) {
    let endpoint = connections[id].endpoint
    listeners.endpoints[endpoint].halfOpen -= 1
    if !assign(id, from: endpoint) {
      counters.acceptsGlobal += 1
      wait(id, at: endpoint)
    }
  }

  /// Puts a connection that no acceptor takes at the end of those that wait for one.
  private mutating func wait(_ id: ConnectionID, at endpoint: EndpointID) {
    ownerLinks.append(id, to: &listeners.endpoints[endpoint].pending)
    listeners.endpoints[endpoint].pendingCount += 1
  }

  /// Gives a connection that is in no list to the endpoint's next acceptor.
  private mutating func assign(_ id: ConnectionID, from endpoint: EndpointID) -> Bool {
    let channels = self.channels
    guard
      let acceptorID = listeners.nextAcceptor(
        of: endpoint, canTake: { channels[$0].hasFreeSlot && !channels[$0].isClosed })
    else { return false }
    let acceptor = listeners.acceptors[acceptorID]
    guard let slot = channels[acceptor.channel].assignSlot(to: id) else { return false }
    if acceptor.isRemote { counters.acceptsRemote += 1 } else { counters.acceptsLocal += 1 }
    connections[id].endpoint = .none
    connections[id].channel = acceptor.channel
    connections[id].slot = slot
    connections[id].acceptedBy = acceptor.listener
    channels[acceptor.channel].connectionCount += 1
    markDirty(id)
    return true
  }

  /// Gives waiting connections to acceptors, after one has joined or resumed.
  mutating func assignPending(_ endpoint: EndpointID, now: Instant) {
    while let id = ownerLinks.popFirst(of: &listeners.endpoints[endpoint].pending) {
      listeners.endpoints[endpoint].pendingCount -= 1
      guard assign(id, from: endpoint) else {
        wait(id, at: endpoint)
        return
      }
      drainReassembly(id, now: now)
      scheduleOutput(id)
    }
  }

  /// An acceptor gives a connection back that no one has taken: it waits for another.
  mutating func handBack(_ id: ConnectionID, now: Instant) {
    let listener = connections[id].acceptedBy
    let channel = connections[id].channel
    guard let acceptor = listeners.find(listener, channel), takeBack(id) else {
      // The listener is gone, or there is no room for the bytes that have already come.
      releaseSlot(id)
      abort(id)
      return
    }
    let endpoint = listeners.acceptors[acceptor].endpoint
    releaseSlot(id)
    if ownerLinks.contains(id) { ownerLinks.remove(id, from: &channels[channel].dirty) }
    channels[channel].connectionCount -= 1
    connections[id].channel = .none
    connections[id].flags.subtract([.announced, .reportFinished])
    connections[id].endpoint = endpoint
    if assign(id, from: endpoint) {
      drainReassembly(id, now: now)
    } else {
      wait(id, at: endpoint)
    }
  }

  /// The connection's slot is free for others.
  func releaseSlot(_ id: ConnectionID) {
    channels[connections[id].channel].release(connections[id].slot)
    connections[id].slot = .max
  }
}
