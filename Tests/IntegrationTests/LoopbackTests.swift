import Laboratory
import Testing

extension Integration {
  /// FSD_LOOPBACK: connections between two preloaded programs of one host.
  @Suite(.network()) struct Loopback {
    private func accelerating(_ body: (Network) throws -> Void) throws {
      let network = try Network.running()
      try network.meeting(.loopback) { try body(network) }
    }

    /// Every byte is received and sent by the proxy, and sent by the server behind it.
    @Test(arguments: ["127.0.0.1", "[::1]", "front"]) func proxyAndBackend(_ place: String) throws {
      try accelerating { network in
        let pages = try network.server.startNginx(
          NginxOptions(port: 8080, root: network.content.directory), preloaded: true)
        defer { pages.stop() }
        try pages.waitForAcceleration()
        let address = place == "front" ? network.front.address4 : place
        let proxy = try network.server.startHAProxy(
          HAProxyOptions(backend: "\(address):8080"), preloaded: true)
        defer { proxy.stop() }
        try proxy.waitForAcceleration()
        let bytes = network.content.items.reduce(0) { $0 + $1.size }
        try network.forEachFamily { family in
          try network.expectAcceleration(ofBytes: 3 * bytes) {
            try network.download(from: proxy.url(network.front, family), on: network.peer)
          }
          try network.expectAcceleration(ofBytes: 3 * bytes) {
            try network.upload(
              to: proxy.url(network.front, family, "upload/"),
              arrivingIn: #require(pages.uploadDirectory), on: network.peer)
          }
          try network.expectAcceleration(ofBytes: 3 * 1_000 * 1_024) {
            try network.fetchByThousand(from: proxy, family)
          }
        }
      }
    }

    @Test func redis() throws {
      try accelerating { network in
        let server = try network.server.startRedis(preloaded: true)
        defer { server.stop() }
        try server.waitForAcceleration()
        let frames = try network.server.daemon?.statistics().sum("loopback_frames") ?? 0
        try network.expectAcceleration(ofBytes: 2 * 10_000 * 100) {
          let report = try network.server.run(
            [
              "redis-benchmark", "-h", "127.0.0.1", "-c", "50", "-n", "20000", "-d", "100", "-t",
              "set,get", "--csv",
            ], preloaded: true)
          #expect(report.contains("\"SET\"") && report.contains("\"GET\""), "\(report)")
          #expect(!report.contains("Error"), "\(report)")
        }
        if let daemon = network.server.daemon {
          #expect(try daemon.statistics().sum("loopback_frames") - frames > 40_000)
        }
      }
    }

    /// curl and wrk as its clients.
    @Test(.enabled(if: Tier.isEverything, "make test-all")) func lighttpd() throws {
      try accelerating { network in
        let server = try network.server.startLighttpd(
          root: network.content.directory, preloaded: true)
        defer { server.stop() }
        try server.waitForAcceleration()
        let bytes = network.content.items.reduce(0) { $0 + $1.size }
        for address in ["127.0.0.1", "[::1]"] {
          let base = "http://\(address):\(server.port)/"
          try network.expectAcceleration(ofBytes: 4 * bytes) {
            try network.download(from: base, on: network.server, preloaded: true)
            try network.upload(
              to: base + "upload/", arrivingIn: #require(server.uploadDirectory),
              on: network.server, preloaded: true)
          }
          try network.expectAcceleration(ofBytes: 2 * 1_000 * 1_024) {
            let report = try WrkReport(
              network.server.run(
                ["wrk", "-t2", "-c100", "-d3s", "--timeout", "10s", base + "1024.bin"],
                preloaded: true))
            #expect(report.isClean && report.requests > 1_000, "\(report.text)")
          }
        }
      }
    }

    /// Programs without the library, or that have not asked for it, meet in the kernel as ever.
    @Test func mixed() throws {
      let network = try Network.running()
      let items = [network.content.items[2]]
      try network.expectNoLeak {
        let server = try network.server.startNginx(
          NginxOptions(root: network.content.directory), preloaded: true)
        defer { server.stop() }
        for (preloaded, asks) in [(false, false), (true, false), (true, true)] {
          network.server.environmentOfPreloaded = asks ? ["FSD_LOOPBACK": "1"] : [:]
          defer { network.server.environmentOfPreloaded = [:] }
          let before = try network.server.kernelCounters()
          try network.download(
            from: "http://127.0.0.1:80/", on: network.server, preloaded: preloaded, items: items)
          #expect(try network.server.kernelCounters().since(before)["PassiveOpens"] == 1)
        }
      }
    }
  }
}
