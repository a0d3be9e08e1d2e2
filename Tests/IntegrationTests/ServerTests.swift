import Laboratory
import Testing

/// The nginx configurations under test.
private let nginxVariants: [NginxOptions] = [1, 2].flatMap { workers in
  [false, true].flatMap { mutex in
    [false, true].map { reuse in
      NginxOptions(workers: workers, acceptMutex: mutex, reusePort: reuse)
    }
  }
}

/// What every web server is put through by clients of the kernel.
private func exercise(_ server: Server, in network: Network, uploads: String) throws {
  let bytes = network.content.items.reduce(0) { $0 + $1.size }
  try server.waitForAcceleration()
  try network.forEachFamily { family in
    try network.expectAcceleration(ofBytes: bytes) {
      try network.download(from: server.url(network.front, family), on: network.peer)
    }
    try network.expectAcceleration(ofBytes: bytes) {
      try network.upload(
        to: server.url(network.front, family, "upload/"), arrivingIn: uploads, on: network.peer)
    }
    try network.expectAcceleration(ofBytes: 1_000 * 1_024) {
      try network.fetchByThousand(from: server, family)
    }
  }
}

extension Integration {
  /// Preloaded web servers, and clients of the kernel.
  @Suite(.network()) struct WebServers {
    @Test(arguments: nginxVariants) func nginx(_ options: NginxOptions) throws {
      let network = try Network.running()
      try network.expectNoLeak {
        var options = options
        options.root = network.content.directory
        let server = try network.server.startNginx(options, preloaded: true)
        defer { server.stop() }
        try exercise(server, in: network, uploads: #require(server.uploadDirectory))
      }
    }

    @Test func lighttpd() throws {
      let network = try Network.running()
      try network.expectNoLeak {
        let server = try network.server.startLighttpd(
          root: network.content.directory, preloaded: true)
        defer { server.stop() }
        try exercise(server, in: network, uploads: #require(server.uploadDirectory))
      }
    }

    /// Both sides of the proxy are accelerated; the server behind it is the kernel's.
    @Test(arguments: [(1, false), (2, false), (2, true)])
    func haproxy(threads: Int, asDebian: Bool) throws {
      let network = try Network.running()
      try network.expectNoLeak {
        let pages = try network.backend.startNginx(
          NginxOptions(root: network.content.directory), preloaded: false)
        defer { pages.stop() }
        let proxy = try network.server.startHAProxy(
          HAProxyOptions(
            threads: threads, backend: "\(network.backendEnd.address4):\(pages.port)",
            asDebian: asDebian), preloaded: true)
        defer { proxy.stop() }
        try exercise(proxy, in: network, uploads: #require(pages.uploadDirectory))
      }
    }

    @Test func wrkSeesNoErrors() throws {
      let network = try Network.running()
      try network.whileServing({
        try $0.startNginx(
          NginxOptions(workers: 2, root: network.content.directory), preloaded: true)
      }) { server in
        let url = server.url(network.front, .ipv4, "1024.bin")
        try network.expectAcceptance {
          let report = try WrkReport(
            network.peer.run(["wrk", "-t1", "-c1000", "-d3s", "--timeout", "10s", url]))
          #expect(report.isClean && report.requests > 1_000, "\(report.text)")
          return 1_000
        }
        try network.expectAcceptance {
          let report = try WrkReport(
            network.peer.run(
              ["wrk", "-t1", "-c100", "-d3s", "--timeout", "10s", "-H", "Connection: close", url]))
          #expect(report.isClean && report.requests > 1_000, "\(report.text)")
          return report.requests
        }
      }
    }
  }

  /// The same with two engines, where a connection may arrive at an engine other than its own.
  @Suite(.network(queues: 2)) struct TwoEngines {
    @Test(arguments: [false, true]) func nginx(reusePort: Bool) throws {
      let network = try Network.running()
      try network.expectNoLeak {
        let server = try network.server.startNginx(
          NginxOptions(workers: 2, reusePort: reusePort, root: network.content.directory),
          preloaded: true)
        defer { server.stop() }
        try exercise(server, in: network, uploads: #require(server.uploadDirectory))
      }
    }

    @Test func haproxy() throws {
      let network = try Network.running()
      try network.expectNoLeak {
        let pages = try network.backend.startNginx(
          NginxOptions(root: network.content.directory), preloaded: false)
        defer { pages.stop() }
        let proxy = try network.server.startHAProxy(
          HAProxyOptions(threads: 2, backend: "\(network.backendEnd.address4):\(pages.port)"),
          preloaded: true)
        defer { proxy.stop() }
        try exercise(proxy, in: network, uploads: #require(pages.uploadDirectory))
      }
    }
  }
}
