import CLinux
import FSDevice
import FSRing
import FSStack
import Glibc

/// The daemon's end of the control socket.
///
/// It believes nothing that arrives: what is not a proper request ends the connection that it came
/// on, with a line in the log, and nothing else. What a request asks for and cannot have is
/// answered with an errno value. `ControlServer+Requests` has the requests one by one.
final class ControlServer {
  /// What the server works with.
  struct Services {
    var engines: [any EngineControl]
    var listeners: ListenerTable
    var paths: PathDirectory
    var placement: EnginePlacement
    /// JSON for `fsd status` and `fsd stats`.
    var status: () -> JSON
    var statistics: () -> JSON
    /// Makes the kernel's sockets for connections.
    var kernelSockets: ([KernelConnection.Order]) throws(DeviceError) -> [Int32]
    /// A connection is about to become the kernel's.
    var expectKernelFlow: (FlowAddress) -> Void
    /// Begins the daemon's end.
    var stop: () -> Void
  }

  /// Connections in all.
  static let connectionLimit = 4096
  /// Connections of one user who is not root, so that none takes all.
  static let userLimit = 1024

  let services: Services
  private let loop: EventLoop
  let listener: Descriptor
  private var listenerToken: UInt64?
  private(set) var connections: [ProcessNumber: ControlConnection] = [:]
  private var nextNumber: UInt64 = 1
  private var ticks: UInt64 = 0
  /// Sockets of connections that the kernel has taken over, for those who may ask for them.
  var held = HeldConnections()
  var handOvers = KernelHandOverCounters()

  /// Serves `listener` in `loop`.
  init(listener: Descriptor, loop: EventLoop, services: Services) throws(SystemError) {
    self.listener = listener
    self.loop = loop
    self.services = services
    services.listeners.onLoopbackChange = { [paths = services.paths] in paths.loopbackChanged() }
    try watchListener()
  }

  private func watchListener() throws(SystemError) {
    listenerToken = try loop.add(listener.number) { [unowned self] in accept() }
  }

  /// Takes no further connections.
  func closeListener() {
    guard let token = listenerToken else { return }
    loop.remove(token, descriptor: listener.number)
    listenerToken = nil
  }

  private func accept() {
    let number = unsafe accept4(
      listener.number, __SOCKADDR_ARG(), nil, Int32(SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue))
    guard number >= 0 else {
      // Out of descriptors: the next tick tries again, so that this does not spin.
      if errno == EMFILE || errno == ENFILE { closeListener() }
      return
    }
    let socket = Descriptor(adopting: number)
    do {
      _ = try add(socket, peer: ControlConnection.peer(of: number))
    } catch {
      ControlPacket.discardAll(from: number)
      Log.note("control connection refused: \(error)")
    }
  }

  /// Takes up a connection.
  func add(
    _ socket: Descriptor, peer: ControlConnection.Peer
  ) throws(SystemError) -> ControlConnection {
    let ofUser = connections.values.count { $0.peer.user == peer.user }
    guard connections.count < Self.connectionLimit, peer.user == 0 || ofUser < Self.userLimit
    else { throw SystemError("too many connections", code: EMFILE) }
    let connection = ControlConnection(
      number: ProcessNumber(value: nextNumber), socket: socket, peer: peer)
    nextNumber += 1
    connection.token = try loop.add(socket.number) { [unowned self, unowned connection] in
      receive(connection)
    }
    connections[connection.number] = connection
    return connection
  }

  private func receive(_ connection: ControlConnection) {
    switch ControlPacket.receive(from: connection.socket.number) {
    case .empty: return
    case .end: close(connection, reason: nil)
    case .malformed(let malformation): close(connection, reason: malformation.description)
    case .packet(let packet):
      if let sender = packet.sender { connection.peer = sender }
      do {
        try handle(packet, from: connection)
      } catch let error as SystemError where [EPIPE, ECONNRESET].contains(error.code) {
        // It has ended without waiting for the reply. What it has said besides, perhaps goodbye, is
        // there to be read, and then the end.
        return
      } catch {
        close(connection, reason: "\(error)")
      }
      inviteAcceptors()
    }
  }

  /// Ends a connection, and with it everything that its process has here.
  func close(_ connection: ControlConnection, reason: String?) {
    guard connections.removeValue(forKey: connection.number) != nil else { return }
    if let reason {
      Log.note("process \(connection.peer.process): control connection closed: \(reason)")
    }
    loop.remove(connection.token, descriptor: connection.socket.number)
    ControlPacket.discardAll(from: connection.socket.number)
    services.listeners.processGone(connection.number)
    handOverConnections(of: connection)
    let end: Engine.ApplicationEnd =
      reason != nil ? .expelled : connection.saidGoodbye ? .exit : .killed
    for entry in connection.channels {
      services.engines[entry.engine].detach(entry.id, end)
    }
    connection.channels.removeAll()
    inviteAcceptors()
  }

  /// Sends a packet; a peer that does not read what it asked for loses its connection.
  func send(_ packet: ControlPacket, to connection: ControlConnection) throws(SystemError) {
    if !packet.text.isEmpty { ControlSocket.allowLongPackets(connection.socket.number) }
    try packet.send(to: connection.socket.number)
  }

  /// Asks processes for acceptors where engines have none.
  func inviteAcceptors() {
    for invitation in services.listeners.dueInvitations(tick: ticks) {
      guard let connection = connections[invitation.process] else { continue }
      var message = ControlMessage(.invite, request: 0)
      message.listener = invitation.listener
      message.engine = UInt32(invitation.engine)
      // One that cannot be sent now is not lost: the book asks again.
      try? ControlPacket(message: message).send(to: connection.socket.number)
    }
  }

  /// What passes with time.
  func tick() {
    ticks += 1
    if listenerToken == nil { try? watchListener() }
    services.listeners.ports.review()
    inviteAcceptors()
  }

  /// Whether `tick()` has anything to do.
  var needsTicks: Bool { listenerToken == nil || services.listeners.needsReview }

  /// What the engines have to say.
  func handle(_ notice: EngineNotice) {
    switch notice {
    case .released(let engine, _, let id): services.engines[engine].free(id)
    case .pathsWanted(let destinations): services.paths.install(destinations)
    case .violation(let engine, let channel, let reason):
      let owner = connections.values.first { connection in
        connection.channels.contains { $0.channel === channel }
      }
      guard let owner else { return }
      close(owner, reason: "violation of the channel protocol on engine \(engine): \(reason)")
    }
  }

  /// Answers those who asked for the daemon's end.
  func answerStopRequests() {
    for connection in connections.values {
      guard let request = connection.stopRequest else { continue }
      try? ControlPacket(message: ControlMessage(.stop, request: request))
        .send(to: connection.socket.number)
    }
  }
}
