import CLinux
import FSRing
@testable import FSStack
import Glibc
import Testing

@testable import fsd

// Connections that processes share: who may have the kernel's socket, and how long it is kept.

/// A connection of a peer's port, on a channel.
private func connection(
  _ port: UInt16, channel: UInt32 = 0, at moment: Instant = .current, listener: UInt32? = nil
) -> ExportedConnection {
  ExportedConnection(
    address: FlowAddress(
      local: IPAddress(v4: 10, 0, 0, 1), localPort: 80, remote: IPAddress(v4: 10, 0, 0, 2),
      remotePort: port),
    sendUnacknowledged: 1, receiveNext: 1, sendWindow: 0, largestSendWindow: 0,
    windowUpdateSequence: 1, receiveWindow: 0, sendScale: 0, receiveScale: 0,
    maximumSegmentSize: 1460, permitsSelectiveAcknowledgements: false, timestamp: nil,
    isReadOver: false, isWriteShut: false, unread: [], unacknowledged: [], unsent: [],
    listener: listener, channel: ChannelID(raw: channel), ownedSince: moment)
}

extension TestClient {
  /// A request about the connection of a peer's port.
  fileprivate func ask(
    _ kind: ControlKind, port: UInt16, _ change: (inout ControlMessage) -> Void = { _ in }
  ) throws -> ControlPacket? {
    let flow = connection(port).address
    return try ask(kind) {
      ($0.localHigh, $0.localLow, $0.localPort) = (flow.local.high, flow.local.low, flow.localPort)
      ($0.addressHigh, $0.addressLow) = (flow.remote.high, flow.remote.low)
      $0.remotePort = flow.remotePort
      change(&$0)
    }
  }

  /// A process with a channel.
  fileprivate static func application(_ server: TestServer) throws -> TestClient {
    let client = try server.connect()
    _ = try client.ask(.hello)
    _ = try client.ask(.channel)
    return client
  }

  /// A child of this process.
  fileprivate func fork() throws -> TestClient {
    let reply = try #require(try ask(.fork))
    try #require(reply.message.status == 0 && reply.descriptors.count == 1)
    return TestClient(server, socket: reply.descriptors[0])
  }
}

extension Serially {
  @Suite struct KernelHandOverTests {
    /// The state of a reply: its status, and whether the socket came with it.
    private func outcome(_ packet: ControlPacket?) -> (Int32, Int)? {
      packet.map { ($0.message.status, $0.descriptors.count) }
    }

    @Test func ownerGetsItsOwn() throws {
      let server = try TestServer(engines: 2)
      let owner = try TestClient.application(server)
      server.engines[0].exportable[connection(1).address] = connection(1)
      let reply = try #require(try owner.ask(.adopt, port: 1))
      #expect(reply.message.status == 0 && reply.descriptors.count == 1)
      #expect(fcntl(reply.descriptors[0].number, F_GETFD) & FD_CLOEXEC != 0)
      #expect(server.made.requests.count == 1 && !server.made.requests[0].isIPv6)
      #expect(server.made.requests[0].user == geteuid() && server.made.ports == [80])
      #expect(server.server.held.count == 0, "nobody else may ask for it")
      #expect(server.server.handOvers.forOwners == 1)
      #expect(try owner.ask(.adopt, port: 1)?.message.status == ENOENT)
      #expect(try owner.ask(.adopt, port: 2)?.message.status == ENOENT)
      #expect(server.made.ports == [80], "the kernel gets nothing on the port of another's")
      #expect(try owner.ask(.adopt, port: 2) { $0.engine = 1 }?.message.status == ENOENT)
      #expect(try owner.ask(.adopt, port: 2) { $0.engine = 2 }?.message.status == EINVAL)
      #expect(try owner.ask(.surrender, port: 2) { $0.engine = .max }?.message.status == EINVAL)
    }

    @Test func strangersGetNothing() throws {
      let server = try TestServer()
      _ = try TestClient.application(server)
      let owner = try TestClient.application(server)
      server.engines[0].exportable[connection(1, channel: 1).address] = connection(1, channel: 1)
      let stranger = try TestClient.application(server)
      #expect(try stranger.ask(.adopt, port: 1)?.message.status == ENOENT)
      #expect(try stranger.ask(.surrender, port: 1)?.message.status == ESRCH)
      #expect(try stranger.ask(.disown, port: 1)?.message.status == 0)
      // Not a child's child either, if its parent has none of it.
      let child = try stranger.fork()
      #expect(try child.ask(.adopt, port: 1)?.message.status == ENOENT)
      #expect(server.made.requests.isEmpty)
      #expect(outcome(try owner.ask(.adopt, port: 1))! == (0, 1))
    }

    /// The child uses what it has inherited; the owner hears of it and may have it, too.
    @Test func childAdopts() throws {
      let server = try TestServer()
      let owner = try TestClient.application(server)
      server.engines[0].exportable[connection(1).address] = connection(1)
      let child = try owner.fork()
      #expect(server.engines[0].catchUps == 1)
      server.engines[0].exportable[connection(2).address] = connection(2, at: .current)
      #expect(try child.ask(.adopt, port: 2)?.message.status == ENOENT, "it is younger")
      #expect(
        outcome(try child.ask(.adopt, port: 1) { $0.flags = ControlFlags.ipv6Socket })! == (0, 1))
      #expect(server.made.requests[0].isIPv6)
      #expect(server.server.held.count == 1 && server.server.handOvers.forHeirs == 1)
      #expect(outcome(try owner.ask(.adopt, port: 1))! == (0, 1))
      #expect(server.server.held.count == 0)
      #expect(server.made.requests.count == 1, "the same socket")
    }

    /// The owner closes what the child has taken a moment ago: it gets the socket, for bytes that were on
    /// their way to the engine.
    @Test func ownerClosesWhatHasMoved() throws {
      let server = try TestServer()
      let owner = try TestClient.application(server)
      server.engines[0].exportable[connection(1).address] = connection(1)
      let child = try owner.fork()
      #expect(outcome(try child.ask(.adopt, port: 1))! == (0, 1))
      #expect(outcome(try owner.ask(.surrender, port: 1))! == (0, 1))
      #expect(server.server.held.count == 0 && server.server.handOvers.surrendered == 0)
    }

    /// The owner closes while the child may have it: it goes on until the child has closed it.
    @Test(arguments: ["adopts", "disowns", "disowns all", "ends"])
    func ownerSurrenders(child does: String) throws {
      let server = try TestServer()
      let owner = try TestClient.application(server)
      server.engines[0].exportable[connection(1).address] = connection(1)
      #expect(try owner.ask(.surrender, port: 1)?.message.status == ESRCH, "nobody has it")
      var child: TestClient? = try owner.fork()
      server.engines[0].exportable[connection(2).address] = connection(2, at: .current)
      #expect(try owner.ask(.surrender, port: 2)?.message.status == ESRCH, "it is younger")
      #expect(outcome(try owner.ask(.surrender, port: 1))! == (0, 0))
      #expect(server.server.held.count == 1 && server.made.isOpen(1))
      #expect(server.server.handOvers.surrendered == 1)
      switch does {
      case "adopts":
        var reply = try child?.ask(.adopt, port: 1)
        #expect(outcome(reply)! == (0, 1))
        #expect(server.made.isOpen(1))
        reply = nil
      case "disowns": _ = try child?.ask(.disown, port: 1)
      case "disowns all": _ = try child?.ask(.disown)
      default: child = nil
      }
      server.run()
      #expect(server.server.held.count == 0 && !server.made.isOpen(1))
      withExtendedLifetime(child) {}
    }

    /// What every child has closed is the owner's alone again.
    @Test func nobodyIsLeft() throws {
      let server = try TestServer()
      let owner = try TestClient.application(server)
      for port in UInt16(1)...3 {
        server.engines[0].exportable[connection(port).address] = connection(port)
      }
      let children = [try owner.fork(), try owner.fork()]
      _ = try children[0].ask(.disown, port: 1)
      _ = try children[1].ask(.disown, port: 1)
      #expect(try owner.ask(.surrender, port: 1)?.message.status == ESRCH)
      #expect(try children[0].ask(.adopt, port: 1)?.message.status == ENOENT)
      _ = try children[0].ask(.disown)
      #expect(outcome(try owner.ask(.surrender, port: 2))! == (0, 0), "the other may have it")
      _ = try children[1].ask(.disown)
      #expect(try owner.ask(.surrender, port: 3)?.message.status == ESRCH)
      #expect(server.server.held.count == 0)
    }

    /// The owner has ended, in whatever way: children that live keep what they had.
    @Test(arguments: [false, true])
    func ownerEnds(saysGoodbye: Bool) throws {
      let server = try TestServer()
      var owner: TestClient? = try TestClient.application(server)
      server.engines[0].exportable[connection(1).address] = connection(1)
      server.engines[0].exportable[connection(3).address] = connection(3)
      let child = try #require(try owner?.fork())
      _ = try child.ask(.disown, port: 3)
      server.engines[0].exportable[connection(2).address] = connection(2, at: .current)
      if saysGoodbye { _ = try owner?.ask(.goodbye) }
      owner = nil
      server.run()
      #expect(server.server.held.count == 1 && server.server.handOvers.ownersGone == 1)
      #expect(server.engines[0].exportable.count == 2, "not the younger, nor what it disowned")
      #expect(server.engines[0].detached.last?.end == (saysGoodbye ? .exit : .killed))
      #expect(outcome(try child.ask(.adopt, port: 1))! == (0, 1))
      #expect(server.server.held.count == 0)
    }

    /// The child of a child has what its parent had, and what is held for that.
    @Test func grandchildren() throws {
      let server = try TestServer()
      var owner: TestClient? = try TestClient.application(server)
      for port in UInt16(1)...3 {
        server.engines[0].exportable[connection(port).address] = connection(port)
      }
      var child: TestClient? = try owner?.fork()
      _ = try child?.ask(.disown, port: 3)
      #expect(outcome(try owner?.ask(.surrender, port: 1))! == (0, 0))
      let grandchild = try #require(try child?.fork())
      child = nil
      server.run()
      #expect(outcome(try grandchild.ask(.adopt, port: 1))! == (0, 1))
      #expect(try grandchild.ask(.adopt, port: 3)?.message.status == ENOENT)
      owner = nil
      server.run()
      #expect(server.server.held.count == 1)
      #expect(outcome(try grandchild.ask(.adopt, port: 2))! == (0, 1))
      // It is a process like any other.
      #expect(try grandchild.ask(.channel)?.message.status == 0)
    }

    /// A listener on :: makes sockets of AF_INET6, also when its process does not say so.
    @Test func familyOfTheListener() throws {
      let server = try TestServer()
      let owner = try TestClient.application(server)
      let number = Glibc.socket(AF_INET6, Int32(SOCK_STREAM.rawValue), 0)
      let socket = Descriptor(adopting: number)
      #expect(listen(number, 5) == 0)
      let listener = try #require(
        try owner.ask(.listen, descriptors: [socket])?.message.listener)
      server.engines[0].exportable[connection(1).address] = connection(1, listener: listener)
      server.engines[0].exportable[connection(2).address] = connection(2)
      #expect(outcome(try owner.ask(.adopt, port: 1))! == (0, 1))
      #expect(outcome(try owner.ask(.adopt, port: 2))! == (0, 1))
      #expect(server.made.requests.map(\.isIPv6) == [true, false])
    }

    /// Of a connection within the host both ends move, and both owners may have theirs.
    @Test(arguments: [false, true])
    func otherEndsAreHeldForTheirOwners(isOrphan: Bool) throws {
      let server = try TestServer()
      let owner = try TestClient.application(server)
      let other = try TestClient.application(server)
      var near = connection(1)
      var far = connection(2, channel: 1)
      far.isOrphan = isOrphan
      near.otherEnd = [far]
      server.engines[0].exportable[near.address] = near
      #expect(outcome(try owner.ask(.adopt, port: 1))! == (0, 1))
      #expect(server.made.requests.count == 2)
      server.run()
      #expect(server.made.isOpen(2) != isOrphan, "nobody wants what its owner has closed")
      #expect(try owner.ask(.adopt, port: 2)?.message.status == ENOENT, "it is the other's")
      #expect(outcome(try other.ask(.adopt, port: 2))! == (isOrphan ? ENOENT : 0, isOrphan ? 0 : 1))
      #expect(server.server.held.count == 0)
    }

    @Test func theKernelMayRefuse() throws {
      let server = try TestServer()
      let owner = try TestClient.application(server)
      server.engines[0].exportable[connection(1).address] = connection(1)
      server.made.fails = true
      #expect(outcome(try owner.ask(.adopt, port: 1))! == (EADDRINUSE, 0))
      #expect(server.server.handOvers.failed == 1 && server.server.held.count == 0)
    }

    /// The kernel is asked about each packet of the port before it has the connection.
    @Test func portsAreSteeredCarefully() throws {
      let server = try TestServer()
      let owner = try TestClient.application(server)
      let (socket, port) = try listeningSocket()
      _ = try owner.ask(.listen, descriptors: [socket])
      server.server.tick()
      #expect(server.steering["0.0.0.0", port] == .all)
      var inherited = connection(1)
      inherited.address.localPort = port
      server.engines[0].exportable[inherited.address] = inherited
      let reply = try owner.ask(.adopt, port: 1) { $0.localPort = port }
      #expect(outcome(reply)! == (0, 1))
      #expect(server.steering["0.0.0.0", port] == .exceptKernelFlows)
    }

    /// The child is known by its own number as soon as it speaks.
    @Test func childrenAreKnownByName() throws {
      let server = try TestServer()
      let owner = try TestClient.application(server)
      let child = try owner.fork()
      let connection = try #require(server.server.connections.values.first { $0.isHeir })
      connection.peer.process = 1
      _ = try child.ask(.channel)
      #expect(connection.peer == ControlConnection.Peer(process: getpid(), user: geteuid()))
      let (socket, _) = try listeningSocket()
      #expect(try child.ask(.listen, descriptors: [socket])?.message.status == 0)
    }

    /// An inherited connection has gone from hand to hand: it stops no daemon.
    @Test func heirsMayNotStop() throws {
      let server = try TestServer()
      let owner = try TestClient.application(server)
      let child = try owner.fork()
      #expect(try child.ask(.stop)?.message.status == EPERM)
      #expect(server.stopCount == 0)
    }

    /// A process that forks for ever is refused at last, and everything comes back.
    @Test func nothingLeaks() throws {
      let server = try TestServer()
      func round() throws {
        let owner = try TestClient.application(server)
        for port in UInt16(1)...20 {
          server.engines[0].exportable[connection(port).address] = connection(port)
        }
        let child = try owner.fork()
        let other = try child.fork()
        for port in UInt16(1)...10 { _ = try owner.ask(.surrender, port: port) }
        for port in UInt16(5)...15 { _ = try other.ask(.adopt, port: port) }
        for port in UInt16(1)...20 { _ = try child.ask(.disown, port: port) }
      }
      try round()
      server.run()
      server.made.ends.removeAll()
      server.engines[0].exportable.removeAll()
      let before = openDescriptors()
      for _ in 0..<10 { try round() }
      server.run()
      server.made.ends.removeAll()
      #expect(server.server.held.count == 0 && server.server.connections.isEmpty)
      #expect(openDescriptors() == before)
    }

    @Test func childrenAreLimited() throws {
      let server = try TestServer()
      let owner = try TestClient.application(server)
      var children: [TestClient] = []
      while children.count < ControlServer.connectionLimit {
        let reply = try #require(try owner.ask(.fork))
        guard reply.message.status == 0 else {
          #expect(reply.message.status == EMFILE)
          break
        }
        children.append(TestClient(server, socket: reply.descriptors[0]))
      }
      #expect(server.server.connections.count == ControlServer.connectionLimit)
      children.removeAll()
      for _ in 0..<50 { server.run() }
      #expect(try owner.ask(.fork)?.message.status == 0)
    }
  }
}
