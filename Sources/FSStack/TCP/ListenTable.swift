/// The number of an endpoint in the listen table.
struct EndpointID: SlabIndex, BitwiseCopyable {
  var raw: UInt32
}

/// The number of one channel's membership in an endpoint.
struct AcceptorID: SlabIndex, BitwiseCopyable {
  var raw: UInt32
}

/// One (address, port) on which connections are accepted: one listening socket, or a group of them
/// with SO_REUSEPORT.
struct Endpoint {
  var address: IPAddress
  var port: UInt16
  /// The listening sockets of this address and port.
  var listenerCount = 0
  /// Those of them that are not IPv6-only.
  var dualStackCount = 0
  /// The longest of their backlogs.
  var backlog = 0
  /// Its half-open connections, in the SYN cache.
  var halfOpen = 0
  /// Those of them whose timer has not expired yet.
  var young = 0
  /// When a SYN was last answered with a cookie.
  var cookieSentAt = Instant.never
  /// Times that a SYN-ACK is sent again (Linux's tcp_synack_retries; TCP_SYNCNT of the listener).
  var synchronizeRetries = Endpoint.usualRetries
  /// Linux's tcp_synack_retries.
  static var usualRetries: UInt8 { 5 }
  /// TCP_MAXSEG; 0 for none.
  var userSegmentSize: UInt16 = 0
  /// TCP_DEFER_ACCEPT: expiries of the SYN-ACK's timer for which a connection is not given to
  /// anyone before it has brought data; 0 for none. `deferAccept(seconds:)` converts.
  var deferAccept: UInt8 = 0
  /// Connections that no acceptor has been given yet, oldest first.
  var pending = ListHead<ConnectionID>()
  var pendingCount = 0
  /// Its acceptors; the next connection goes to the first that can take one.
  var acceptors = ListHead<AcceptorID>()
}

extension Endpoint {
  /// Whether another connection may wait for an acceptor: one more than the backlog, as in Linux.
  var hasRoom: Bool { pendingCount <= backlog }

  /// Expiries after which a half-open connection is given up. As in Linux half of the backlog is
  /// kept for those that have just come: the more old ones there are, the earlier they go.
  var synchronizeAttempts: UInt8 {
    guard halfOpen * 2 > max(8, backlog) else { return synchronizeRetries }
    var attempts = synchronizeRetries
    var young = self.young * 2
    while attempts > 2 && halfOpen >= young {
      attempts -= 1
      young *= 2
    }
    return attempts
  }

  /// TCP_DEFER_ACCEPT in seconds as a number of expiries, as Linux's secs_to_retrans: the first that
  /// comes no earlier.
  static func deferAccept(seconds: Int) -> UInt8 {
    guard seconds > 0 else { return 0 }
    var expiries: UInt8 = 1
    var period = 1
    while seconds > period && expiries < 255 {
      period += Int(HalfOpenTable.timeout(expiries).nanoseconds / 1_000_000_000)
      expiries += 1
    }
    return expiries
  }
}

/// A channel that takes connections of a listener.
struct Acceptor {
  var endpoint: EndpointID
  var listener: UInt32
  var channel: ChannelID
  /// Its thread runs on another engine's core: used when no local acceptor is active.
  var isRemote: Bool
  var isPaused: Bool
  /// It is paused with each connection that it takes, if there are other acceptors.
  var takesOne = false
}

/// The local listen table: what this engine accepts, and who takes it. Each engine has its own.
struct ListenTable {
  private struct Listener {
    var endpoint: EndpointID
    var isIPv6Only: Bool
  }

  let endpoints: Slab<EndpointID, Endpoint>
  let acceptors: Slab<AcceptorID, Acceptor>
  private let acceptorLinks: LinkTable<AcceptorID>
  /// Control path only: the listeners by the daemon's number.
  private var listeners: [UInt32: Listener] = [:]
  /// The endpoints by the lowest bits of their ports: a SYN looks through one list of them.
  private var ports = [ListHead<EndpointID>](repeating: ListHead(), count: Self.listCount)
  private let portLinks: LinkTable<EndpointID>

  private static var listCount: Int { 256 }

  init(capacity: Int, acceptorCapacity: Int) {
    endpoints = Slab(capacity: capacity)
    acceptors = Slab(capacity: acceptorCapacity)
    acceptorLinks = LinkTable(capacity: acceptorCapacity)
    portLinks = LinkTable(capacity: capacity)
  }

  /// Frees the memory.
  func deallocate() {
    endpoints.deallocate()
    acceptors.deallocate()
    acceptorLinks.deallocate()
    portLinks.deallocate()
  }

  /// Listeners in all.
  var count: Int { listeners.count }

  /// The endpoint for a SYN to `address` and `port`: the specific address before the wildcard of
  /// its family, before an IPv6 wildcard that takes both.
  func find(_ address: IPAddress, port: UInt16) -> EndpointID? {
    var best: EndpointID?
    var bestRank = 3
    var id = ports[Self.list(of: port)].first
    while id != .none {
      if endpoints[id].port == port {
        let rank = Self.rank(of: endpoints[id].address, for: address)
        if rank < bestRank {
          best = id
          bestRank = rank
        }
      }
      id = portLinks.next(after: id)
    }
    return best
  }

  private static func list(of port: UInt16) -> Int { Int(port) % listCount }

  private static func rank(of bound: IPAddress, for address: IPAddress) -> Int {
    if bound == address { return 0 }
    guard bound.isUnspecified else { return 3 }
    if bound.isIPv4 == address.isIPv4 { return 1 }
    return bound.isIPv4 ? 3 : 2
  }

  /// Adds a listening socket. An IPv6-only wildcard does not take IPv4: it is stored so that it
  /// never matches one.
  mutating func add(
    _ number: UInt32, address: IPAddress, port: UInt16, isIPv6Only: Bool, backlog: Int
  ) -> Bool {
    guard listeners[number] == nil else { return true }
    let id: EndpointID
    if let existing = find(address, port: port), endpoints[existing].address == address {
      id = existing
    } else {
      guard let new = endpoints.allocate(Endpoint(address: address, port: port)) else {
        return false
      }
      id = new
      portLinks.append(id, to: &ports[Self.list(of: port)])
    }
    endpoints[id].listenerCount += 1
    if !isIPv6Only { endpoints[id].dualStackCount += 1 }
    endpoints[id].backlog = max(endpoints[id].backlog, max(backlog, 1))
    listeners[number] = Listener(endpoint: id, isIPv6Only: isIPv6Only)
    return true
  }

  /// The options of a listening socket, and the backlog that listen(2) gave it, have changed.
  mutating func update(_ number: UInt32, backlog: Int, _ options: ListenerOptions) {
    guard let endpoint = listeners[number]?.endpoint else { return }
    endpoints[endpoint].backlog =
      endpoints[endpoint].listenerCount == 1
      ? max(backlog, 1) : max(endpoints[endpoint].backlog, max(backlog, 1))
    endpoints[endpoint].set(options)
  }

  /// Whether an endpoint takes a connection to `address`: not IPv4 when all of its sockets are
  /// IPv6-only.
  func accepts(_ id: EndpointID, _ address: IPAddress) -> Bool {
    guard address.isIPv4, !endpoints[id].address.isIPv4 else { return true }
    return endpoints[id].dualStackCount > 0
  }

  /// Removes a listening socket and its acceptors. The endpoint if it was its last: the caller
  /// resets what waits there and then calls `removeEndpoint`.
  mutating func remove(_ number: UInt32) -> EndpointID? {
    guard let listener = listeners.removeValue(forKey: number) else { return nil }
    removeAcceptors { $0.listener == number }
    endpoints[listener.endpoint].listenerCount -= 1
    if !listener.isIPv6Only { endpoints[listener.endpoint].dualStackCount -= 1 }
    return endpoints[listener.endpoint].listenerCount == 0 ? listener.endpoint : nil
  }

  /// Forgets an endpoint without listeners.
  mutating func removeEndpoint(_ id: EndpointID) {
    portLinks.remove(id, from: &ports[Self.list(of: endpoints[id].port)])
    endpoints.free(id)
  }

  /// Lets connections of a listener go to a channel; nil if there is no such listener or no room.
  func join(_ number: UInt32, channel: ChannelID, isRemote: Bool) -> EndpointID? {
    guard let endpoint = listeners[number]?.endpoint else { return nil }
    if let existing = find(number, channel) {
      acceptors[existing].isRemote = isRemote
      return endpoint
    }
    let acceptor = Acceptor(
      endpoint: endpoint, listener: number, channel: channel, isRemote: isRemote, isPaused: false)
    guard let id = acceptors.allocate(acceptor) else { return nil }
    acceptorLinks.append(id, to: &endpoints[endpoint].acceptors)
    return endpoint
  }

  /// The acceptor of a listener on a channel.
  func find(_ number: UInt32, _ channel: ChannelID) -> AcceptorID? {
    guard let endpoint = listeners[number]?.endpoint else { return nil }
    var id = endpoints[endpoint].acceptors.first
    while id != .none {
      if acceptors[id].listener == number && acceptors[id].channel == channel { return id }
      id = acceptorLinks.next(after: id)
    }
    return nil
  }

  /// No more connections of any listener, or of one, for a channel.
  func leave(_ channel: ChannelID, listener: UInt32? = nil) {
    removeAcceptors { $0.channel == channel && (listener == nil || $0.listener == listener) }
  }

  private func removeAcceptors(where matches: (Acceptor) -> Bool) {
    for raw in 0..<acceptors.watermark {
      let id = AcceptorID(raw: raw)
      guard acceptors.isAllocated(id), matches(acceptors[id]) else { continue }
      acceptorLinks.remove(id, from: &endpoints[acceptors[id].endpoint].acceptors)
      acceptors.free(id)
    }
  }

  /// The acceptor for the next connection, in turn; a remote one only if no local one is active, and a busy one
  /// only if none of the next few waits: its application may be at work for long, which may not be for others.
  /// `canTake` tells whether a channel has room, `isWaiting` whether its application sleeps.
  func nextAcceptor(
    of id: EndpointID, canTake: (ChannelID) -> Bool, isWaiting: (ChannelID) -> Bool
  ) -> AcceptorID? {
    var local: AcceptorID?
    var remote: AcceptorID?
    var busy = 0
    var candidate = endpoints[id].acceptors.first
    while candidate != .none, busy < Self.mostBusy {
      let acceptor = acceptors[candidate]
      let next = acceptorLinks.next(after: candidate)
      if !acceptor.isPaused && canTake(acceptor.channel) {
        if acceptor.isRemote {
          if remote == nil { remote = candidate }
        } else if busy == 0 && next == .none || isWaiting(acceptor.channel) {
          local = candidate
          break
        } else {
          if local == nil { local = candidate }
          busy += 1
        }
      }
      candidate = next
    }
    let chosen = local ?? remote
    if let chosen { rotate(chosen, in: id) }
    return chosen
  }

  /// An acceptor has taken a connection. True: it is paused now.
  func pauseAfterOne(_ id: AcceptorID) -> Bool {
    let list = endpoints[acceptors[id].endpoint].acceptors
    guard acceptors[id].takesOne, list.first != list.last else { return false }
    acceptors[id].isPaused = true
    return true
  }

  /// Busy acceptors after which nobody is looked for who waits.
  private static var mostBusy: Int { 16 }

  /// Whether an acceptor of the engine's own core is active, with room or without.
  func hasLocalAcceptor(of id: EndpointID) -> Bool {
    var candidate = endpoints[id].acceptors.first
    while candidate != .none {
      if !acceptors[candidate].isPaused && !acceptors[candidate].isRemote { return true }
      candidate = acceptorLinks.next(after: candidate)
    }
    return false
  }

  /// Whether there is an acceptor for the next connection.
  func hasAcceptor(of id: EndpointID, canTake: (ChannelID) -> Bool) -> Bool {
    var candidate = endpoints[id].acceptors.first
    while candidate != .none {
      if !acceptors[candidate].isPaused && canTake(acceptors[candidate].channel) { return true }
      candidate = acceptorLinks.next(after: candidate)
    }
    return false
  }

  private func rotate(_ acceptor: AcceptorID, in id: EndpointID) {
    acceptorLinks.remove(acceptor, from: &endpoints[id].acceptors)
    acceptorLinks.append(acceptor, to: &endpoints[id].acceptors)
  }
}
