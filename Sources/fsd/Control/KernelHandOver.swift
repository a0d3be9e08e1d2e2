import FSDevice
import FSRing
import FSStack
import Glibc

/// What a process has of another's connections by fork(2): those of `process` that were there
/// `before` a moment.
struct Inheritance: Equatable, Sendable {
  var process: ProcessNumber
  var before: Instant
}

/// What has become of connections that processes share. Totals since the start.
struct KernelHandOverCounters: BitwiseCopyable, Sendable {
  /// Handed over because their owner wanted it: exec, SCM_RIGHTS.
  var forOwners: UInt64 = 0
  /// Because a process used what it had inherited.
  var forHeirs: UInt64 = 0
  /// Because their owner closed them while others may have them.
  var surrendered: UInt64 = 0
  /// Because their owner has ended while others may have them.
  var ownersGone: UInt64 = 0
  /// Of which the kernel would have no socket: they were reset.
  var failed: UInt64 = 0
}

// Connections that processes share become the kernel's: what requests ask for.

extension ControlServer {
  /// Copies that one process may say to have closed. Beyond, the last close of a connection is noticed
  /// later, when the process ends.
  private static let disownedLimit = 65536

  /// A child is about to be made: its connection, of which the reply has the other end.
  func fork(_ connection: ControlConnection, reply: inout ControlPacket) {
    do throws(SystemError) {
      // Everything that the process has done until now happened before the fork.
      for entry in connection.channels { services.engines[entry.engine].catchUp(entry.id) }
      let before = Instant.current
      let ends = try ControlSocket.pair()
      let child = try add(ends.ours, peer: connection.peer)
      child.isApplication = true
      child.isHeir = true
      child.disowned = connection.disowned
      child.inheritances = [Inheritance(process: connection.number, before: before)]
      child.inheritances += connection.inheritances.filter { connections[$0.process] != nil }
      held.inherit(child.number, from: connection.number)
      services.listeners.inherit(child.number, from: connection.number)
      reply.descriptors = [ends.theirs]
    } catch {
      reply.message.status = error.code
    }
  }

  /// A process wants the kernel's socket of a connection.
  func adopt(
    _ message: ControlMessage, for connection: ControlConnection, reply: inout ControlPacket
  ) {
    let flow = FlowAddress(message)
    if let socket = held.take(flow, by: connection.number) {
      reply.descriptors = [socket]
      return
    }
    guard services.engines.indices.contains(Int(message.engine)) else {
      reply.message.status = EINVAL
      return
    }
    var claims = claims(of: connection, on: Int(message.engine), before: .never)
    if !connection.disowned.contains(flow) {
      for inheritance in connection.inheritances {
        guard let owner = connections[inheritance.process] else { continue }
        claims += self.claims(of: owner, on: Int(message.engine), before: inheritance.before)
      }
    }
    switch move(flow, message, claims, except: connection) {
    case .success(let moved):
      if moved.owner === connection {
        handOvers.forOwners += 1
      } else {
        handOvers.forHeirs += 1
      }
      reply.descriptors = [moved.socket]
    case .failure(let error): reply.message.status = error.code
    }
  }

  /// A process closes a connection of its own, and wants to know whether others have it.
  func surrender(
    _ message: ControlMessage, of connection: ControlConnection, reply: inout ControlPacket
  ) {
    let flow = FlowAddress(message)
    if let socket = held.take(flow, by: connection.number) {
      // What it has written and the engine had not seen when another took the connection goes there.
      reply.descriptors = [socket]
      return
    }
    guard services.engines.indices.contains(Int(message.engine)) else {
      reply.message.status = EINVAL
      return
    }
    guard let before = heirs(of: connection, to: flow).map(\.before).max() else {
      reply.message.status = ESRCH
      return
    }
    let claims = claims(of: connection, on: Int(message.engine), before: before)
    switch move(flow, message, claims, except: connection) {
    case .success: handOvers.surrendered += 1
    // No heir has it, or it is being opened and nobody can have used it.
    case .failure(ErrnoValue(ENOENT)), .failure(ErrnoValue(EINPROGRESS)):
      reply.message.status = ESRCH
    case .failure(let error): reply.message.status = error.code
    }
  }

  /// A process closes what it has never used.
  func disown(_ message: ControlMessage, by connection: ControlConnection) {
    let flow = FlowAddress(message)
    if flow.localPort == 0, flow.remotePort == 0 {
      held.forget(connection.number)
      connection.inheritances.removeAll()
      connection.disowned.removeAll()
      return
    }
    if held.take(flow, by: connection.number) != nil { return }
    guard !connection.inheritances.isEmpty, connection.disowned.count < Self.disownedLimit else {
      return
    }
    connection.disowned.insert(flow)
  }

  /// A process has ended. What others may have of its connections goes on in the kernel.
  func handOverConnections(of connection: ControlConnection) {
    held.forget(connection.number)
    let isInherited = connections.values.contains { heir in
      heir.inheritances.contains { $0.process == connection.number }
    }
    guard isInherited else { return }
    for (index, engine) in services.engines.enumerated() {
      for claim in claims(of: connection, on: index, before: .never) {
        for flow in engine.exportableConnections(claim) {
          guard let before = heirs(of: connection, to: flow).map(\.before).max() else { continue }
          var claim = claim
          claim.before = before
          var message = ControlMessage(.surrender, request: 0)
          message.engine = UInt32(index)
          if case .success = move(flow, message, [claim], except: connection) {
            handOvers.ownersGone += 1
          }
        }
      }
    }
  }

  // MARK: The move

  private struct Moved {
    var socket: Descriptor
    var owner: ControlConnection?
  }

  /// Makes a connection the kernel's, and holds its socket for all who may have it but one.
  private func move(
    _ flow: FlowAddress, _ message: ControlMessage, _ claims: [Engine.ExportClaim],
    except requester: ControlConnection
  ) -> Result<Moved, ErrnoValue> {
    let engine = services.engines[Int(message.engine)]
    // Who has none of it must not have the kernel asked about each packet.
    guard engine.isClaimed(flow, by: claims) else { return .failure(ErrnoValue(ENOENT)) }
    // First, so that no segment comes to an engine that has forgotten the connection.
    services.listeners.ports.expectKernelFlow(onPort: flow.localPort)
    services.expectKernelFlow(flow)
    let exported: ExportedConnection
    switch engine.exportConnection(flow, claims) {
    case .success(let connection): exported = connection
    case .failure(.unknown): return .failure(ErrnoValue(ENOENT))
    case .failure(.opening): return .failure(ErrnoValue(EINPROGRESS))
    case .failure(.otherEnd): return .failure(ErrnoValue(EOPNOTSUPP))
    }
    // What the request says of the family is about the end that it names.
    let ends = ([exported] + exported.otherEnd).enumerated().map { position, end in
      End(
        connection: end, owner: owner(of: end, on: Int(message.engine), besides: requester),
        isIPv6: position == 0 && message.flags & ControlFlags.ipv6Socket != 0
          || isOfIPv6Listener(end))
    }
    let sockets: [Int32]
    do throws(DeviceError) {
      sockets = try services.kernelSockets(
        ends.map {
          KernelConnection.Order(
            $0.connection, isIPv6: $0.isIPv6, user: ($0.owner ?? requester).peer.user)
        })
    } catch {
      handOvers.failed += 1
      Log.note("port \(flow.localPort): a connection was lost on its way to the kernel: \(error)")
      return .failure(ErrnoValue(error.code))
    }
    let descriptors = sockets.map { Descriptor(adopting: $0, isForeign: true) }
    for (end, socket) in zip(ends, descriptors) { hold(end, socket, besides: requester) }
    return .success(Moved(socket: descriptors[0], owner: ends[0].owner))
  }

  /// One end that has moved.
  private struct End {
    var connection: ExportedConnection
    var owner: ControlConnection?
    var isIPv6: Bool
  }

  private func owner(
    of end: ExportedConnection, on engine: Int, besides requester: ControlConnection
  ) -> ControlConnection? {
    func isOwner(_ connection: ControlConnection) -> Bool {
      connection.channels.contains { $0.engine == engine && $0.id == end.channel }
    }
    // One that has just ended is no longer among the others.
    return isOwner(requester) ? requester : connections.values.first(where: isOwner)
  }

  private func isOfIPv6Listener(_ end: ExportedConnection) -> Bool {
    guard let number = end.listener, let listener = services.listeners.listeners[number] else {
      return false
    }
    return !listener.description.address.isIPv4
  }

  /// Keeps a socket for all who may ask for it, but the one that asks for it now.
  private func hold(_ end: End, _ socket: Descriptor, besides requester: ControlConnection) {
    guard let owner = end.owner else { return }
    owner.handOvers += 1
    let flow = end.connection.address
    var waiting = Set(
      heirs(of: owner, to: flow).lazy.filter { $0.before >= end.connection.ownedSince }
        .map(\.process))
    if !end.connection.isOrphan { waiting.insert(owner.number) }
    waiting.remove(requester.number)
    held.hold(flow, socket, for: waiting)
  }

  private func claims(
    of connection: ControlConnection, on engine: Int, before: Instant
  ) -> [Engine.ExportClaim] {
    connection.channels.filter { $0.engine == engine }
      .map { Engine.ExportClaim(channel: $0.id, before: before) }
  }

  /// The processes that may have a connection of `owner`, if it is older than their moment.
  private func heirs(of owner: ControlConnection, to flow: FlowAddress) -> [Inheritance] {
    connections.values.compactMap { connection in
      guard !connection.disowned.contains(flow) else { return nil }
      return connection.inheritances.first { $0.process == owner.number }
        .map { Inheritance(process: connection.number, before: $0.before) }
    }
  }
}

extension FlowAddress {
  fileprivate init(_ message: ControlMessage) {
    self.init(
      local: IPAddress(high: message.localHigh, low: message.localLow),
      localPort: message.localPort,
      remote: IPAddress(high: message.addressHigh, low: message.addressLow),
      remotePort: message.remotePort)
  }
}
