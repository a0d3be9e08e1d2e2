import FSRing

@testable import FSStack

/// One side of a connection, acting by its part of a plan.
final class SwarmTraffic {
  let socket: TestSocket
  let side: SwarmPlan.Side
  let exchanges: [(request: Int, response: Int)]
  private unowned let simulation: Simulation
  private var random: SplitMix64
  private var isResting = false
  private var hasStalled = false
  private var isBegun = false
  private var isFlushing = false
  /// It has ended by RST, or with bytes unread.
  private(set) var hasAbandoned = false
  /// When it began to wait for room to write.
  private(set) var waitsSince: Instant?
  /// Called a little after it has closed.
  var onOver: (() -> Void)?
  /// Once true it neither rests nor stalls.
  var isHurried = false

  init(_ socket: TestSocket, _ plan: SwarmPlan, _ simulation: Simulation, seed: UInt64) {
    self.socket = socket
    side = socket.isServer ? plan.server : plan.client
    exchanges = plan.exchanges
    self.simulation = simulation
    random = SplitMix64(seed: seed)
    socket.sendBuffer = side.sendBuffer
  }

  /// Whether it has closed.
  var isOver: Bool { socket.isClosed }

  /// Everything it sees: what grows with progress.
  var progress: Int {
    socket.bytesSent + socket.bytesAcknowledged + socket.bytesReceived + socket.unread
      + (socket.isConnected ? 1 : 0) + (socket.peerFinished ? 1 : 0) + (socket.isClosed ? 1 : 0)
      + (socket.error == nil ? 0 : 1)
  }

  /// Does what there is to do.
  func step() {
    guard !socket.isClosed else { return }
    act()
    if socket.isClosed { simulation.after(.microseconds(100)) { [self] in onOver?() } }
    if socket.application.isHeldUp { flushLater() }
  }

  /// The command ring is full: what waits for room is entered bit by bit, the close of a socket that
  /// is over, too. Nobody is woken for room.
  private func flushLater() {
    guard !isFlushing else { return }
    isFlushing = true
    simulation.after(.microseconds(100)) { [self] in
      isFlushing = false
      socket.application.publish()
      step()
      if socket.application.isHeldUp { flushLater() }
    }
  }

  private func act() {
    if socket.error != nil {
      socket.close()
      return
    }
    begin()
    guard socket.isConnected, !isResting else { return }
    if abandons() { return }
    if !isHurried, random.chance(side.restShare) {
      rest(.microseconds(UInt64.random(in: 1...side.longestRest, using: &random)))
      return
    }
    if let stall = side.stall, !hasStalled, !isHurried, socket.bytesReceived >= stall.after {
      hasStalled = true
      rest(stall.duration)
      return
    }
    socket.read(isHurried ? .max : side.readLimit)
    // What it has not read it will read later: nobody wakes it for that.
    if socket.unread > 0 { rest(.microseconds(isHurried ? 1 : 100)) }
    if random.chance(side.optionShare) { setOption() }
    write()
    end()
  }

  private func begin() {
    guard !isBegun else { return }
    isBegun = true
    if side.keepAlive {
      socket.setOption(level: 1, name: 9, 1)
      socket.setOption(level: 6, name: 4, Int32.random(in: 1...3, using: &random))
      socket.setOption(level: 6, name: 5, 1)
      socket.setOption(level: 6, name: 6, 20)
    }
    if side.userTimeout > 0 { socket.setOption(level: 6, name: 18, side.userTimeout) }
    for _ in 0..<side.optionFlood { setOption() }
  }

  // MARK: Writing

  /// About how many calls it takes to write what is left, at most: a piece has half the limit on
  /// average.
  var writesToCome: Int {
    (side.bytesToSend - socket.bytesSent) * 4 / min(side.writeLimit, side.sendBuffer) + 10
  }

  /// Bytes that it may have sent by now.
  private var sendLimit: Int {
    guard !exchanges.isEmpty else { return side.bytesToSend }
    var (sent, received) = (0, 0)
    let available = socket.bytesReceived + socket.unread
    for exchange in exchanges {
      if socket.isServer {
        received += exchange.request
        if available < received { return sent }
        sent += exchange.response
      } else {
        sent += exchange.request
        received += exchange.response
        if available < received { return sent }
      }
    }
    return side.bytesToSend
  }

  private func write() {
    let limit = sendLimit
    while socket.bytesSent < limit, !socket.isShut {
      let piece = min(
        limit - socket.bytesSent, Int.random(in: 1...side.writeLimit, using: &random))
      let sent = socket.send(
        piece, more: random.chance(0.1) && piece < 1000, urgent: random.chance(side.urgentShare))
      if sent > 0 { waitsSince = nil }
      if sent < piece {
        if waitsSince == nil { waitsSince = simulation.now }
        socket.application.wantSpace()
        return
      }
      if !isHurried, random.chance(side.restShare) {
        rest(.microseconds(UInt64.random(in: 1...side.longestRest, using: &random)))
        return
      }
    }
  }

  // MARK: Ending

  private func abandons() -> Bool {
    let count = socket.bytesSent + socket.bytesReceived
    switch side.ending {
    case .reset(let limit) where count >= limit:
      hasAbandoned = true
      socket.close(reset: true)
      return true
    case .unread(let limit) where count >= limit && socket.unread > 0:
      hasAbandoned = true
      socket.close()
      return true
    case .orderly, .afterPeer, .atOnce, .reset, .unread:
      return false
    }
  }

  private func end() {
    guard socket.bytesSent == side.bytesToSend else { return }
    switch side.ending {
    case .atOnce:
      if socket.bytesReceived == side.bytesToRead { socket.close() }
      return
    case .afterPeer:
      if socket.peerFinished { socket.shutdown() }
    case .orderly, .reset, .unread:
      socket.shutdown()
    }
    if socket.isShut, socket.peerFinished, socket.unread == 0 { socket.close() }
  }

  // MARK: Options

  private func setOption() {
    let boolean = Int32.random(in: 0...1, using: &random)
    switch Int.random(in: 0..<8, using: &random) {
    case 0: socket.setOption(level: 6, name: 1, boolean)  // TCP_NODELAY
    case 1: socket.setOption(level: 6, name: 3, boolean)  // TCP_CORK
    case 2: socket.setOption(level: 6, name: 12, boolean)  // TCP_QUICKACK
    case 3:  // SO_RCVBUF
      socket.setOption(level: 1, name: 8, Int32.random(in: 1000...200_000, using: &random))
    case 4:  // TCP_MAXSEG
      socket.setOption(level: 6, name: 2, Int32.random(in: 100...2000, using: &random))
    case 5:  // IP_TOS or IPV6_TCLASS
      socket.setOption(level: 0, name: 1, Int32.random(in: 0...255, using: &random))
      socket.setOption(level: 41, name: 67, Int32.random(in: 0...255, using: &random))
    case 6: socket.setOption(level: 1, name: 9, boolean)  // SO_KEEPALIVE
    default: socket.setOption(level: 6, name: 4, Int32.random(in: 1...100, using: &random))
    }
  }

  private func rest(_ span: Interval) {
    guard !isResting else { return }
    isResting = true
    simulation.after(span) { [self] in
      isResting = false
      step()
    }
  }

  /// The trouble is over: what it rests for is over, too.
  func hurry() {
    isHurried = true
    isResting = false
    step()
  }
}

extension SwarmTraffic: CustomStringConvertible {
  var description: String {
    let kind = socket.isServer ? "server" : "client"
    return "\(kind) \(socket.port): \(socket.bytesSent) of \(side.bytesToSend) sent, "
      + "\(socket.bytesAcknowledged) acknowledged, \(socket.bytesReceived) of \(side.bytesToRead) "
      + "read, \(socket.unread) unread, finished \(socket.peerFinished), error "
      + "\(socket.error ?? 0)\(socket.isClosed ? ", closed" : "")"
  }
}
