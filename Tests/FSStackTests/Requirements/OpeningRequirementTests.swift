import Testing

@testable import FSStack

/// RFC 9293 Appendix B, "ISN Selection", "Opening Connections" and "Address Validation".
@Suite struct OpeningRequirementTests {
  // MARK: Initial sequence numbers

  /// The clock moves the numbers of a flow on (MUST-8); flows, in each of their parts, have numbers of
  /// their own (SHLD-1), which nobody can compute who does not know the secret (MUST-9).
  @Test func initialSequenceNumbers() {
    let secret = Secret(words: (1, 2, 3, 4))
    let now = Instant(nanoseconds: 1_000_000_000)
    let (a, b) = (IPAddress(v4: 10, 0, 0, 1), IPAddress(v4: 10, 0, 0, 2))
    let flow = Flow(local: a, localPort: 80, remote: b, remotePort: 1024)
    let first = secret.initialSequence(flow, now: now)
    // The clock ticks at least every 4 us.
    var last = first
    for microseconds: UInt64 in [4, 8, 100, 10_000, 1_000_000] {
      let next = secret.initialSequence(flow, now: now + .microseconds(microseconds))
      #expect(next > last)
      last = next
    }
    let others = [
      Flow(local: b, localPort: 80, remote: a, remotePort: 1024),
      Flow(local: a, localPort: 81, remote: b, remotePort: 1024),
      Flow(local: a, localPort: 80, remote: b, remotePort: 1025),
      Flow(local: a, localPort: 1024, remote: b, remotePort: 80),
      Flow(local: a, localPort: 80, remote: IPAddress(v4: 10, 0, 0, 3), remotePort: 1024),
    ].map { secret.initialSequence($0, now: now) }
    let secrets = [(2, 2, 3, 4), (1, 3, 3, 4), (1, 2, 4, 4), (1, 2, 3, 5)].map {
      Secret(words: $0).initialSequence(flow, now: now)
    }
    let numbers = [first] + others + secrets
    #expect(Set(numbers.map(\.value)).count >= 8, "\(numbers)")
    // Nor does the number of one port tell that of the next.
    let steps = (1...100).map { port in
      secret.initialSequence(
        Flow(local: a, localPort: 80, remote: b, remotePort: UInt16(1024 + port)), now: now
      ).value &- first.value
    }
    #expect(Set(steps.indices.dropFirst().map { steps[$0] &- steps[$0 - 1] }).count > 95)
  }

  // MARK: States

  /// Both sides open at once (MUST-10): the SYN is answered with SYN-ACK, and either order of what
  /// follows completes the handshake.
  @Test(arguments: [true, false])
  func simultaneousOpen(peerRepeatsSYN: Bool) {
    let simulation = Simulation(engines: (1, 0))
    let application = TestApplication(on: simulation.a.engines[0])
    let socket = application.connect(to: simulation.b.address, port: 1024, localPort: 40_000)
    simulation.run(for: .milliseconds(1))
    let peer = ScriptedPeer(simulation, to: 40_000)
    #expect(peer.take() == ["A> SYN 0"])
    peer.send(.syn, 0)
    #expect(peer.take() == ["A> SYN ACK 0 ack 1"])
    #expect(!socket.isConnected)
    peer.send(peerRepeatsSYN ? .syn : [], peerRepeatsSYN ? 0 : 1, ack: 1)
    #expect(socket.isConnected && socket.error == nil)
    socket.send(10)
    simulation.run(for: .milliseconds(1))
    #expect(peer.take().last == "A> PSH ACK 1:11 ack 1")
  }

  /// SYN-RECEIVED remembers how it was reached (MUST-11): after a passive open a RST leads back to
  /// LISTEN and nobody learns of it, after an active one it refuses the connection.
  @Test func resetInSYNReceived() {
    let pair = ScriptedPair()
    pair.peer.send(.syn, 0)
    pair.peer.send(.rst, 1)
    #expect(pair.server.accepted.isEmpty && pair.server.problems == [])
    _ = pair.open()
    let socket = pair.server.connect(
      to: pair.simulation.b.address, port: 2000, localPort: 40_000)
    pair.simulation.run(for: .milliseconds(1))
    let peer = ScriptedPeer(pair.simulation, port: 2000, to: 40_000)
    peer.send(.syn, 0)
    #expect(!socket.isConnected && socket.error == nil)
    peer.send(.rst, 1, ack: 1)
    #expect(socket.error == 111)
  }

  /// A further listener, of another port, of the same port or of a single address, changes nothing for
  /// the connections and listeners there are (MUST-41).
  @Test func passiveOpenDisturbsNothing() {
    let pair = ScriptedPair()
    let socket = pair.open()
    let halfOpen = ScriptedPeer(pair.simulation, port: 2000)
    halfOpen.send(.syn, 0)
    _ = halfOpen.take()
    let other = TestApplication(on: pair.simulation.a.engines[0])
    other.listen(2, port: 81, now: pair.simulation.now)
    other.listen(3, port: 80, now: pair.simulation.now)
    pair.peer.send([], 1, count: 10, ack: 1)
    halfOpen.send([], 1, ack: 1)
    pair.simulation.run(for: .milliseconds(1))
    #expect(socket.unread == 10 && socket.error == nil)
    #expect(pair.server.accepted.count + other.accepted.count == 1)
    ScriptedPeer(pair.simulation, port: 2001, to: 81).open()
    #expect(other.accepted.contains { $0.port == 81 })
  }

  /// A port can be listened on while connections from it are being opened, actively and passively, and
  /// the listener goes on meanwhile (MUST-42).
  @Test func listensBesideHalfOpenConnections() {
    let simulation = Simulation(engines: (1, 0))
    let application = TestApplication(on: simulation.a.engines[0])
    let socket = application.connect(to: simulation.b.address, port: 1024, localPort: 40_000)
    application.listen(port: 40_000, now: simulation.now)
    simulation.run(for: .milliseconds(1))
    let states = simulation.a.engines[0].engine.statistics().connections
    #expect(states[.synSent] == 1 && states[.listen] == 1)
    let halfOpen = ScriptedPeer(simulation, port: 3000, to: 40_000)
    halfOpen.send(.syn, 0)
    let others = [3001, 3002].map { ScriptedPeer(simulation, port: $0, to: 40_000) }
    for other in others { other.open() }
    #expect(application.accepted.count == 2)
    let peer = ScriptedPeer(simulation, to: 40_000)
    peer.send(.syn, 0, ack: 1)
    #expect(socket.isConnected)
    halfOpen.send([], 1, ack: 1)
    #expect(application.accepted.count == 3)
  }

  // MARK: Addresses

  private let second = IPAddress(v4: 10, 0, 0, 77)

  /// A host with two addresses, and the source addresses of what it has sent.
  private func multihomed() -> (ScriptedPair, sources: () -> Set<String>) {
    let pair = ScriptedPair()
    let addresses = [pair.simulation.a.address, second]
    // The observer of segments knows a host by its first address.
    pair.simulation.reportsProblems = false
    pair.simulation.a.engines[0].control { engine in
      engine.setLocalAddresses(addresses.map { (interface: 0, address: $0) })
    }
    return (pair, { Set(pair.frames.map { "\($0.sendersFlow.local)" }) })
  }

  /// Without a local address the routing table chooses it (MUST-44); what the application has chosen
  /// stands (MUST-43); and the first segment's address is that of all (MUST-45).
  @Test(arguments: [false, true])
  func activeOpenAddress(isChosen: Bool) {
    let (pair, sources) = multihomed()
    let socket = pair.server.connect(
      to: pair.simulation.b.address, port: 1024, from: isChosen ? second : .unspecified,
      localPort: 40_000)
    pair.simulation.run(for: .milliseconds(1))
    let expected = isChosen ? "10.0.0.77" : "10.0.0.1"
    #expect(sources() == [expected])
    guard let syn = pair.frames.first else { return }
    pair.peer.send(.syn, 0) {
      $0.flags = [.syn, .ack]
      $0.acknowledgement = syn.sequence + 1
      $0.destination = isChosen ? second : pair.simulation.a.address
      $0.destinationPort = 40_000
    }
    #expect(socket.isConnected)
    // The routes change.
    pair.simulation.a.engines[0].control {
      $0.setPath(
        PathConfiguration(
          destination: pair.simulation.b.address, interface: 0,
          source: isChosen ? pair.simulation.a.address : second,
          nextHop: pair.simulation.b.macAddress, mtu: 1500))
    }
    socket.send(100)
    pair.simulation.run(for: .seconds(10))
    socket.close(reset: true)
    pair.simulation.run(for: .milliseconds(1))
    #expect(sources() == [expected] && pair.frames.count > 4)
  }

  /// A passive open answers from the address that was asked, for ever (MUST-45).
  @Test func passiveOpenAddress() {
    let (pair, sources) = multihomed()
    for flags: TCPFlags in [.syn, []] {
      let isSYN = flags == .syn
      pair.peer.send(flags, isSYN ? 0 : 1) {
        $0.destination = second
        guard !isSYN, let answer = pair.frames.first else { return }
        $0.flags = .ack
        $0.acknowledgement = answer.sequence + 1
      }
    }
    let socket = pair.server.accept()
    socket?.send(100)
    socket?.close()
    pair.simulation.run(for: .seconds(2))
    #expect(sources() == ["10.0.0.77"] && pair.frames.count >= 3)
  }

  /// An active open to what is no single host is refused (MUST-46), and nothing is sent.
  @Test(arguments: [
    IPAddress(v4: 224, 0, 0, 1), IPAddress(v4: 239, 255, 255, 255),
    IPAddress(v4: 255, 255, 255, 255), IPAddress(v4: 0, 0, 0, 0),
    IPAddress(high: UInt64(0xff02_0000_0000_0000).bigEndian, low: UInt64(1).bigEndian),
    .unspecified,
  ])
  func refusesToOpen(to address: IPAddress) {
    let pair = ScriptedPair()
    // Even if the control plane has a path.
    pair.simulation.a.engines[0].control {
      $0.setPath(
        PathConfiguration(
          destination: address, interface: 0, source: pair.simulation.a.address,
          nextHop: pair.simulation.b.macAddress, mtu: 1500))
    }
    let socket = pair.server.connect(to: address, port: 1024)
    pair.simulation.run(for: .seconds(4))
    #expect(socket.error == 101 && pair.simulation.b.received.isEmpty)
  }

  /// A SYN from an address that no other single host has (MUST-63), or to one that is not of this host
  /// alone (MUST-57), is dropped in silence.
  @Test(
    arguments: [
      (IPAddress(v4: 0, 0, 0, 0), nil), (IPAddress(v4: 0, 1, 2, 3), nil),
      (IPAddress(v4: 127, 0, 0, 1), nil), (IPAddress(v4: 224, 0, 0, 1), nil),
      (IPAddress(v4: 255, 255, 255, 255), nil),
      // LAND: its own address.
      (IPAddress(v4: 10, 0, 0, 1), nil),
      (nil, IPAddress(v4: 255, 255, 255, 255)), (nil, IPAddress(v4: 10, 0, 0, 255)),
      (nil, IPAddress(v4: 224, 0, 0, 1)), (nil, IPAddress(v4: 0, 0, 0, 0)),
    ] as [(IPAddress?, IPAddress?)])
  func ignoresSYN(from source: IPAddress?, to destination: IPAddress?) {
    let pair = ScriptedPair()
    var header = pair.peer.header(.syn, 0)
    if let source { header.source = source }
    if let destination { header.destination = destination }
    pair.peer.send(header.frame())
    #expect(pair.simulation.b.received.isEmpty && pair.states[.synReceived, default: 0] == 0)
    #expect(pair.drops(.sourceAddressInvalid) + pair.drops(.destinationNotLocal) == 1)
  }

  /// The same over IPv6, and in link-layer multicast.
  @Test(arguments: [
    (UInt64(0), UInt64(0)), (0, 1), (0xff02_0000_0000_0000, 1), (0, 0xffff_0a00_0002),
  ])
  func ignoresSYNv6(high: UInt64, low: UInt64) {
    let pair = ScriptedPair(isIPv4: false)
    var header = pair.peer.header(.syn, 0)
    header.source = IPAddress(high: high.bigEndian, low: low.bigEndian)
    // Of the same family, which the mapped address is not.
    var frame = pair.peer.header(.syn, 0).frame()
    header.source.withBytes { source in
      let bytes = [UInt8](repeating: 0, count: 16 - source.count) + Array(source)
      frame.replaceSubrange(22..<38, with: bytes)
      if source.count == 4 { frame.replaceSubrange(32..<34, with: [255, 255]) }
    }
    pair.peer.send(resized: frame)
    #expect(pair.drops(.sourceAddressInvalid) == 1)
    var multicast = pair.peer.header(.syn, 0).frame()
    multicast.replaceSubrange(0..<6, with: [0x33, 0x33, 0, 0, 0, 1])
    pair.peer.send(multicast)
    #expect(pair.drops(.destinationNotLocal) == 1 && pair.simulation.b.received.isEmpty)
  }
}
