import FSStack
import Glibc
import Testing

@testable import FSStack
@testable import fsd

private func socket(
  _ address: String, _ port: UInt16, cookie: UInt64, ipv6Only: Bool = false
) throws -> ListeningSocket {
  ListeningSocket(
    address: try #require(IPAddress(address)), port: port, ipv6Only: ipv6Only, cookie: cookie)
}

private struct Bench {
  let engines: [ImitationEngine]
  let steering = ImitationSteering()
  let table: ListenerTable

  init(engines count: Int) {
    engines = (0..<count).map { ImitationEngine(index: $0, processor: $0) }
    table = ListenerTable(engines: engines, steering: steering)
  }

  func listen(
    _ process: UInt64, _ socket: ListeningSocket,
    reach: ListenerTable.Reach = ListenerTable.Reach(interfaces: true, host: false)
  ) throws -> UInt32 {
    try table.listen(
      ProcessNumber(value: process), socket, backlog: 16, reach: reach
    ).get()
  }

  func unlisten(_ process: UInt64, _ number: UInt32) {
    _ = table.unlisten(ProcessNumber(value: process), number)
  }

  /// A process joins with a new channel of an engine.
  func join(_ process: UInt64, _ number: UInt32, engine: Int) throws {
    let channel = try Channel.make(.standard).channel
    let id = try #require(engines[engine].attach(channel))
    let error = table.join(
      number,
      ListenerTable.Acceptor(
        process: ProcessNumber(value: process), engine: engine, channel: id, remote: false))
    if let error { throw error }
  }

  func invitations(tick: UInt64) -> [(process: UInt64, listener: UInt32, engine: Int)] {
    table.dueInvitations(tick: tick).map { ($0.process.value, $0.listener, $0.engine) }
  }
}

extension Serially {
  @Suite struct ListenerTableTests {
    @Test func dualStackWildcardTakesBothFamilies() throws {
      let bench = Bench(engines: 1)
      let both = try bench.listen(1, try socket("::", 80, cookie: 1))
      bench.table.ports.review()
      #expect(bench.steering["::", 80] == .all)
      #expect(bench.steering["0.0.0.0", 80] == .all)
      _ = try bench.listen(1, try socket("::", 81, cookie: 2, ipv6Only: true))
      bench.table.ports.review()
      #expect(bench.steering["::", 81] == .all)
      #expect(bench.steering["0.0.0.0", 81] == nil)
      bench.unlisten(1, both)
      #expect(bench.steering["0.0.0.0", 80] == .draining)
    }

    /// No engine may get packets of a port that it does not know.
    @Test func anEngineWithoutRoomForAListenerGetsNoPackets() throws {
      let bench = Bench(engines: 2)
      bench.engines[1].listenerRoom = 1
      let first = try bench.listen(1, try socket("0.0.0.0", 80, cookie: 1))
      #expect(throws: ErrnoValue(ENOBUFS)) {
        try bench.listen(1, try socket("0.0.0.0", 81, cookie: 2))
      }
      #expect(bench.steering["0.0.0.0", 81] == nil)
      for engine in bench.engines { #expect(engine.listeners.keys.elementsEqual([first])) }
      bench.unlisten(1, first)
      _ = try bench.listen(1, try socket("0.0.0.0", 81, cookie: 2))
    }

    /// Nor of one for which it has no acceptor, and no room for one.
    @Test func anEngineWithoutRoomForAnAcceptorGetsNoNewConnections() throws {
      let bench = Bench(engines: 2)
      let first = try bench.listen(1, try socket("0.0.0.0", 80, cookie: 1))
      let other = try bench.listen(2, try socket("0.0.0.0", 80, cookie: 2))
      try bench.join(1, first, engine: 0)
      try bench.join(1, first, engine: 1)
      bench.engines[1].acceptorRoom = 1
      #expect(throws: ErrnoValue(ENOBUFS)) { try bench.join(2, other, engine: 1) }
      #expect(bench.steering["0.0.0.0", 80] == .exceptKernelFlows, "the first accepts there")
      let third = try bench.listen(3, try socket("0.0.0.0", 81, cookie: 3))
      try bench.join(3, third, engine: 0)
      #expect(throws: ErrnoValue(ENOBUFS)) { try bench.join(3, third, engine: 1) }
      #expect(bench.steering["0.0.0.0", 81] == .draining)
      bench.unlisten(3, third)
      bench.table.ports.review()
      #expect(bench.steering["0.0.0.0", 81] == nil)
    }

    @Test func portDrainsUntilItsLastConnectionIsGone() throws {
      let bench = Bench(engines: 2)
      let number = try bench.listen(1, try socket("0.0.0.0", 80, cookie: 1))
      #expect(bench.table.needsReview)
      bench.table.ports.review()
      #expect(!bench.table.needsReview)
      bench.engines[1].connections[80] = 1
      bench.unlisten(1, number)
      #expect(bench.engines.allSatisfy { $0.listeners.isEmpty })
      #expect(bench.steering["0.0.0.0", 80] == .draining)
      #expect(bench.table.needsReview)
      bench.table.ports.review()
      #expect(bench.steering["0.0.0.0", 80] == .draining)
      bench.engines[1].connections[80] = 0
      bench.table.ports.review()
      #expect(bench.steering.ports.isEmpty)
      #expect(!bench.table.needsReview)
    }

    @Test func newListenerTakesADrainingPort() throws {
      let bench = Bench(engines: 1)
      let first = try bench.listen(1, try socket("10.0.0.1", 80, cookie: 1))
      bench.engines[0].connections[80] = 1
      bench.unlisten(1, first)
      _ = try bench.listen(2, try socket("10.0.0.1", 80, cookie: 2))
      #expect(bench.steering["10.0.0.1", 80] == .exceptKernelFlows)
      bench.engines[0].connections[80] = 0
      bench.table.ports.review()
      #expect(bench.steering["10.0.0.1", 80] == .all)
    }

    @Test func wildcardReplacesADrainingAddress() throws {
      let bench = Bench(engines: 1)
      let specific = try bench.listen(1, try socket("10.0.0.1", 80, cookie: 1))
      bench.engines[0].connections[80] = 1
      bench.unlisten(1, specific)
      #expect(bench.steering["10.0.0.1", 80] == .draining)
      _ = try bench.listen(1, try socket("0.0.0.0", 80, cookie: 2))
      #expect(bench.steering["10.0.0.1", 80] == nil, "it would keep new connections away")
      let other = try bench.listen(1, try socket("10.0.0.2", 80, cookie: 3))
      bench.unlisten(1, other)
      #expect(bench.steering["10.0.0.2", 80] == nil)
      #expect(bench.steering["0.0.0.0", 80] == .exceptKernelFlows)
    }

    @Test func kernelsConnectionsAreSpared() throws {
      let bench = Bench(engines: 1)
      bench.steering.kernelPorts = [80]
      for port in [80, 90] as [UInt16] {
        _ = try bench.listen(1, try socket("0.0.0.0", port, cookie: UInt64(port)))
        #expect(bench.steering["0.0.0.0", port] == .exceptKernelFlows)
      }
      bench.table.ports.review()
      #expect(bench.steering["0.0.0.0", 80] == .exceptKernelFlows)
      #expect(bench.steering["0.0.0.0", 90] == .all)
      bench.steering.kernelPorts = []
      for _ in 0..<SteeredPorts.kernelReviewPeriod { bench.table.ports.review() }
      #expect(bench.steering["0.0.0.0", 80] == .all)
    }

    @Test func fullPortMapIsAnErrorWithoutRemains() throws {
      let bench = Bench(engines: 1)
      bench.steering.room = 1
      #expect(throws: ErrnoValue(ENOSPC)) {
        try bench.listen(1, try socket("::", 80, cookie: 1))
      }
      #expect(bench.engines[0].listeners.isEmpty)
      #expect(bench.table.listeners.isEmpty)
    }

    /// A listener that only this host reaches steers no port; who asks for an address and port within
    /// the host learns whether a listener there wants it accelerated.
    @Test func listenersWithinTheHost() throws {
      let bench = Bench(engines: 2)
      var changes = 0
      bench.table.onLoopbackChange = { changes += 1 }
      let inside = ListenerTable.Reach(interfaces: false, host: true)
      let both = ListenerTable.Reach(interfaces: true, host: true)
      let own = try bench.listen(1, try socket("127.0.0.1", 80, cookie: 1), reach: inside)
      #expect(bench.steering.ports.isEmpty && bench.engines[1].listeners.count == 1)
      _ = try bench.listen(1, try socket("::", 81, cookie: 2), reach: both)
      _ = try bench.listen(1, try socket("::", 82, cookie: 3, ipv6Only: true), reach: both)
      _ = try bench.listen(1, try socket("0.0.0.0", 83, cookie: 4))
      func accepts(_ address: String, _ port: UInt16) throws -> Bool {
        bench.table.acceptsLoopback(try #require(IPAddress(address)), port: port)
      }
      #expect(try accepts("127.0.0.1", 80) && !accepts("127.0.0.2", 80) && !accepts("::1", 80))
      #expect(try accepts("127.0.0.1", 81) && accepts("::1", 81))
      #expect(try !accepts("127.0.0.1", 82) && accepts("::1", 82))
      #expect(try !accepts("127.0.0.1", 83) && changes == 3)
      bench.unlisten(1, own)
      #expect(try !accepts("127.0.0.1", 80) && changes == 4)
      #expect(throws: ErrnoValue(EOPNOTSUPP)) {
        try bench.listen(
          1, try socket("192.0.2.1", 80, cookie: 5),
          reach: ListenerTable.Reach(interfaces: false, host: false))
      }
    }

    @Test func inheritedListenerLivesWithItsLastProcess() throws {
      let bench = Bench(engines: 1)
      let shared = try socket("0.0.0.0", 80, cookie: 1)
      let number = try bench.listen(1, shared)
      #expect(try bench.listen(2, shared) == number)
      bench.table.processGone(ProcessNumber(value: 1))
      #expect(bench.steering["0.0.0.0", 80] == .exceptKernelFlows)
      bench.table.processGone(ProcessNumber(value: 2))
      #expect(bench.steering["0.0.0.0", 80] == .draining)
    }

    @Test func listenersAreLimitedPerProcess() throws {
      let bench = Bench(engines: 1)
      for cookie in 0..<UInt64(ListenerTable.limitPerProcess) {
        _ = try bench.listen(1, try socket("0.0.0.0", 80, cookie: cookie))
      }
      #expect(throws: ErrnoValue(EMFILE)) {
        try bench.listen(1, try socket("0.0.0.0", 80, cookie: 5000))
      }
      _ = try bench.listen(2, try socket("0.0.0.0", 80, cookie: 5000))
    }

    @Test func engineWithoutAcceptorGetsOneByInvitation() throws {
      let bench = Bench(engines: 3)
      let first = try bench.listen(1, try socket("0.0.0.0", 80, cookie: 1))
      #expect(bench.invitations(tick: 0).isEmpty, "no one accepts anywhere yet")
      // A group of sockets with SO_REUSEPORT counts as one.
      let second = try bench.listen(2, try socket("0.0.0.0", 80, cookie: 2))
      try bench.join(1, first, engine: 0)
      try bench.join(2, second, engine: 1)
      let invited = bench.invitations(tick: 0)
      #expect(invited.count == 1)
      #expect(invited[0].engine == 2)
      #expect(invited[0].listener == (invited[0].process == 1 ? first : second))
      #expect(bench.invitations(tick: 0).isEmpty, "asked once")
      bench.table.ports.review()
      #expect(bench.table.needsReview, "the invitation is open")
      let again = bench.invitations(tick: 1)
      #expect(again.count == 1)
      #expect(again[0].process != invited[0].process, "the other one this time")
      #expect(bench.invitations(tick: 2).isEmpty, "pauses grow")
      #expect(bench.invitations(tick: 3).count == 1)
      try bench.join(1, first, engine: 2)
      #expect(bench.invitations(tick: 100).isEmpty)
      #expect(!bench.table.needsReview)
    }

    @Test func deathOfTheOnlyAcceptorInvitesAnotherAtOnce() throws {
      let bench = Bench(engines: 2)
      let shared = try socket("0.0.0.0", 80, cookie: 1)
      let number = try bench.listen(1, shared)
      _ = try bench.listen(2, shared)
      try bench.join(1, number, engine: 0)
      try bench.join(2, number, engine: 1)
      #expect(bench.invitations(tick: 0).isEmpty)
      bench.table.processGone(ProcessNumber(value: 1))
      let invited = bench.invitations(tick: 0)
      #expect(invited.map(\.process) == [2])
      #expect(invited.map(\.engine) == [0])
    }
  }
}
