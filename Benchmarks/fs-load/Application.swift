import FSRing
import FSStack
import Foundation
import Laboratory

/// The load itself: what a program would do with its sockets.
///
/// What an event leads to is in `Application+Events`.
@safe
struct Application {
  /// One connection, by its slot.
  struct Connection {
    enum Phase: UInt8 {
      /// None.
      case free
      case connecting
      /// Established, nothing asked.
      case ready
      /// A request is under way.
      case waiting
      /// Established; it only exists.
      case idle
      /// Opened by a proxy, whose requests are answered on it.
      case serving
      /// Closed; its slot is not released yet.
      case closing
    }

    var phase = Phase.free
    /// The server has said that it sends no more.
    var peerFinished = false
    /// When the request under way was due.
    var began: UInt64 = 0
    /// Bytes of its answer.
    var received = 0
    /// Bytes read of which the engine has not been told.
    var unconsumed: UInt32 = 0
    var chunks = ChannelEnd.ChunkQueue()
  }

  let order: LoadOrder
  let destination: IPAddress
  let port: UInt16
  let sources: [IPAddress]
  var channel: ChannelEnd
  var exchange: Exchange
  let connections: UnsafeMutablePointer<Connection>
  /// Connections in each phase but `free` and `closing`.
  var openingCount = 0
  var readyCount = 0
  var waitingCount = 0
  var idleCount = 0
  private var nextSource = 0
  /// Connections that wait for a request to be due, oldest first.
  private var ready: Queue<UInt32>
  /// Nil while the next request follows an answer.
  var arrivals: Arrivals?
  /// No further request is begun, but those that were due before.
  var isOver = false
  var tally: Tally

  /// Connections that are opened at the same time at most.
  private static let openingLimit = 256

  init(_ order: LoadOrder, destination: IPAddress, port: UInt16, sources: [IPAddress]) {
    self.order = order
    self.destination = destination
    self.port = port
    self.sources = sources
    exchange = Exchange(order)
    // Closed ones keep their slots for a while.
    let slots = order.connections * 2 + order.idle + 2048
    channel = ChannelEnd(connections: slots, payload: exchange.payload)
    unsafe connections = .allocate(capacity: slots * 2)
    unsafe connections.initialize(repeating: Connection(), count: slots * 2)
    ready = Queue(capacity: order.connections)
    tally = Tally()
  }

  func deallocate() {
    channel.deallocate()
    unsafe connections.deallocate()
  }

  func index(_ slot: UInt32) -> Int { Int(slot) }

  /// Connections that carry requests.
  var activeCount: Int { openingCount + readyCount + waitingCount }
  /// Whether every connection of the order is there.
  var isComplete: Bool {
    idleCount == order.idle && exchange.answer != nil
      && (order.rate > 0 || activeCount >= order.connections)
  }

  /// When the next of the requests that count is due.
  var nextDue: UInt64? { arrivals.flatMap { $0.next < tally.end ? $0.next : nil } }
  /// Whether all that was begun or due is answered.
  var isDrained: Bool { openingCount + waitingCount == 0 && nextDue == nil }

  /// Counts what was due and is not answered.
  mutating func countUnanswered() -> Int {
    var count = openingCount + waitingCount
    while nextDue != nil {
      count += 1
      arrivals?.advance()
    }
    return count
  }

  /// Takes all events and does what is due. True when there was anything.
  mutating func run(_ now: UInt64) throws -> Bool {
    let count = try channel.readyCount()
    var taken: UInt32 = 0
    while taken < count, channel.hasRoom() {
      try take(channel.events.element(at: taken), now)
      taken += 1
    }
    if taken > 0 { channel.release(taken) }
    let hasBegun = isOver && nextDue == nil ? false : beginDue(now)
    channel.publish()
    return taken > 0 || hasBegun
  }

  // MARK: Requests

  /// Opens what is missing, and begins the requests that are due.
  private mutating func beginDue(_ now: UInt64) -> Bool {
    if exchange.answer == nil, order.kind.isHTTP {
      return activeCount == 0 && open(now)
    }
    if idleCount < order.idle || (arrivals == nil || !order.kind.isShort) {
      var hasOpened = false
      let wanted = order.connections + order.idle
      while activeCount + idleCount < wanted, openingCount < Self.openingLimit, channel.hasRoom(),
        open(now)
      {
        hasOpened = true
      }
      if arrivals == nil { return hasOpened }
    }
    return beginArrivals(now)
  }

  private mutating func beginArrivals(_ now: UInt64) -> Bool {
    var hasBegun = false
    while let due = nextDue, due <= now, channel.hasRoom() {
      if order.kind.isShort {
        guard activeCount < order.connections, open(due) else { break }
      } else {
        guard let slot = ready.removeFirst() else { break }
        // It may have been closed since.
        guard unsafe connections[index(slot)].phase == .ready else { continue }
        guard ask(slot, due) else {
          ready.append(slot)
          break
        }
      }
      arrivals?.advance()
      hasBegun = true
    }
    return hasBegun
  }

  /// Opens a connection whose request is due at `due`. False: there is no slot.
  private mutating func open(_ due: UInt64) -> Bool {
    guard let slot = channel.takeSlot() else { return false }
    let source = sources[nextSource]
    nextSource = nextSource + 1 == sources.count ? 0 : nextSource + 1
    unsafe connections[index(slot)] = Connection(phase: .connecting, began: due)
    openingCount += 1
    tally.opened += 1
    var command = Command(.connect, slot: slot)
    command.remoteHigh = destination.high
    command.remoteLow = destination.low
    command.remotePort = port
    command.localHigh = source.high
    command.localLow = source.low
    channel.submit(command)
    return true
  }

  /// Begins a request on an established connection. False: nothing can be sent.
  mutating func ask(_ slot: UInt32, _ due: UInt64) -> Bool {
    let place = index(slot)
    guard unsafe channel.send(exchange.request.count, on: slot, &connections[place].chunks) else {
      return false
    }
    unsafe connections[place].began = due
    unsafe connections[place].received = 0
    move(place, to: .waiting)
    return true
  }

  /// What a connection does that has nothing under way.
  mutating func goOn(_ slot: UInt32, _ now: UInt64) {
    if arrivals == nil {
      if isOver { return }
      if !ask(slot, now) { ready.append(slot) }
    } else {
      ready.append(slot)
    }
  }

  /// Enters another phase, and counts.
  mutating func move(_ place: Int, to phase: Connection.Phase) {
    count(unsafe connections[place].phase, -1)
    count(phase, 1)
    unsafe connections[place].phase = phase
  }

  private mutating func count(_ phase: Connection.Phase, _ difference: Int) {
    switch phase {
    case .connecting: openingCount += difference
    case .ready: readyCount += difference
    case .waiting: waitingCount += difference
    case .idle: idleCount += difference
    case .free, .closing, .serving: break
    }
  }
}

extension LoadKind {
  /// Whether HTTP is spoken.
  var isHTTP: Bool { self == .close || self == .keepAlive }
}
