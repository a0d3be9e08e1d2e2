// Passive opens: from SYN to the application's accept queue.

extension Engine {
  /// A segment for no connection: for a listener, or for nobody (RFC 9293 section 3.10.7.1, .2).
  /// `initial` is our initial sequence number when the flow was in TIME-WAIT.
  mutating func listenSegmentArrives(
    _ segment: inout Segment, _ payload: UnsafeRawBufferPointer, _ flow: Flow, hash: UInt64,
    interface: Int, initial: SequenceNumber?, now: Instant
  ) {
    if segment.flags.contains(.rst) {
      drop(.noListener)
      return
    }
    if let endpoint = listeners.find(flow.local, port: flow.localPort),
      listeners.accepts(endpoint, flow.local)
    {
      if !segment.flags.contains(.ack) {
        if listeners.hasLocalAcceptor(of: endpoint) {
          counters.listenLookupsLocal += 1
        } else {
          counters.listenLookupsGlobal += 1
        }
        synchronizeArrives(
          &segment, flow, hash: hash, endpoint: endpoint, interface: interface, initial: initial,
          now: now)
        return
      }
      let isCookie =
        unsafe !segment.flags.contains(.syn)
        && cookieArrives(
          &segment, payload, flow, hash: hash, endpoint: endpoint, interface: interface, now: now)
      if isCookie { return }
    }
    drop(.noListener)
    sendReset(answering: &segment, flow, interface: interface)
  }

  /// What is known of a passive open when its handshake completes.
  struct PassiveOpen {
    var offer: SynchronizeOffer
    /// Our initial sequence number.
    var initial: SequenceNumber
    var endpoint: EndpointID
    var interface: Int
    /// When the only SYN-ACK was sent; never, when there were several or nobody knows.
    var sentAt = Instant.never
    var isRetransmitted = false
    /// Expiries of the SYN-ACK's timer.
    var attempts: UInt8 = 0
  }

  /// The handshake of a passive open is complete. The record, or the cookie, becomes a connection in
  /// SYN-RECEIVED, and the segment takes its ordinary way from there, with its data.
  mutating func completePassiveOpen(
    _ open: PassiveOpen, _ segment: inout Segment, _ payload: UnsafeRawBufferPointer, _ flow: Flow,
    hash: UInt64, now: Instant
  ) {
    var connection = makeConnection(
      flow, state: .synReceived, interface: open.interface, nextHop: segment.sourceMAC,
      vlan: segment.vlan, pathMTU: interfaces[open.interface].mtu, initial: open.initial, now: now)
    connection.flags.insert(.passive)
    if open.isRetransmitted { connection.flags.insert(.synchronizeRetransmitted) }
    connection.attempts = open.attempts
    connection.tally.segmentsOut = 1
    connection.lastSentAt = open.sentAt
    connection.origin = .waiting(at: open.endpoint)
    connection.sendNext = open.initial + 1
    connection.sendMaximum = open.initial + 1
    connection.receiveNext = open.offer.sequence + 1
    connection.receiveEdge = connection.receiveNext + firstWindow
    connection.lastAcknowledgementSent = connection.receiveNext
    guard let id = insert(connection, hash: hash) else { return }
    adoptPathSize(id, now: now)
    var synchronize = open.offer.segment
    acceptOptions(id, &synchronize, now: now)
    if open.offer.flags.contains(.congestionNotification) {
      connections[id].ecn.insert(.negotiated)
    }
    counters.passiveOpens += 1
    unsafe synReceivedSegmentArrives(id, &segment, payload, now: now)
    // Whoever calls has made sure that the segment completes the handshake. If not, nothing that has
    // no timer may stay.
    if connections.isAllocated(id), connections[id].state == .synReceived { retire(id) }
  }

  /// A connection of a passive open is established: an acceptor gets it, or it waits for one.
  mutating func acceptEstablished(_ id: ConnectionID, now: Instant) {
    let endpoint = connections[id].endpoint
    if !assign(id, from: endpoint, now: now) {
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
  private mutating func assign(
    _ id: ConnectionID, from endpoint: EndpointID, now: Instant
  ) -> Bool {
    let channels = self.channels
    guard
      let acceptorID = listeners.nextAcceptor(
        of: endpoint, canTake: { channels[$0].canAccept },
        isWaiting: { channels[$0].applicationSleeps })
    else { return false }
    let acceptor = listeners.acceptors[acceptorID]
    guard let slot = channels[acceptor.channel].assignSlot(to: id) else { return false }
    if acceptor.isRemote { counters.acceptsRemote += 1 } else { counters.acceptsLocal += 1 }
    connections[id].origin = .accepted(by: acceptor.listener)
    connections[id].channel = acceptor.channel
    connections[id].slot = slot
    connections[id].ownedSince = now
    channels[acceptor.channel].connectionCount += 1
    if listeners.pauseAfterOne(acceptorID) { connections[id].flags.insert(.reportPaused) }
    markDirty(id)
    return true
  }

  /// Gives waiting connections to acceptors, after one has joined or resumed, or has room again.
  mutating func assignPending(_ endpoint: EndpointID, now: Instant) {
    // Who waits keeps its place: nobody is taken out for whom there is no acceptor.
    let channels = self.channels
    while listeners.hasAcceptor(of: endpoint, canTake: { channels[$0].canAccept }),
      let id = ownerLinks.popFirst(of: &listeners.endpoints[endpoint].pending)
    {
      listeners.endpoints[endpoint].pendingCount -= 1
      guard assign(id, from: endpoint, now: now) else {
        wait(id, at: endpoint)
        return
      }
      drainReassembly(id, now: now)
      scheduleOutput(id)
    }
  }

  /// An acceptor gives a connection back that no one has taken: it waits for another.
  mutating func handBack(_ id: ConnectionID, now: Instant) {
    let channel = connections[id].channel
    guard let listener = connections[id].acceptedBy,
      let acceptor = listeners.find(listener, channel), takeBack(id)
    else {
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
    connections[id].origin = .waiting(at: endpoint)
    if assign(id, from: endpoint, now: now) {
      drainReassembly(id, now: now)
    } else {
      wait(id, at: endpoint)
    }
  }

  /// The connection's slot is free for others.
  mutating func releaseSlot(_ id: ConnectionID) {
    let channel = connections[id].channel
    if !channels[channel].hasFreeSlot { hasNewRoom = true }
    channels[channel].release(connections[id].slot)
    connections[id].slot = .max
  }

  /// A channel that had no free slot has one again: connections that found none get it. Endpoints are few,
  /// and this is done once in a burst.
  mutating func assignToNewRoom(now: Instant) {
    hasNewRoom = false
    for raw in 0..<listeners.endpoints.watermark {
      let endpoint = EndpointID(raw: raw)
      guard listeners.endpoints.isAllocated(endpoint),
        listeners.endpoints[endpoint].pendingCount > 0
      else { continue }
      assignPending(endpoint, now: now)
    }
  }
}

extension Engine.PassiveOpen {
  /// What a record of the SYN cache says.
  init(_ record: HalfOpen) {
    offer = record.offer
    initial = record.initial
    endpoint = record.endpoint
    interface = Int(record.interface)
    sentAt = record.isRetransmitted ? .never : record.sentAt
    isRetransmitted = record.isRetransmitted
    attempts = record.attempts
  }
}
