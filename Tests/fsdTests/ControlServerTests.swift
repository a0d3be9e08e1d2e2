import CLinux
@testable import FSDevice
import FSRing
@testable import FSStack
import Glibc
import Testing

@testable import fsd

// The control protocol, against a real server on a real socket.

extension Serially {
  @Suite struct ControlServerTests {
    @Test func channelComesWithItsMemoryAndEventDescriptors() throws {
      let server = try TestServer(engines: 2)
      let client = try server.connect()
      #expect(try client.ask(.hello)?.message.status == 0)
      let reply = try #require(try client.ask(.channel) { $0.argument = 1 })
      #expect(reply.message.status == 0)
      #expect(reply.message.engine == 1, "the engine of the asking thread's processor")
      #expect(reply.message.channel == 0)
      #expect(reply.message.geometry == .standard)
      #expect(reply.descriptors.count == 3)
      #expect(server.engines[1].channels.count == 1)

      let memory = reply.descriptors[0].number
      #expect(fcntl(memory, F_GETFD) & FD_CLOEXEC != 0)
      #expect(fcntl(memory, F_GET_SEALS) == Channel.seals)
      #expect(ftruncate(memory, 4096) == -1 && errno == EPERM, "the memory cannot shrink")
      var status = stat()
      #expect(unsafe fstat(memory, &status) == 0)
      #expect(Int(status.st_size) == ChannelGeometry.standard.byteCount)
      let mapping = unsafe mmap(nil, 4096, PROT_READ, MAP_SHARED, memory, 0)
      let header = try #require(unsafe mapping)
      #expect(unsafe ChannelHeader(base: header).isCurrent)
      unsafe munmap(header, 4096)

      // The descriptors are the very ones that the daemon holds.
      let channel = try #require(server.engines[1].channels.values.first)
      channel.applicationWake.ring()
      var value: UInt64 = 0
      #expect(unsafe eventfd_read(reply.descriptors[1].number, &value) == 0)
      EventDescriptor.ring(reply.descriptors[2].number)
      #expect(channel.doorbell.drain())
    }

    @Test func exactEngineIsObeyedAndChecked() throws {
      let server = try TestServer(engines: 2)
      let client = try server.connect()
      _ = try client.ask(.hello)
      let there = try client.ask(.channel) {
        $0.flags = ControlFlags.exactEngine
        $0.engine = 1
      }
      #expect(there?.message.engine == 1)
      let nowhere = try client.ask(.channel) {
        $0.flags = ControlFlags.exactEngine
        $0.engine = 2
      }
      #expect(nowhere?.message.status == EINVAL)
      #expect(nowhere?.descriptors.isEmpty == true)
    }

    @Test func channelsAreLimited() throws {
      let server = try TestServer()
      let client = try server.connect()
      _ = try client.ask(.hello)
      for _ in 0..<ControlConnection.channelLimit {
        #expect(try client.ask(.channel)?.message.status == 0)
      }
      #expect(try client.ask(.channel)?.message.status == EMFILE)
      server.engines[0].hasRoom = false
      let other = try server.connect()
      _ = try other.ask(.hello)
      #expect(try other.ask(.channel)?.message.status == ENOBUFS)
    }

    @Test func processesDeathAndGoodbyeDetachDifferently() throws {
      let server = try TestServer()
      for saysGoodbye in [false, true] {
        var client: TestClient? = try server.connect()
        _ = try client?.ask(.hello)
        _ = try client?.ask(.channel)
        if saysGoodbye { #expect(try client?.ask(.goodbye)?.message.status == 0) }
        client = nil
        server.run()
        #expect(server.engines[0].detached.last?.end == (saysGoodbye ? .exit : .killed))
      }
      #expect(server.engines[0].channels.isEmpty)
      #expect(server.server.connections.isEmpty)
    }

    /// A process that ends at once reads no replies: its goodbye counts all the same.
    @Test func goodbyeWithoutWaiting() throws {
      let server = try TestServer()
      var client: TestClient? = try server.connect()
      _ = try client?.ask(.hello)
      _ = try client?.ask(.channel)
      for kind in [ControlKind.route, .goodbye, .route] { try client?.tell(kind) }
      client = nil
      server.run()
      #expect(server.engines[0].detached.map(\.end) == [.exit])
      #expect(server.server.connections.isEmpty)
      // The same with a reply that nobody has read.
      client = try server.connect()
      _ = try client?.ask(.hello)
      _ = try client?.ask(.channel)
      try client?.tell(.route)
      server.run()
      try client?.tell(.goodbye)
      client = nil
      server.run()
      #expect(server.engines[0].detached.map(\.end) == [.exit, .exit])
    }

    @Test func listenerIsReadFromTheDescriptor() throws {
      let server = try TestServer(engines: 2)
      let client = try server.connect()
      _ = try client.ask(.hello)
      let (socket, port) = try listeningSocket()
      let reply = try client.ask(.listen, descriptors: [socket]) { $0.argument = 511 }
      let number = try #require(reply?.message.listener)
      #expect(reply?.message.status == 0)
      for engine in server.engines {
        #expect(
          engine.listeners[number]
            == ListenerDescription(
              number: number, address: .anyIPv4, port: port, ipv6Only: false, backlog: 511))
      }
      #expect(server.steering["0.0.0.0", port] == .exceptKernelFlows)
      for (name, number) in [(TCP_DEFER_ACCEPT, 5), (TCP_MAXSEG, 1000), (TCP_SYNCNT, 3)] {
        var value = Int32(number)
        #expect(unsafe setsockopt(socket.number, Int32(IPPROTO_TCP), name, &value, 4) == 0)
      }
      let again = try client.ask(.listen, descriptors: [socket]) { $0.argument = 100 }
      #expect(again?.message.listener == number, "the same socket is the same listener")
      for engine in server.engines {
        let listener = try #require(engine.listeners[number])
        #expect(listener.backlog == 100 && listener.options.synchronizeRetries == 3)
        #expect(listener.options.deferAccept >= 5 && listener.options.maximumSegmentSize == 1000)
      }

      #expect(try client.ask(.unlisten) { $0.listener = number }?.message.status == 0)
      #expect(server.engines[0].listeners.isEmpty)
      #expect(try client.ask(.unlisten) { $0.listener = number }?.message.status == ENOENT)
    }

    /// Of a close by a system call that the library does not see nobody tells.
    @Test func listenerGoesWithItsSocket() throws {
      let server = try TestServer()
      let listeners = server.server.services.listeners
      let client = try server.connect()
      _ = try client.ask(.hello)
      var both: [Descriptor?] = [try listeningSocket().socket, try listeningSocket().socket]
      var numbers: [UInt32] = []
      for socket in both {
        let socket = try #require(socket)
        let reply = try client.ask(.listen, descriptors: [socket])
        numbers.append(try #require(reply?.message.listener))
      }
      func look() throws { listeners.forgetClosed(cookies: try KernelFlows.listeningCookies()) }
      for _ in 0..<3 { try look() }
      #expect(listeners.listeners.count == 2)
      both[0] = nil
      waitForForeignDescriptors()
      try look()
      #expect(listeners.listeners.count == 2, "one may be missing in a list once")
      try look()
      #expect(Array(listeners.listeners.keys) == [numbers[1]])
      #expect(Array(server.engines[0].listeners.keys) == [numbers[1]])
      #expect(server.steering.ports.values.count { $0 == .draining } == 1)
      #expect(try client.ask(.unlisten) { $0.listener = numbers[0] }?.message.status == ENOENT)
      #expect(try client.ask(.unlisten) { $0.listener = numbers[1] }?.message.status == 0)
    }

    @Test func unmanagedAddressStaysWithTheKernel() throws {
      let server = try TestServer()
      let client = try server.connect()
      _ = try client.ask(.hello)
      let (socket, _) = try listeningSocket("127.0.0.1")
      #expect(
        try client.ask(.listen, descriptors: [socket])?.message.status == EOPNOTSUPP)
      #expect(server.steering.ports.isEmpty)
    }

    @Test func whatDoesNotListenIsRefused() throws {
      let server = try TestServer()
      let client = try server.connect()
      _ = try client.ask(.hello)
      let stream = Descriptor(adopting: socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0))
      #expect(try client.ask(.listen, descriptors: [stream])?.message.status == EINVAL)
      let datagram = Descriptor(adopting: socket(AF_INET, Int32(SOCK_DGRAM.rawValue), 0))
      #expect(try client.ask(.listen, descriptors: [datagram])?.message.status == EPROTOTYPE)
      let local = Descriptor(adopting: socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0))
      #expect(try client.ask(.listen, descriptors: [local])?.message.status == EAFNOSUPPORT)
      let file = Descriptor(adopting: open("/dev/null", O_RDONLY))
      #expect(try client.ask(.listen, descriptors: [file])?.message.status == ENOTSOCK)
    }

    /// In a namespace of one's own every port can be bound, and beside a socket bound to an interface any user can
    /// bind another.
    @Test func onlyWhatTheKernelWouldServeHereIsAccelerated() throws {
      let server = try TestServer()
      let client = try server.connect()
      _ = try client.ask(.hello)
      let (elsewhere, port) = try inOtherNetwork { try listeningSocket(port: 443) }
      #expect(port == 443)
      #expect(try client.ask(.listen, descriptors: [elsewhere])?.message.status == EOPNOTSUPP)
      // Nor does it help to speak from there.
      let stranger = try inOtherNetwork { try server.connect() }
      _ = try stranger.ask(.hello)
      #expect(try stranger.ask(.listen, descriptors: [elsewhere])?.message.status == EOPNOTSUPP)

      let (bound, _) = try listeningSocket()
      var loopback: Int32 = 1
      let isBound = unsafe setsockopt(bound.number, SOL_SOCKET, SO_BINDTOIFINDEX, &loopback, 4)
      #expect(isBound == 0)
      #expect(try client.ask(.listen, descriptors: [bound])?.message.status == EOPNOTSUPP)
      #expect(server.steering.ports.isEmpty)
      let (usual, _) = try listeningSocket()
      #expect(try stranger.ask(.listen, descriptors: [usual])?.message.status == 0)
    }

    @Test func joinNeedsOwnChannelAndOwnListener() throws {
      let server = try TestServer()
      let client = try server.connect()
      _ = try client.ask(.hello)
      let (socket, _) = try listeningSocket()
      let number = try #require(try client.ask(.listen, descriptors: [socket])?.message.listener)
      let early = try client.ask(.join) { $0.listener = number }
      #expect(early?.message.status == EINVAL, "it has no channel yet")
      _ = try client.ask(.channel)
      for _ in 0..<2 {
        #expect(try client.ask(.join) { $0.listener = number }?.message.status == 0)
      }
      #expect(server.engines[0].acceptors[number]?.count == 1, "joining twice is joining once")

      let stranger = try server.connect()
      _ = try stranger.ask(.hello)
      _ = try stranger.ask(.channel)
      #expect(try stranger.ask(.join) { $0.listener = number }?.message.status == ENOENT)
    }

    @Test func routeIsAnsweredAndInstalled() throws {
      let server = try TestServer(engines: 2)
      let destination = IPAddress(v4: 192, 0, 2, 1)
      server.network.routes[destination] = .init(
        interface: 7, gateway: IPAddress(v4: 10, 0, 0, 254), source: nil, mtu: nil)
      let client = try server.connect()
      _ = try client.ask(.hello)
      let reply = try client.ask(.route) {
        $0.addressHigh = destination.high
        $0.addressLow = destination.low
      }
      #expect(reply?.message.flags == ControlFlags.accelerated)
      #expect(reply?.message.routeGeneration == 1)
      #expect(server.engines[1].paths[destination]?.nextHop == ImitationNetwork.gatewayMAC)

      let elsewhere = IPAddress(v4: 198, 51, 100, 1)
      let other = try client.ask(.route) {
        $0.addressHigh = elsewhere.high
        $0.addressLow = elsewhere.low
      }
      #expect(other?.message.flags == 0)
    }

    @Test func statisticsAndStatusNeedNoIntroduction() throws {
      let server = try TestServer(engines: 2)
      let client = try server.connect()
      let text = try #require(try client.ask(.statistics)).text
      let statistics = try #require(JSONParser.parse(String(decoding: text, as: UTF8.self)))
      #expect(statistics["engine_count"] == .number(2))
      #expect(statistics["engines"]?.elements.count == 2)
      let status = try #require(try client.ask(.status)).text
      #expect(String(decoding: status, as: UTF8.self) == #"{"kind":"status"}"#)
    }

    @Test func stopIsAnsweredAtTheEnd() throws {
      let server = try TestServer()
      let client = try server.connect()
      try ControlPacket(message: ControlMessage(.stop, request: 9)).send(to: client.socket.number)
      server.run()
      #expect(server.stopCount == 1)
      if case .packet = client.receive() { Issue.record("answered before the end") }
      server.server.answerStopRequests()
      guard case .packet(let reply) = client.receive() else {
        Issue.record("no answer")
        return
      }
      #expect(reply.message.request == 9)
      #expect(reply.message.status == 0)
    }

    @Test func stopIsForRootAndTheDaemonsUser() throws {
      let server = try TestServer()
      let client = try server.connect()
      server.run()
      let connection = try #require(server.server.connections.values.first)
      let stranger = ControlConnection(
        number: ProcessNumber(value: 99), socket: connection.socket,
        peer: ControlConnection.Peer(process: 1, user: geteuid() + 1))
      try server.server.handle(
        ControlPacket(message: ControlMessage(.stop, request: 1)), from: stranger)
      guard case .packet(let reply) = client.receive() else {
        Issue.record("no answer")
        return
      }
      #expect(reply.message.status == EPERM)
      #expect(server.stopCount == 0)
    }

    @Test func garbageInAChannelEndsTheConnection() throws {
      let server = try TestServer()
      let client = try server.connect()
      let other = try server.connect()
      for each in [client, other] {
        _ = try each.ask(.hello)
        _ = try each.ask(.channel)
      }
      let channel = try #require(server.engines[0].channels[ChannelID(raw: 0)])
      server.server.handle(.violation(engine: 0, channel: channel, reason: "unknownCommand"))
      #expect(client.isClosed)
      #expect(try other.ask(.channel)?.message.status == 0, "the other is untouched")
    }
  }
}
