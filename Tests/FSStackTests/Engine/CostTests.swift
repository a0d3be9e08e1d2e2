import FSRing
import Foundation
import Testing

@testable import FSStack

/// What connections cost both of their engines, without a simulation in between: frames go from one
/// to the other in memory. Only with `FS_COST=1`, and only a release build means anything.
@Suite(.enabled(if: ProcessInfo.processInfo.environment["FS_COST"] != nil))
struct CostTests {
  /// Two hosts whose frames need no time.
  private final class Wire {
    let hosts: [SimulatedEngine]
    let server: TestApplication
    let client: TestApplication
    var now = Instant(nanoseconds: 1_000_000_000)
    private let frames: [UnsafeMutableRawPointer]

    init() {
      var options = SimulatedHost.Options()
      options.maximumTimeWait = 1 << 20
      let names = (1...2).map { number in
        SimulatedHost(
          name: "\(number)", number: UInt8(number), isIPv4: true, engineCount: 1,
          now: Instant(nanoseconds: 1_000_000_000), options: options)
      }
      hosts = names.map { $0.engines[0] }
      frames = names.map { _ in .allocate(byteCount: 2048, alignment: 64) }
      for (host, other) in [(names[0], names[1]), (names[1], names[0])] {
        host.engines[0].engine.setPath(
          PathConfiguration(
            destination: other.address, interface: 0, source: host.address,
            nextHop: other.macAddress, mtu: 1500))
      }
      server = TestApplication(on: hosts[0])
      client = TestApplication(on: hosts[1])
      server.listen(port: 80, backlog: 64, now: now)
      address = names[0].address
    }

    deinit { frames.forEach { $0.deallocate() } }

    let address: IPAddress

    /// One burst of each engine; false when nothing was sent.
    func round() -> Bool {
      var isBusy = false
      now = now + .microseconds(10)
      for index in 0..<2 {
        let host = hosts[index]
        _ = host.engine.serviceChannels(now: now)
        host.engine.advance(to: now)
        host.engine.finishBurst(now: now)
        let other = hosts[1 - index]
        let now = self.now
        host.transmit.takePending { offset, length in
          isBusy = true
          let frame = UnsafeRawBufferPointer(start: host.transmit.frame(offset), count: length)
          _ = other.engine.receive(frame, interface: 0, now: now)
          host.transmit.recycle(offset)
          return true
        }
        host.engine.drainWakeups { _ in }
        (index == 0 ? server : client).run()
      }
      return isBusy
    }

    /// Connect, request, response, close.
    func shortConnection() {
      let socket = client.connect(to: address, port: 80)
      while server.accepted.isEmpty { _ = round() }
      guard let accepted = server.accept() else { return }
      socket.send(100)
      while accepted.unread == 0 { _ = round() }
      accepted.read()
      accepted.send(600)
      accepted.close()
      while socket.unread < 600 || !socket.peerFinished { _ = round() }
      socket.read()
      socket.close()
      while round() {}
    }

    /// Sends `total` bytes from the server to a client that reads.
    func transfer(_ total: Int) {
      let socket = client.connect(to: address, port: 80)
      while server.accepted.isEmpty { _ = round() }
      guard let accepted = server.accept() else { return }
      while socket.bytesReceived < total {
        accepted.send(min(total - accepted.bytesSent, 16 * 1024))
        _ = round()
        socket.read()
      }
      accepted.close()
      socket.close()
      while round() {}
    }
  }

  /// Nanoseconds of the fastest of some rounds.
  private func fastest(of rounds: Int, _ body: () -> Void) -> Double {
    let clock = ContinuousClock()
    return (0..<rounds).map { _ in
      let time = clock.measure(body)
      return Double(time.components.attoseconds) / 1e9 + Double(time.components.seconds) * 1e9
    }.min() ?? 0
  }

  @Test func shortConnections() {
    let wire = Wire()
    for _ in 0..<1000 { wire.shortConnection() }
    let cost = fastest(of: 300) { for _ in 0..<100 { wire.shortConnection() } } / 100
    print("short connection: \(Int(cost)) ns, of a connection: \(MemoryLayout<Connection>.size) B")
    #expect(cost < 1_000_000)
  }

  @Test func bulk() {
    let wire = Wire()
    let total = 2_000_000
    let cost = fastest(of: 40) { wire.transfer(total) }
    print("bulk: \(Int(cost / Double(total / 1460))) ns a segment, with the test's application")
    #expect(cost < 10_000_000_000)
  }
}
