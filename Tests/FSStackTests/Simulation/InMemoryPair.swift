@testable import FSStack

/// An engine and its peer, another engine, with frames that need no time: nothing but both engines' work, and
/// that of a small application on either side.
final class InMemoryPair {
  private let hosts: [SimulatedEngine]
  private let server: TestApplication
  private let client: TestApplication
  private let address: IPAddress
  private var now = Instant(nanoseconds: 1_000_000_000)

  /// `maximumTimeWait` is what each engine remembers of connections that are over.
  init(maximumTimeWait: Int) {
    var options = SimulatedHost.Options()
    options.maximumTimeWait = maximumTimeWait
    let names = (1...2).map { number in
      SimulatedHost(
        name: "\(number)", number: UInt8(number), isIPv4: true, engineCount: 1,
        now: Instant(nanoseconds: 1_000_000_000), options: options)
    }
    hosts = names.map { $0.engines[0] }
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

  /// One burst of each engine; false when nothing was sent.
  private func round() -> Bool {
    var isBusy = false
    now = now + .microseconds(10)
    for index in 0..<2 {
      let host = hosts[index]
      let other = hosts[1 - index]
      let now = self.now
      _ = host.engine.serviceChannels(now: now)
      host.engine.advance(to: now)
      host.engine.finishBurst(now: now)
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
