import FSRing
import Glibc
import Testing

@testable import fsd

// What no correct program sends ends its connection and nothing else.

private func bytes(of message: ControlMessage) -> [UInt8] {
  unsafe withUnsafeBytes(of: message) { unsafe Array($0) }
}

private func changed(_ change: (inout ControlMessage) -> Void) -> [UInt8] {
  var message = ControlMessage(.hello, request: 1)
  change(&message)
  return bytes(of: message)
}

extension Serially {
  @Suite struct MalformedMessageTests {
    @Test func malformedPacketsCloseTheirConnectionOnly() throws {
      let server = try TestServer()
      let witness = try server.connect()
      _ = try witness.ask(.hello)
      let before = openDescriptors()
      let packets: [(name: String, bytes: [UInt8])] = [
        ("short", Array(changed { _ in }.dropLast())),
        ("one byte", [0]),
        ("long", changed { _ in } + [0]),
        ("very long", [UInt8](repeating: 0xff, count: 60_000)),
        ("magic", changed { $0.magic = 0 }),
        ("version", changed { $0.version = 2 }),
        ("kind 0", changed { $0.kind = 0 }),
        ("unknown kind", changed { $0.kind = 99 }),
        ("the daemon's own kind", changed { $0.kind = ControlKind.invite.rawValue }),
        ("not introduced", changed { $0.kind = ControlKind.channel.rawValue }),
        ("fork, not introduced", changed { $0.kind = ControlKind.fork.rawValue }),
        ("adopt, not introduced", changed { $0.kind = ControlKind.adopt.rawValue }),
        ("surrender, not introduced", changed { $0.kind = ControlKind.surrender.rawValue }),
        ("disown, not introduced", changed { $0.kind = ControlKind.disown.rawValue }),
      ]
      for packet in packets {
        let client = try server.connect()
        client.sendRaw(packet.bytes)
        #expect(client.isClosed, "\(packet.name)")
      }
      server.run()
      #expect(server.server.connections.count == 1)
      #expect(try witness.ask(.channel)?.message.status == 0)
      server.engines[0].channels.removeAll()
      #expect(openDescriptors() <= before + 2, "one channel's eventfds")
    }

    @Test func descriptorsThatDoNotBelongCloseTheConnection() throws {
      let server = try TestServer()
      let descriptor = try EventDescriptor().descriptor
      let cases: [(kind: ControlKind, count: Int)] = [
        (.hello, 1), (.listen, 0), (.listen, 2), (.statistics, 8), (.hello, 12), (.fork, 1),
        (.adopt, 1), (.surrender, 2), (.disown, 1),
      ]
      let before = openDescriptors()
      for (kind, count) in cases {
        let client = try server.connect()
        _ = try client.ask(.hello)
        let reply = try client.ask(
          kind, descriptors: Array(repeating: descriptor, count: count))
        #expect(reply == nil, "\(kind) with \(count) descriptors")
      }
      server.run()
      #expect(openDescriptors() == before)
    }

    /// The last close of a socket that lingers waits for its peer: the control thread does not.
    @Test func descriptorsThatBlockWhoClosesThemHoldUpNobody() throws {
      let server = try TestServer()
      let (listener, port) = try listeningSocket("127.0.0.1")
      let seconds = 2
      func sendLingering(_ client: TestClient, _ count: Int) throws {
        let lingering = try (0..<count).map { _ in try lingeringSocket(port, seconds: seconds) }
        try client.tell(.listen, descriptors: lingering)
      }
      let start = MonotonicClock.now
      for count in [1, 2, 10] {
        let client = try server.connect()
        _ = try client.ask(.hello)
        try sendLingering(client, count)
        // One that the server has not read when it ends the connection.
        if count > 1 { try sendLingering(client, 1) }
        _ = client.receive()
      }
      server.run()
      #expect(MonotonicClock.now - start < UInt64(seconds) * 500_000_000)
      for _ in 0..<5 { waitForForeignDescriptors() }
      #expect(ForeignDescriptors.isIdle)
      withExtendedLifetime(listener) {}
    }

    /// Fields of requests about shared connections may hold anything.
    @Test func nonsenseAboutConnectionsIsAnswered() throws {
      let server = try TestServer(engines: 2)
      let owner = try server.connect()
      _ = try owner.ask(.hello)
      _ = try owner.ask(.channel)
      let reply = try #require(try owner.ask(.fork))
      let child = TestClient(server, socket: reply.descriptors[0])
      var generator = SystemRandomNumberGenerator()
      for client in [owner, child] {
        for _ in 0..<200 {
          let kind = [ControlKind.adopt, .surrender, .disown].randomElement(using: &generator)
          let answer = try client.ask(kind ?? .adopt) {
            $0.engine = UInt32.random(in: 0...3, using: &generator)
            $0.channel = .random(in: 0 ... .max, using: &generator)
            $0.flags = .random(in: 0 ... .max, using: &generator)
            $0.localPort = .random(in: 0 ... .max, using: &generator)
            $0.remotePort = .random(in: 0 ... .max, using: &generator)
            $0.localHigh = .random(in: 0 ... .max, using: &generator)
            $0.addressLow = .random(in: 0 ... .max, using: &generator)
          }
          let status = try #require(answer).message.status
          #expect([0, ENOENT, ESRCH, EINVAL].contains(status))
          #expect(answer?.descriptors.isEmpty == true)
        }
      }
      #expect(server.made.requests.isEmpty && server.server.held.count == 0)
    }

    @Test func nothingLeaksOverManyRequests() throws {
      let server = try TestServer()
      let (socket, _) = try listeningSocket()
      func round() throws {
        let client = try server.connect()
        _ = try client.ask(.hello)
        for _ in 0..<4 { _ = try client.ask(.channel) }
        for _ in 0..<4 { _ = try client.ask(.listen, descriptors: [socket]) }
        _ = try client.ask(.hello, descriptors: [socket, socket])
      }
      try round()
      server.run()
      let before = openDescriptors()
      for _ in 0..<25 { try round() }
      server.run()
      #expect(server.server.connections.isEmpty)
      #expect(server.steering.ports.values.allSatisfy { $0 == .draining })
      #expect(openDescriptors() == before)
    }
  }
}
