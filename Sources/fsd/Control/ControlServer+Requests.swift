import FSDevice
import FSRing
import FSStack
import Glibc

/// A request that no correct program sends; it ends the connection.
enum ProtocolViolation: Error, Equatable, CustomStringConvertible {
  case malformed(ControlPacket.Malformation)
  case notIntroduced(ControlKind)

  var description: String {
    switch self {
    case .malformed(let malformation): malformation.description
    case .notIntroduced(let kind): "a \(kind) request before hello"
    }
  }
}

extension ControlServer {
  /// Carries out one request and replies.
  func handle(_ packet: ControlPacket, from connection: ControlConnection) throws {
    let message = packet.message
    guard let kind = ControlKind(rawValue: message.kind), kind != .invite else {
      throw ProtocolViolation.malformed(.kind(message.kind))
    }
    guard packet.descriptors.count == (kind == .listen ? 1 : 0) else {
      throw ProtocolViolation.malformed(.descriptorCount(kind, packet.descriptors.count))
    }
    var reply = ControlPacket(message: ControlMessage(kind, request: message.request))
    switch kind {
    case .hello: connection.isApplication = true
    case .statistics: reply.text = Array(services.statistics().render().utf8)
    case .status: reply.text = Array(services.status().render().utf8)
    case .stop:
      guard mayStop(connection) else {
        reply.message.status = EPERM
        break
      }
      connection.stopRequest = message.request
      return services.stop()
    case .channel, .listen, .join, .unlisten, .route, .goodbye, .invite, .fork, .adopt, .surrender,
      .disown:
      guard connection.isApplication else { throw ProtocolViolation.notIntroduced(kind) }
      handleApplication(kind, packet, from: connection, reply: &reply)
    }
    try send(reply, to: connection)
  }

  /// Root and the daemon's own user may end it.
  private func mayStop(_ connection: ControlConnection) -> Bool {
    // What has been inherited may be in the hands of another user.
    guard !connection.isHeir else { return false }
    return connection.peer.user == 0 || connection.peer.user == geteuid()
  }

  private func handleApplication(
    _ kind: ControlKind, _ packet: ControlPacket, from connection: ControlConnection,
    reply: inout ControlPacket
  ) {
    switch kind {
    case .channel: openChannel(packet.message, for: connection, reply: &reply)
    case .listen: listen(packet, from: connection, reply: &reply)
    case .join: join(packet.message, from: connection, reply: &reply)
    case .unlisten:
      reply.message.listener = packet.message.listener
      if !services.listeners.unlisten(connection.number, packet.message.listener) {
        reply.message.status = ENOENT
      }
    case .route:
      let destination = IPAddress(
        high: packet.message.addressHigh, low: packet.message.addressLow)
      reply.message.addressHigh = destination.high
      reply.message.addressLow = destination.low
      if isAccelerated(destination, packet.message) {
        reply.message.flags = ControlFlags.accelerated
      }
      reply.message.routeGeneration = services.paths.generation
    case .goodbye: connection.saidGoodbye = true
    case .fork: fork(connection, reply: &reply)
    case .adopt: adopt(packet.message, for: connection, reply: &reply)
    case .surrender: surrender(packet.message, of: connection, reply: &reply)
    case .disown: disown(packet.message, by: connection)
    case .hello, .invite, .statistics, .status, .stop: break
    }
  }

  private func isAccelerated(_ destination: IPAddress, _ message: ControlMessage) -> Bool {
    let local = IPAddress(high: message.localHigh, low: message.localLow)
    guard message.flags & ControlFlags.loopback != 0, services.paths.isOwn(destination) else {
      return services.paths.accelerate(destination, from: local)
    }
    guard local.isUnspecified || services.paths.isOwn(local) else { return false }
    let port = UInt16(truncatingIfNeeded: message.argument)
    guard services.listeners.acceptsLoopback(destination, port: port) else { return false }
    services.paths.installLoopback(destination)
    return true
  }

  private func openChannel(
    _ message: ControlMessage, for connection: ControlConnection, reply: inout ControlPacket
  ) {
    guard connection.channels.count < ControlConnection.channelLimit else {
      reply.message.status = EMFILE
      return
    }
    let wantsPin = message.flags & ControlFlags.pin != 0
    let pinned = wantsPin ? services.placement.pinned { ownChannelCount(onEngine: $0) } : nil
    let local =
      pinned?.engine
      ?? services.placement.engine(forProcessor: Int(message.argument)) {
        channelCount(onEngine: $0)
      }
    let isExact = message.flags & ControlFlags.exactEngine != 0
    let index = isExact ? Int(message.engine) : local
    guard services.engines.indices.contains(index) else {
      reply.message.status = EINVAL
      return
    }
    do {
      let (channel, memory) = try Channel.make(.standard)
      guard let id = services.engines[index].attach(channel) else {
        reply.message.status = ENOBUFS
        return
      }
      reply.message.engine = UInt32(index)
      reply.message.argument = UInt32(truncatingIfNeeded: services.engines[index].processor)
      reply.message.channel = UInt32(connection.channels.count)
      if let pinned {
        reply.message.flags = ControlFlags.pin
        reply.message.localPort = UInt16(truncatingIfNeeded: pinned.processor)
      }
      reply.message.geometry = channel.geometry
      reply.descriptors = [memory, channel.applicationWake.descriptor, channel.doorbell.descriptor]
      connection.channels.append(
        ControlConnection.ChannelEntry(
          channel: channel, id: id, engine: index, remote: isExact && index != local))
    } catch {
      Log.note("process \(connection.peer.process): no channel: \(error)")
      reply.message.status = error.code
    }
  }

  /// Without those that processes have on engines that asked for them.
  private func ownChannelCount(onEngine index: Int) -> Int {
    connections.values.reduce(0) { count, connection in
      count + connection.channels.count { $0.engine == index && !$0.remote }
    }
  }

  private func channelCount(onEngine index: Int) -> Int {
    connections.values.reduce(0) { count, connection in
      count + connection.channels.count { $0.engine == index }
    }
  }

  private func listen(
    _ packet: ControlPacket, from connection: ControlConnection, reply: inout ControlPacket
  ) {
    // The descriptor closes with the packet: a listening socket that the daemon kept would outlive
    // its application.
    // Not the connection's socket: that one is in the namespace of who has connected.
    let inspected = ListeningSocket.inspect(packet.descriptors[0].number, beside: listener.number)
    let outcome = inspected.flatMap { socket in
      services.listeners.listen(
        connection.number, socket, backlog: Self.backlog(packet.message.argument),
        reach: reach(of: socket.address, packet.message))
    }
    switch outcome {
    case .success(let number): reply.message.listener = number
    case .failure(let error): reply.message.status = error.code
    }
  }

  private func reach(of address: IPAddress, _ message: ControlMessage) -> ListenerTable.Reach {
    let isWithinHost = message.flags & ControlFlags.loopback != 0
    let isManaged =
      address.isUnspecified || services.paths.localAddresses().contains { $0.address == address }
    return ListenerTable.Reach(
      interfaces: isManaged, host: isWithinHost && (isManaged || services.paths.isOwn(address)))
  }

  /// As listen(2): a negative backlog is as good as a very large one, and somaxconn limits both.
  private static func backlog(_ argument: UInt32) -> Int {
    let limit = (try? TextFile.readLine("/proc/sys/net/core/somaxconn")).flatMap { Int($0) }
    return min(Int(argument), limit ?? 4096)
  }

  private func join(
    _ message: ControlMessage, from connection: ControlConnection, reply: inout ControlPacket
  ) {
    reply.message.listener = message.listener
    reply.message.channel = message.channel
    guard Int(message.channel) < connection.channels.count else {
      reply.message.status = EINVAL
      return
    }
    let entry = connection.channels[Int(message.channel)]
    reply.message.engine = UInt32(entry.engine)
    let acceptor = ListenerTable.Acceptor(
      process: connection.number, engine: entry.engine, channel: entry.id, remote: entry.remote)
    if let error = services.listeners.join(message.listener, acceptor) {
      reply.message.status = error.code
    }
  }
}
