import Laboratory
import Testing

extension Integration {
  /// Web servers of all kinds: threads, processes, event loops, a cache in front of another server.
  @Suite(.network()) struct WebPrograms {
    @Test(arguments: Tier.isEverything ? WebProgram.allCases : WebProgram.quick)
    func managedInterface(_ program: WebProgram) throws {
      let network = try Network.running()
      try network.expectNoLeak {
        let behind = try pagesBehind(program, network)
        defer { behind?.stop() }
        let server = try program.start(in: network, preloaded: true)
        defer { server.stop() }
        try server.waitForAcceleration(sockets: program.sockets)
        for family in AddressFamily.allCases where family == .ipv4 || program.isDualStack {
          try exercise(program, server, family, network)
        }
      }
    }

    /// The same with FSD_LOOPBACK, from a client on the server's own host.
    @Test(arguments: Tier.isEverything ? WebProgram.allCases : [.apacheEvent])
    func loopback(_ program: WebProgram) throws {
      let network = try Network.running()
      try network.meeting(.loopback) {
        let behind = try pagesBehind(program, network)
        defer { behind?.stop() }
        let server = try program.start(in: network, preloaded: true)
        defer { server.stop() }
        try server.waitForAcceleration(sockets: program.sockets)
        let items = Array(network.content.items.dropFirst().prefix(3))
        func download() throws {
          try network.download(
            from: "http://127.0.0.1/", on: network.server, preloaded: true, items: items)
        }
        if program.isHandedOver {
          try download()
        } else {
          try network.expectAcceleration(
            ofBytes: 2 * items.reduce(0) { $0 + $1.size }, download)
        }
        try load(program, at: "127.0.0.1", from: network.server, keepsAlive: false)
      }
    }

    private func pagesBehind(_ program: WebProgram, _ network: Network) throws -> Server? {
      guard program == .varnish else { return nil }
      return try network.backend.startNginx(
        NginxOptions(root: network.content.directory), preloaded: false)
    }

    private func exercise(
      _ program: WebProgram, _ server: Server, _ family: AddressFamily, _ network: Network
    ) throws {
      let items = network.content.items
      let url = server.url(network.front, family)
      if program.isHandedOver {
        try network.download(from: url, on: network.peer, items: items)
      } else {
        try network.expectAcceleration(ofBytes: items.reduce(0) { $0 + $1.size }) {
          try network.download(from: url, on: network.peer, items: items)
        }
      }
      let opens = try network.server.daemon?.statistics().sum("passive_opens") ?? 0
      try load(
        program, at: network.front.urlAddress(family), from: network.peer, keepsAlive: false)
      if let daemon = network.server.daemon {
        #expect(try daemon.statistics().sum("passive_opens") - opens >= 1_000)
      }
      if [.apacheEvent, .varnish, .node].contains(program) {
        try load(
          program, at: network.front.urlAddress(family), from: network.peer, keepsAlive: true)
      }
    }

    /// ab, 1,000 requests.
    private func load(
      _ program: WebProgram, at address: String, from host: NetworkHost, keepsAlive: Bool
    ) throws {
      let report = try host.run(
        ["ab", "-q", "-n", "1000", "-c", "\(program.concurrency)"] + (keepsAlive ? ["-k"] : [])
          + ["http://\(address):80/1024.bin"], preloaded: host === Network.running().server,
        seconds: 60)
      #expect(report.contains("Complete requests:      1000"), "\(report)")
      #expect(report.contains("Failed requests:        0"), "\(report)")
    }
  }
}
