import FSRing
import FSStack

/// Two hosts on one link in memory, a client and a server, in virtual time.
struct BackToBack: ~Copyable {
  var client: EngineHost
  var server: EngineHost
  private(set) var now = Instant(nanoseconds: 1_000_000_000)
  private var clients: [ClientProgram] = []
  private var servers: [ServerProgram] = []
  private var turn: UInt64 = 0x9e37_79b9_7f4a_7c15

  /// Frames taken at a time, as fsd does.
  private static let burst = 64
  /// What one round takes of virtual time: about what it takes of real time, so that as many
  /// acknowledgements are delayed at a time, and as many chunks wait for them.
  private static let round = Interval.microseconds(400)
  /// After so long without requests everything that was delayed is done.
  private static let quiet = Interval.milliseconds(300)
  private static let ports: ClosedRange<UInt16> = 8000...8031
  /// Connections of one channel, where there are several: as many as one may have.
  private static let perChannel = 1 << 18
  /// Chunks to send of one channel, at most: more than wait for acknowledgements, which are delayed, at a time.
  private static let sendChunks = 1 << 14

  /// `connections` open at a time, at most; bytes of a request and of its answer.
  init(connections: Int, requestSize: Int, responseSize: Int, closes: Bool) {
    client = EngineHost(number: 1, connections: connections + 4096, now: now)
    server = EngineHost(number: 2, connections: connections + 4096, now: now)
    client.addPath(to: server.address, server.macAddress)
    server.addPath(to: client.address, client.macAddress)
    let channelCount = (connections + Self.perChannel - 1) / Self.perChannel
    // Closed connections keep their slots for a while.
    let slots = channelCount == 1 ? max(connections, 512) : 2 * Self.perChannel
    let sendChunks = min(max(4096, connections), Self.sendChunks)
    for _ in 0..<channelCount {
      let asking = ProgramEnd(
        connections: slots, sendChunks: sendChunks,
        message: [UInt8](repeating: UInt8(ascii: "q"), count: requestSize))
      _ = client.attach(asking.channel)
      clients.append(
        ClientProgram(
          asking, local: client.address, remote: server.address, ports: Self.ports,
          responseSize: responseSize))
      let answering = ProgramEnd(
        connections: slots, sendChunks: sendChunks,
        message: [UInt8](repeating: UInt8(ascii: "r"), count: responseSize))
      let channel = server.attach(answering.channel)
      for port in Self.ports { server.listen(on: port, channel, now: now) }
      servers.append(ServerProgram(answering, requestSize: requestSize, closes: closes))
    }
  }

  deinit {
    for program in clients { program.end.channel.deallocate() }
    for program in servers { program.end.channel.deallocate() }
  }

  /// One turn of everybody.
  mutating func round(after pause: Interval = Self.round) {
    now = now + pause
    for index in clients.indices { clients[index].publish() }
    _ = server.deliver(to: &client, limit: Self.burst, now: now)
    client.finishTurn(now: now)
    for index in clients.indices { clients[index].run() }
    _ = client.deliver(to: &server, limit: Self.burst, now: now)
    server.finishTurn(now: now)
    for index in servers.indices { servers[index].run() }
  }

  /// Opens, uses and closes `count` short connections, `concurrency` at a time.
  mutating func runShort(_ count: Int, concurrency: Int) {
    var opened = 0
    let before = clients[0].released
    while clients[0].released - before < count {
      let open = opened - (clients[0].released - before)
      for _ in 0..<max(min(concurrency - open, count - opened), 0) where clients[0].open() {
        opened += 1
      }
      round()
    }
  }

  /// Opens `count` connections that stay idle.
  mutating func open(_ count: Int, concurrency: Int) {
    for index in clients.indices { clients[index].sendsAtOnce = false }
    var opened = 0
    while established < count {
      for index in clients.indices {
        let room = min(concurrency - (opened - established), count - opened)
        for _ in 0..<max(room, 0) where clients[index].open() { opened += 1 }
      }
      round()
    }
    // What is still to be acknowledged.
    for _ in 0..<2000 { round() }
  }

  private var established: Int { clients.reduce(0) { $0 + $1.established } }
  private var answers: Int { clients.reduce(0) { $0 + $1.answers } }

  /// As `runRequests`, but between two requests of a connection all that was delayed is done, as if it were
  /// asked seldom, however few there are: every answer is acknowledged by itself.
  mutating func runSeldomRequests(_ count: Int, concurrency: Int) {
    for first in stride(from: 0, to: count, by: concurrency) {
      runRequests(min(concurrency, count - first), concurrency: concurrency)
      let end = now + Self.quiet
      while now < end {
        let next = min(client.engine.nextDeadline() ?? end, server.engine.nextDeadline() ?? end)
        round(after: max(min(next, end) - now, Self.round))
      }
    }
  }

  /// Sends `count` requests on the open connections, in no order, `concurrency` at a time.
  mutating func runRequests(_ count: Int, concurrency: Int) {
    let before = answers
    var asked = 0
    while answers - before < count {
      let underWay = asked - (answers - before)
      for _ in 0..<max(min(concurrency - underWay, count - asked), 0) {
        turn = turn &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        let choice = Int(turn >> 33)
        if clients[choice % clients.count].ask(choice / clients.count) { asked += 1 }
      }
      round()
    }
  }
}
