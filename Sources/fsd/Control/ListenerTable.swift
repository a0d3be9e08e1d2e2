import FSStack
import Glibc

/// A process that is connected to the control socket, by the number of its connection.
struct ProcessNumber: Hashable, Comparable, Sendable {
  var value: UInt64

  static func < (a: Self, b: Self) -> Bool { a.value < b.value }
}

/// The accelerated listeners: which processes hold them, which channels accept for them.
final class ListenerTable {
  /// A channel that takes a listener's connections.
  struct Acceptor: Equatable {
    var process: ProcessNumber
    var engine: Int
    var channel: ChannelID
    /// Its thread runs on another core than the engine.
    var remote: Bool
  }

  /// Whence connections to a listener are accelerated.
  struct Reach: Equatable {
    /// Through managed interfaces.
    var interfaces: Bool
    /// From this very host.
    var host: Bool
  }

  /// One listening socket.
  struct Listener {
    var description: ListenerDescription
    var reach: Reach
    var cookie: UInt64
    var processes: Set<ProcessNumber>
    var acceptors: [Acceptor]
  }

  /// A request to a process to accept on an engine that has no acceptor.
  struct Invitation: Equatable {
    var process: ProcessNumber
    var listener: UInt32
    var engine: Int
  }

  /// Listeners one process may have.
  static let limitPerProcess = 1024

  private let engines: [any EngineControl]
  let ports: SteeredPorts
  /// Called when a listener that this very host reaches has come or gone.
  var onLoopbackChange: () -> Void = {}
  private(set) var listeners: [UInt32: Listener] = [:]
  private var numbers: [UInt64: UInt32] = [:]
  private var nextNumber: UInt32 = 1
  private var invitations = InvitationBook()
  /// Listeners whose sockets were not found the last time.
  private var missed: Set<UInt32> = []

  init(engines: [any EngineControl], steering: any PortSteering) {
    self.engines = engines
    ports = SteeredPorts(steering: steering, engines: engines)
  }

  /// A process shows a listening socket, for the first time or because something about it has changed.
  /// The result is the listener's number, or the errno value for the reply.
  func listen(
    _ process: ProcessNumber, _ socket: ListeningSocket, backlog: Int,
    reach: Reach
  ) -> Result<UInt32, ErrnoValue> {
    if let number = numbers[socket.cookie], var listener = listeners[number] {
      listener.processes.insert(process)
      let known = listener.description
      listener.description.backlog = backlog
      listener.description.options = socket.options
      listeners[number] = listener
      if listener.description != known {
        for engine in engines { engine.updateListener(listener.description) }
      }
      return .success(number)
    }
    guard reach.interfaces || reach.host else { return .failure(ErrnoValue(EOPNOTSUPP)) }
    guard listeners.values.count(where: { $0.processes.contains(process) }) < Self.limitPerProcess
    else { return .failure(ErrnoValue(EMFILE)) }
    let number = nextNumber
    nextNumber &+= 1
    let description = ListenerDescription(
      number: number, address: socket.address, port: socket.port, ipv6Only: socket.ipv6Only,
      backlog: backlog, options: socket.options)
    guard engines.allSatisfy({ $0.addListener(description) }) else {
      for engine in engines { engine.removeListener(number) }
      return .failure(ErrnoValue(ENOBUFS))
    }
    do {
      if reach.interfaces { try ports.activate(description) }
    } catch {
      Log.note("port \(socket.port) cannot be accelerated: \(error)")
      for engine in engines { engine.removeListener(number) }
      return .failure(ErrnoValue(ENOSPC))
    }
    listeners[number] = Listener(
      description: description, reach: reach, cookie: socket.cookie, processes: [process],
      acceptors: [])
    numbers[socket.cookie] = number
    if reach.host { onLoopbackChange() }
    return .success(number)
  }

  /// A channel of a process shall accept. The errno value for the reply, or nil.
  func join(_ number: UInt32, _ acceptor: Acceptor) -> ErrnoValue? {
    guard var listener = listeners[number], listener.processes.contains(acceptor.process) else {
      return ErrnoValue(ENOENT)
    }
    let known = listener.acceptors.contains {
      $0.engine == acceptor.engine && $0.channel == acceptor.channel
    }
    if known { return nil }
    let engine = engines[acceptor.engine]
    guard engine.join(number, channel: acceptor.channel, remote: acceptor.remote) else {
      leaveToKernel(listener.description, unservedOn: acceptor.engine)
      return ErrnoValue(ENOBUFS)
    }
    listener.acceptors.append(acceptor)
    listeners[number] = listener
    return nil
  }

  /// An engine has no room for an acceptor. If it has none for this address and port, nobody would take what comes to
  /// it: new connections are the kernel's, which has the listening sockets, too.
  private func leaveToKernel(_ description: ListenerDescription, unservedOn engine: Int) {
    let members = listeners.values.filter { group(of: $0.description) == group(of: description) }
    let isServed = members.contains { $0.acceptors.contains { $0.engine == engine } }
    guard !isServed else { return }
    Log.note("port \(description.port): no room for an acceptor on engine \(engine)")
    for member in members where member.reach.interfaces {
      ports.release(member.description)
      listeners[member.description.number]?.reach.interfaces = false
    }
  }

  /// A process is done with a listener; false when it never had it.
  func unlisten(_ process: ProcessNumber, _ number: UInt32) -> Bool {
    guard var listener = listeners[number], listener.processes.remove(process) != nil else {
      return false
    }
    if listener.processes.isEmpty {
      remove(listener)
      return true
    }
    for acceptor in listener.acceptors where acceptor.process == process {
      engines[acceptor.engine].leave(number, channel: acceptor.channel)
    }
    listener.acceptors.removeAll { $0.process == process }
    listeners[number] = listener
    return true
  }

  /// A child has the listening sockets of its parent, whatever becomes of that: between the parent's end
  /// and the child's first word nothing is reset.
  func inherit(_ child: ProcessNumber, from parent: ProcessNumber) {
    for number in listeners.keys where listeners[number]?.processes.contains(parent) == true {
      listeners[number]?.processes.insert(child)
    }
  }

  /// A process is gone. Call it before its channels are detached.
  func processGone(_ process: ProcessNumber) {
    for number in listeners.keys.sorted() { _ = unlisten(process, number) }
    invitations.forget(process)
  }

  /// Forgets the listeners whose sockets are closed: of a close that the library does not see, by io_uring for
  /// one, nobody tells. `cookies` are those of all sockets that listen, but that one may be missing; never twice.
  func forgetClosed(cookies: Set<UInt64>) {
    let closed = Set(
      listeners.values.filter { !cookies.contains($0.cookie) }.map(\.description.number))
    for number in closed.intersection(missed).sorted() {
      guard let listener = listeners[number] else { continue }
      Log.note("port \(listener.description.port): the listening socket is closed")
      remove(listener)
    }
    missed = closed
  }

  private func remove(_ listener: Listener) {
    if listener.reach.interfaces { ports.release(listener.description) }
    for engine in engines { engine.removeListener(listener.description.number) }
    numbers[listener.cookie] = nil
    listeners[listener.description.number] = nil
    if listener.reach.host { onLoopbackChange() }
  }

  /// Whether a connection from this very host finds a listener here that wants it accelerated.
  func acceptsLoopback(_ address: IPAddress, port: UInt16) -> Bool {
    listeners.values.contains { listener in
      guard listener.reach.host, listener.description.port == port else { return false }
      let bound = listener.description.address
      if bound == address { return true }
      guard bound.isUnspecified else { return false }
      return bound.isIPv4 == address.isIPv4 || (!bound.isIPv4 && !listener.description.ipv6Only)
    }
  }

  private func group(of description: ListenerDescription) -> SteeredPorts.Key {
    SteeredPorts.Key(address: description.address, port: description.port)
  }

  /// Whom to ask for acceptors: wherever an engine has none for an address and port (the sockets of
  /// a SO_REUSEPORT group count together) while a process accepts elsewhere. Asked again with
  /// growing pauses; `tick` counts seconds.
  func dueInvitations(tick: UInt64) -> [Invitation] {
    guard engines.count > 1 else { return [] }
    var groups: [SteeredPorts.Key: [Listener]] = [:]
    for listener in listeners.values where !listener.acceptors.isEmpty {
      groups[group(of: listener.description), default: []].append(listener)
    }
    var due: [Invitation] = []
    var wanting: Set<InvitationBook.Place> = []
    for (key, members) in groups {
      let served = Set(members.flatMap { $0.acceptors.map(\.engine) })
      let candidates = Self.candidates(members)
      for engine in engines.indices where !served.contains(engine) {
        let place = InvitationBook.Place(group: key, engine: engine)
        wanting.insert(place)
        if let chosen = invitations.next(place, of: candidates, tick: tick) {
          due.append(
            Invitation(process: chosen.process, listener: chosen.listener, engine: engine))
        }
      }
    }
    invitations.keep(only: wanting)
    return due
  }

  private static func candidates(_ members: [Listener]) -> [InvitationBook.Candidate] {
    var seen: Set<ProcessNumber> = []
    var found: [InvitationBook.Candidate] = []
    for listener in members.sorted(by: { $0.description.number < $1.description.number }) {
      for acceptor in listener.acceptors where seen.insert(acceptor.process).inserted {
        found.append(
          InvitationBook.Candidate(
            process: acceptor.process, listener: listener.description.number))
      }
    }
    return found
  }

  /// Whether seconds matter now: see `review`.
  var needsReview: Bool { ports.needsReview || invitations.hasOpen }
}
