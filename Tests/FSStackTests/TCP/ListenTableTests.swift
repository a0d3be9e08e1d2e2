import Testing

@testable import FSStack

@Suite struct ListenTableTests {
  private struct Socket {
    var address: IPAddress
    var port: UInt16
    var isIPv6Only: Bool
  }

  private static let addresses = [
    IPAddress(v4: 0, 0, 0, 0), IPAddress(v4: 10, 0, 0, 1), IPAddress(v4: 10, 0, 0, 2), .unspecified,
    IPAddress(high: 1, low: 2),
  ]
  /// Some of them in one list.
  private static let ports: [UInt16] = [80, 81, 80 + 256, 80 + 512, 65_535]

  /// Whether a socket may take a connection, and how well it fits: Linux's compute_score.
  private func rank(_ socket: Socket, _ address: IPAddress, _ port: UInt16) -> Int? {
    guard socket.port == port else { return nil }
    if socket.address == address { return 0 }
    guard socket.address.isUnspecified else { return nil }
    if socket.address.isIPv4 == address.isIPv4 { return 1 }
    return socket.address.isIPv4 ? nil : 2
  }

  /// Sockets come and go: the best one of those that are there is found, and an IPv6-only one takes no
  /// IPv4 connection.
  @Test func findsTheBest() throws {
    var random = SplitMix64(seed: 11)
    var table = ListenTable(capacity: 64, acceptorCapacity: 1)
    defer { table.deallocate() }
    var model: [UInt32: Socket] = [:]
    for step in 0..<4000 {
      let number = UInt32.random(in: 0..<40, using: &random)
      if model.removeValue(forKey: number) != nil {
        if let last = table.remove(number) { table.removeEndpoint(last) }
      } else {
        let socket = Socket(
          address: try #require(Self.addresses.randomElement(using: &random)),
          port: try #require(Self.ports.randomElement(using: &random)),
          isIPv6Only: random.chance(0.5))
        model[number] = socket
        let isAdded = table.add(
          number, address: socket.address, port: socket.port, isIPv6Only: socket.isIPv6Only,
          backlog: 1)
        #expect(isAdded)
      }
      for port in Self.ports {
        for address in Self.addresses + [IPAddress(v4: 10, 0, 0, 3), IPAddress(high: 1, low: 3)] {
          check(table, model, address, port, "step \(step)")
        }
      }
    }
  }

  private func check(
    _ table: ListenTable, _ model: [UInt32: Socket], _ address: IPAddress, _ port: UInt16,
    _ comment: Comment
  ) {
    let best = model.values.compactMap { rank($0, address, port) }.min()
    guard let found = table.find(address, port: port) else {
      #expect(best == nil, comment)
      return
    }
    let sockets = model.values.filter {
      $0.address == table.endpoints[found].address && $0.port == port
    }
    #expect(sockets.first.flatMap { rank($0, address, port) } == best, comment)
    #expect(table.endpoints[found].listenerCount == sockets.count, comment)
    let mustBeIPv6 = address.isIPv4 && sockets.allSatisfy { !$0.address.isIPv4 }
    #expect(
      table.accepts(found, address) == (!mustBeIPv6 || sockets.contains { !$0.isIPv6Only }), comment
    )
  }

  /// In turn, and who waits before who is at work.
  @Test func nextAcceptor() throws {
    var table = ListenTable(capacity: 1, acceptorCapacity: 3)
    defer { table.deallocate() }
    let isAdded = table.add(
      1, address: Self.addresses[0], port: 80, isIPv6Only: false, backlog: 1)
    #expect(isAdded)
    let channels = (0..<3).map { ChannelID(raw: $0) }
    let endpoint = try #require(
      channels.map { table.join(1, channel: $0, isRemote: false) }.last ?? nil)
    func next(waiting: Set<UInt32>) -> UInt32? {
      let acceptor = table.nextAcceptor(
        of: endpoint, canTake: { _ in true }, isWaiting: { waiting.contains($0.raw) })
      return acceptor.map { table.acceptors[$0].channel.raw }
    }
    #expect((0..<6).map { _ in next(waiting: []) } == [0, 1, 2, 0, 1, 2])
    #expect((0..<4).map { _ in next(waiting: [0, 1, 2]) } == [0, 1, 2, 0])
    #expect((0..<2).map { _ in next(waiting: [2]) } == [2, 2])
    #expect((0..<4).map { _ in next(waiting: [0, 2]) } == [0, 2, 0, 2])
  }
}
