import FSRing
import Testing

@testable import FSStack

/// Connections whose both ends are in one engine.
@Suite struct LoopbackTests {
  static let mtu = 16_370
  static let own4 = IPAddress(v4: 127, 0, 0, 1)
  static let own6 = IPAddress(high: 0, low: UInt64(1).bigEndian)

  /// Two programs on host A, whose engine reaches itself.
  private struct Scene {
    let simulation: Simulation
    let server: TestApplication
    let client: TestApplication
    let address: IPAddress

    init(_ address: IPAddress, maximumMTU: Int = LoopbackTests.mtu) {
      self.address = address
      let isIPv4 = address.isIPv4
      simulation = Simulation(isIPv4: isIPv4)
      let host = simulation.a.engines[0]
      host.addLoopback(mtu: maximumMTU)
      host.control { engine in
        engine.setPath(
          PathConfiguration(
            destination: address, interface: engine.loopback, source: address,
            nextHop: MACAddress(), mtu: maximumMTU))
      }
      server = TestApplication(on: host)
      client = TestApplication(on: host)
      server.listen(port: 80, isIPv4: isIPv4, now: simulation.now)
    }

    var drops: [DropReason: UInt64] {
      simulation.a.engines[0].engine.statistics().drops.filter { $0.value > 0 }
    }
  }

  @Test(arguments: [own4, own6, IPAddress(v4: 10, 0, 0, 1)])
  func wholeLife(_ address: IPAddress) throws {
    let scene = Scene(address)
    let socket = scene.client.connect(to: address, port: 80)
    scene.simulation.run(for: .milliseconds(5))
    #expect(socket.isConnected && socket.error == nil)
    let accepted = try #require(scene.server.accept())
    #expect(
      accepted.endpoint.localHigh == address.high && accepted.endpoint.localLow == address.low)
    #expect(accepted.endpoint.remoteLow == address.low)
    var toServer = 0
    var toClient = 0
    // Both ways at once, more than the buffers of either side hold.
    scene.client.onWake = {
      socket.read()
      toServer += socket.send(200_000 - toServer)
      if toServer < 200_000 { scene.client.wantSpace() }
    }
    scene.server.onWake = {
      accepted.read()
      toClient += accepted.send(300_000 - toClient)
      if toClient < 300_000 { scene.server.wantSpace() }
    }
    scene.client.run()
    scene.server.run()
    let isDone = scene.simulation.run(within: .seconds(20)) {
      accepted.bytesReceived == 200_000 && socket.bytesReceived == 300_000
    }
    scene.client.onWake = nil
    scene.server.onWake = nil
    #expect(isDone, "\(accepted.bytesReceived) and \(socket.bytesReceived) bytes")
    #expect(socket.firstWrongByte == nil && accepted.firstWrongByte == nil)
    socket.close()
    scene.simulation.run(for: .milliseconds(50))
    #expect(accepted.peerFinished)
    accepted.close()
    scene.simulation.run(for: .seconds(70))
    #expect(scene.simulation.leftovers() == [])
    let statistics = scene.simulation.a.engines[0].engine.statistics()
    #expect(statistics.counters.loopbackFrames == statistics.counters.framesSent)
    #expect(statistics.counters.retransmissions == 0 && scene.drops.isEmpty)
    // Nothing of it on the link.
    #expect(scene.simulation.trace.entries.isEmpty)
  }

  /// Both ends go to the kernel, with all bytes between them: what one has sent and the other has not
  /// received is still with the sender.
  @Test(arguments: [false, true])
  func exported(isClosed: Bool) throws {
    let scene = Scene(Self.own4)
    let socket = scene.client.connect(to: Self.own4, port: 80)
    scene.simulation.run(for: .milliseconds(5))
    let accepted = try #require(scene.server.accept())
    accepted.send(500)
    scene.simulation.run(for: .milliseconds(50))
    socket.read()
    socket.consume()
    scene.simulation.run(for: .milliseconds(50))
    // Sent, and in the engine's own frames only.
    socket.send(5000)
    let host = scene.simulation.a.engines[0]
    host.control {
      _ = $0.serviceChannels(now: scene.simulation.now)
      $0.finishBurst(now: scene.simulation.now)
    }
    if isClosed { socket.close() }
    let claim = Engine.ExportClaim(channel: scene.server.channel)
    let near = try host.control {
      $0.exportConnection(accepted.flowAddress, claims: [claim], now: scene.simulation.now)
    }.get()
    let far = try #require(near.otherEnd.first)
    #expect(far.address.localPort == near.address.remotePort && near.otherEnd.count == 1)
    #expect(far.channel == scene.client.channel && far.listener == nil && near.listener == 1)
    #expect(far.isOrphan == isClosed && far.isWriteShut == isClosed)
    #expect(near.receiveNext == far.sendUnacknowledged && near.unread.isEmpty)
    #expect(socket.matches(far.unacknowledged + far.unsent, from: 0, isSent: true))
    #expect(far.unacknowledged.count == 5000)
    scene.simulation.run(for: .milliseconds(50))
    #expect(accepted.hasMoved && (isClosed || socket.hasMoved))
    accepted.close()
    socket.close()
    scene.simulation.run(for: .seconds(2))
    #expect(scene.simulation.leftovers() == [])
    #expect(scene.drops.keys.allSatisfy { $0 == .movedToKernel })
  }

  /// Nobody listens: refused at once, and the engine does not run in a circle.
  @Test func refused() {
    let scene = Scene(Self.own4)
    let socket = scene.client.connect(to: Self.own4, port: 81)
    scene.simulation.run(for: .milliseconds(5))
    #expect(socket.error == SocketError.connectionRefused)
    socket.close()
    scene.simulation.run(for: .seconds(1))
    #expect(scene.simulation.leftovers() == [])
  }

  /// What comes from a wire cannot speak for the host itself, neither to a listener nor within a
  /// connection.
  @Test func forgedFromOutside() throws {
    let scene = Scene(IPAddress(v4: 10, 0, 0, 1))
    let host = scene.simulation.a.engines[0]
    host.control {
      $0.setLocalAddresses([
        (interface: 0, address: scene.address), (interface: 0, address: IPAddress(v4: 10, 0, 0, 9)),
      ])
    }
    let socket = scene.client.connect(to: scene.address, port: 80, from: IPAddress(v4: 10, 0, 0, 9))
    scene.simulation.run(for: .milliseconds(5))
    #expect(socket.isConnected)
    var forged = OutgoingHeader()
    forged.destinationMAC = scene.simulation.a.macAddress
    forged.source = IPAddress(v4: 10, 0, 0, 9)
    forged.destination = scene.address
    forged.sourcePort = socket.endpoint.localPort
    forged.destinationPort = 80
    for (port, flags) in [(socket.endpoint.localPort, TCPFlags.rst), (999, .syn)] {
      forged.sourcePort = port
      forged.flags = flags
      var bytes = [UInt8](repeating: 0, count: 128)
      let header = forged
      let length = header.length
      bytes.withUnsafeMutableBytes {
        header.write(to: $0.baseAddress!, payloadLength: 0, payloadSum: 0)
      }
      host.inbox.append(Array(bytes[..<length]))
      host.isDue = true
    }
    scene.simulation.run(for: .milliseconds(5))
    #expect(socket.error == nil)
    #expect(scene.drops == [.sourceAddressInvalid: 2])
  }
}
