@testable import FSStack

/// What must be true when the trouble is over and when everything is.
extension SwarmRun {
  /// A reason for which a connection may end in another way than after everything has arrived.
  private var mayFail: Bool { features.contains(any: { $0.abandonsConnections }) }

  /// Once the link is good, each connection that is not over goes on within two of the longest
  /// timeouts that any engine has backed off to, and what its own link needs; and all are complete
  /// `completionBound` later.
  func checkAfterTrouble() -> [String] {
    if isOver() { return checkPairs() }
    heal()
    let bound = Interval(nanoseconds: 2 * longestTimeout.nanoseconds) + .seconds(2)
    let before = traffic.map { ($0, progress(of: $0)) }
    for traffic in traffic { traffic.hurry() }
    simulation.run(within: bound, until: isOver)
    var problems: [String] = []
    for (traffic, progress) in before
    where !traffic.isOver && self.progress(of: traffic) == progress && isStuck(traffic) {
      problems.append(
        note("no progress \(bound.nanoseconds / 1_000_000) ms after healing", traffic))
    }
    let start = simulation.now
    if !goesOn(), !mayFail, !hasErrors {
      problems += traffic.filter { !$0.isOver && isStuck($0) }.map { note("not complete", $0) }
    }
    completion = simulation.now - start
    return problems + checkPairs()
  }

  /// Whether everything becomes complete in time. Where reports of what has arrived do not come, or name
  /// numbers that their reader does not know, nothing but timeouts may repair losses, each twice as long
  /// as the one before (RFC 6298 section 5); and where there is no room for all, one waits for the other,
  /// and for its own next try. Then it is enough that each timeout brings progress.
  private func goesOn() -> Bool {
    if simulation.run(within: completionBound, until: isOver) { return true }
    guard features.misleadsSelective || features.isCrowded else { return false }
    for _ in 0..<100 {
      let before = traffic.map(progress)
      let bound = Interval(nanoseconds: 2 * longestTimeout.nanoseconds) + .seconds(2)
      if simulation.run(within: bound, until: isOver) { return true }
      if traffic.map(progress) == before { return false }
    }
    return true
  }

  /// A minute; and for each write that is still to come the longest for which it may wait: Nagle's
  /// algorithm for a delayed acknowledgement, or TCP_CORK for its end, 200 ms both. Applications with
  /// few chunks write one after the other.
  private var completionBound: Interval {
    let writes = traffic.filter { !$0.isOver }.reduce(0) { $0 + $1.writesToCome }
    return .seconds(60) + .milliseconds(200 * UInt64(writes))
  }

  private var hasErrors: Bool { traffic.contains { $0.socket.error != nil } }

  /// The engine's side of a socket; nil when it is over there.
  private func connection(of traffic: SwarmTraffic) -> Connection? {
    let application = traffic.socket.application
    let connections = application.engine.engine.connections
    for raw in 0..<connections.watermark where connections.isAllocated(ConnectionID(raw: raw)) {
      let connection = connections[ConnectionID(raw: raw)]
      if connection.channel == application.channel, connection.slot == traffic.socket.slot {
        return connection
      }
    }
    return nil
  }

  /// What grows with progress. Where few chunks serve all connections of an application, or the server
  /// has no room for all, one waits for others: they must go on together.
  private func progress(of traffic: SwarmTraffic) -> UInt64 {
    features.contains(.fewSendChunks) || waitsForRoom(traffic)
      ? self.traffic.reduce(0) { $0 &+ ownProgress(of: $1) } : ownProgress(of: traffic)
  }

  /// What the application sees, what it is not told of at once, and what the other side has learnt.
  private func ownProgress(of traffic: SwarmTraffic) -> UInt64 {
    let connection = connection(of: traffic)
    let peer = connection.flatMap(peer)
    return UInt64(traffic.progress)
      &+ (connection?.tally.bytesAcknowledged ?? 0) &+ (connection?.tally.bytesReceived ?? 0)
      &+ (peer?.tally.bytesAcknowledged ?? 0)
      &+ (connection.map { UInt64($0.state.rawValue) } ?? 100)
  }

  /// A side whose peer has gone without a word may wait for ever if it has nothing to send: so does a
  /// client that was answered with a cookie, and whose acknowledgement met a full queue (RFC 4987 section
  /// 3.6).
  private func isStuck(_ traffic: SwarmTraffic) -> Bool {
    guard let connection = connection(of: traffic) else { return true }
    if waitsInACircle { return false }
    // The peer's application has died in the middle: what this one waits for never comes.
    if features.contains(.applicationDies), traffic.socket.peerFinished,
      traffic.socket.bytesReceived < traffic.side.bytesToRead
    {
      return false
    }
    // Those that have taken all room may have lost their peers in this way; each is looked at by itself.
    if waitsForRoom(traffic), isFull(connection.flow) { return false }
    return connection.hasOutstanding || connection.hasUnsent || peer(of: connection) != nil
  }

  /// Whether a connection holds all send chunks of its application and waits for room at the server, which those
  /// have that wait for the chunks. Only the applications could end that: a kernel's sockets share no chunks.
  private var waitsInACircle: Bool {
    features.contains(.fewSendChunks) && features.isCrowded
      && traffic.contains { traffic in
        guard waitsForRoom(traffic), traffic.socket.application.freeChunks.isEmpty,
          let own = connection(of: traffic), own.sendHead != .max
        else { return false }
        return isFull(own.flow)
      }
  }

  /// The other side of a connection, if any engine of another host still has it.
  private func peer(of connection: Connection) -> Connection? {
    let flow = connection.flow
    for engine in simulation.hosts.filter({ $0.address == flow.remote }).flatMap(\.engines) {
      let connections = engine.engine.connections
      for raw in 0..<connections.watermark where connections.isAllocated(ConnectionID(raw: raw)) {
        let other = connections[ConnectionID(raw: raw)]
        if other.flow.remote == flow.local, other.flow.localPort == flow.remotePort,
          other.flow.remotePort == flow.localPort
        {
          return other
        }
      }
    }
    return nil
  }

  /// Whether the server of a client's connection has not begun with it, or nobody there has accepted it.
  private func waitsForRoom(_ traffic: SwarmTraffic) -> Bool {
    guard features.isCrowded, !traffic.socket.isServer, let own = connection(of: traffic) else {
      return false
    }
    return peer(of: own).map { $0.channel == .none } ?? true
  }

  /// Whether an engine of the server has no room for another connection of a client's flow: in its
  /// table, or with an application.
  private func isFull(_ flow: Flow) -> Bool {
    simulation.hosts.filter { $0.address == flow.remote }.flatMap(\.engines).contains {
      let (listeners, channels) = ($0.engine.listeners, $0.engine.channels)
      guard let endpoint = listeners.find(flow.remote, port: flow.remotePort) else { return false }
      return $0.engine.connections.isFull
        || !listeners.hasAcceptor(of: endpoint) { channels[$0].canAccept }
    }
  }

  /// The longest timeout that a connection has backed off to, or will have with its next
  /// acknowledgement. That may answer what was sent first (RFC 7323 section 4), and then measures the
  /// whole outage as one round trip R, of which the timeout is an eighth more, and what it was.
  private var longestTimeout: Interval {
    var longest = Interval.seconds(1)
    for engine in simulation.hosts.flatMap(\.engines) {
      let connections = engine.engine.connections
      for raw in 0..<connections.watermark where connections.isAllocated(ConnectionID(raw: raw)) {
        let connection = connections[ConnectionID(raw: raw)]
        longest = max(longest, connection.roundTrip.current)
        guard connection.flags.contains(.timestamps), connection.hasOutstanding,
          connection.unacknowledgedSince != .never
        else { continue }
        // SRTT + 4 * RTTVAR, with an eighth and a quarter of R.
        let age = simulation.now - connection.unacknowledgedSince
        let measured = Interval(nanoseconds: age.nanoseconds / 8 * 9)
        longest = max(longest, connection.roundTrip.timeout + measured)
      }
    }
    return min(longest, .seconds(120))
  }

  /// A problem of one connection, of which the trace will tell.
  private func note(_ problem: String, _ traffic: SwarmTraffic) -> String {
    if simulation.firstProblem == nil || tellsAll {
      let text = simulation.trace.text(ports: [traffic.socket.port])
      simulation.firstProblem = (simulation.firstProblem ?? "") + text
    }
    return "\(problem): \(traffic)\n    \(circumstances(of: traffic))"
  }

  /// What its engine knows of a connection, and who else has of what its application shares.
  private func circumstances(of traffic: SwarmTraffic) -> String {
    let application = traffic.socket.application
    let connections = application.engine.engine.connections
    var text =
      "\(application.freeChunks.count) of \(application.geometry.sendChunkCount) send chunks free"
    for raw in 0..<connections.watermark where connections.isAllocated(ConnectionID(raw: raw)) {
      let connection = connections[ConnectionID(raw: raw)]
      guard connection.channel == application.channel else { continue }
      text += "; \(connection.state) \(connection.flow.localPort) to \(connection.flow.remotePort)"
      if connection.slot == traffic.socket.slot { text += ", its own" }
      if connection.flags.contains(.orphaned) { text += ", orphaned" }
      if connection.sendHead != .max { text += ", with send chunks" }
    }
    return text
  }

  // MARK: Pairs

  /// The other side of a connection, as far as it is known.
  private func partners(of traffic: SwarmTraffic) -> [SwarmTraffic] {
    let own = traffic.socket
    return self.traffic.filter { other in
      let socket = other.socket
      guard socket.port == own.port, socket.isServer != own.isServer else { return false }
      let (server, client) = own.isServer ? (own, socket) : (socket, own)
      return client.endpoint.localPort != 0
        && server.endpoint.remotePort == client.endpoint.localPort
        && server.flowAddress.remote == client.flowAddress.local
        || services.contains { $0.port == own.port && $0.isSimultaneous }
    }
  }

  /// Every byte read is the right one, and everything has come, or there was a reason.
  private func checkPairs() -> [String] {
    var problems: [String] = []
    for traffic in traffic {
      let socket = traffic.socket
      if let position = socket.firstWrongByte {
        problems.append(note("wrong byte at \(position)", traffic))
      }
      if let error = socket.error, let problem = checkError(error, traffic) {
        problems.append(note(problem, traffic))
      }
      let partners = partners(of: traffic)
      // A flow's ports may have been used again.
      guard partners.count == 1, self.partners(of: partners[0]).count == 1 else { continue }
      problems += checkDelivery(from: partners[0], to: traffic)
    }
    return problems
  }

  private func checkDelivery(from sender: SwarmTraffic, to receiver: SwarmTraffic) -> [String] {
    let (sent, received) = (sender.socket, receiver.socket)
    var problems: [String] = []
    let count = received.bytesReceived + received.unread
    if count > sent.bytesSent { problems.append("more was read than sent") }
    if received.peerFinished {
      if !sent.isShut, !sent.isClosed { problems.append("FIN of a side that has not finished") }
      if count < sent.bytesSent, !received.isClosed { problems.append("FIN before all bytes") }
    }
    let isRegular =
      !sender.hasAbandoned && !receiver.hasAbandoned && sent.error == nil && received.error == nil
    if isRegular, sender.isOver, receiver.isOver, received.bytesReceived != sent.bytesSent,
      !mayFail
    {
      problems.append("bytes are missing")
    }
    return problems.map { note($0, sender) + " -> \(receiver)" }
  }

  /// Whether there was a reason for an error.
  private func checkError(_ error: UInt16, _ traffic: SwarmTraffic) -> String? {
    let losesSegments = features.contains(any: { $0.losesSegments })
    switch error {
    case SocketError.connectionReset, SocketError.pipe, SocketError.connectionRefused:
      let host = host(of: traffic.socket.application)
      let index = simulation.hosts.firstIndex { $0 === host } ?? 0
      let resets = simulation.observers[index].resetsReceived.filter {
        traffic.socket.isServer
          ? $0.key.localPort == traffic.socket.port : $0.key.remotePort == traffic.socket.port
      }
      return resets.isEmpty ? "error \(error) without RST" : nil
    case SocketError.timedOut:
      return losesSegments || features.contains(.userTimeout) || mayFail
        ? nil : "timeout without loss"
    case SocketError.addressNotAvailable:
      // What is left of the connection before.
      return features.contains(.samePort) ? nil : "a port in use"
    case SocketError.noBufferSpace:
      return features.contains(.fewConnections) ? nil : "no room for a connection"
    default:
      return "error \(error)"
    }
  }

  // MARK: The end

  /// Nothing is left, two segment lifetimes after everything.
  func checkEnd() -> [String] {
    var problems = simulation.leftovers()
    for host in simulation.hosts {
      for engine in host.engines {
        problems += Invariants.leftovers(engine.engine).map { "\(host.name): left \($0)" }
      }
    }
    return problems
  }
}
