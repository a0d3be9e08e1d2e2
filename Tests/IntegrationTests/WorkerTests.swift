import Foundation
import Laboratory
import Synchronization
import Testing

extension Integration {
  /// Workers of servers and the engines they accept from, as the original's local listen tables: more of
  /// them than cores, dying, leaving, beside others, bound or not.
  @Suite(.network(queues: 2)) struct Workers {
    /// Five workers, two engines: each has its own channel, and whoever is killed is missed by nobody.
    @Test func moreWorkersThanEngines() throws {
      let network = try Network.running()
      try network.whileServing({
        try $0.startNginx(
          NginxOptions(workers: 5, root: network.content.directory), preloaded: true)
      }) { server in
        try network.expectAcceleration(ofBytes: 1_000 * 1_024) {
          try network.fetchByThousand(from: server, .ipv4)
        }
        guard network.server.daemon != nil else { return }
        let areAll = try waitUntil(seconds: 5) {
          try acceptors(network, port: server.port).count == 5
        }
        #expect(areAll, "every worker accepts")
        let engines = try engines(network, port: server.port)
        #expect(engines == [0, 1], "both engines have acceptors")
        let result = try underLoad(network, server) {
          for _ in 0..<Operation.times {
            let victims = try acceptors(network, port: server.port).sorted().prefix(2)
            for victim in victims { kill(pid_t(victim), SIGKILL) }
            let areReplaced = try waitUntil(seconds: 5) {
              let now = try acceptors(network, port: server.port)
              return now.count == 5 && now.isDisjoint(with: victims)
            }
            #expect(areReplaced)
          }
        }
        // Eight connections are open at a time.
        #expect(result.failures <= 8 * Operation.times && result.wrongResponses == 0)
        #expect(result.requests > 100)
      }
    }

    /// Workers go until one is left: it serves both engines' connections.
    @Test func oneWorkerLeft() throws {
      let network = try Network.running()
      try network.whileServing({
        try $0.startNginx(
          NginxOptions(workers: 2, root: network.content.directory), preloaded: true)
      }) { server in
        guard network.server.daemon != nil else { return }
        // The master starts no other while it is stopped.
        server.process.signal(SIGSTOP)
        defer { server.process.signal(SIGCONT) }
        let victim = try #require(acceptors(network, port: server.port).min())
        kill(pid_t(victim), SIGKILL)
        let result = try underLoad(network, server) {
          let isAlone = try waitUntil(seconds: 5) {
            try acceptors(network, port: server.port).count == 1
          }
          #expect(isAlone)
          let servesBoth = try waitUntil(seconds: 10) {
            try engines(network, port: server.port) == [0, 1]
          }
          #expect(servesBoth, "the one that is left has been asked to accept on the other engine")
        }
        #expect(result.failures <= 8 && result.wrongResponses == 0 && result.requests > 100)
      }
    }

    /// A group with SO_REUSEPORT, of which one half is accelerated and the other is not: connections from
    /// outside are the accelerated ones' as long as they live, then the others'.
    @Test func reusePortBesideTheKernel() throws {
      let network = try Network.running()
      try network.expectNoLeak {
        let options = NginxOptions(
          workers: 2, reusePort: true, root: network.content.directory)
        let ours = try network.server.startNginx(options, preloaded: true)
        defer { ours.stop() }
        try ours.waitForAcceleration()
        let others = try network.server.startNginx(options, preloaded: false)
        defer { others.stop() }
        try network.expectAcceleration(ofBytes: 1_000 * 1_024) {
          try network.fetchByThousand(from: ours, .ipv4)
        }
        ours.stop()
        let isServed = waitUntil(seconds: 5) {
          (try? network.download(
            from: others.url(network.front, .ipv4), on: network.peer,
            items: Array(network.content.items.prefix(3)))) != nil
        }
        #expect(isServed, "the kernel's half of the group serves alone")
      }
    }

    /// Threads of one process on both engines, and more of them than engines.
    @Test func threads() throws {
      let network = try Network.running()
      try network.expectNoLeak {
        let pages = try network.backend.startNginx(
          NginxOptions(root: network.content.directory), preloaded: false)
        defer { pages.stop() }
        let proxy = try network.server.startHAProxy(
          HAProxyOptions(threads: 5, backend: "\(network.backendEnd.address4):\(pages.port)"),
          preloaded: true)
        defer { proxy.stop() }
        try proxy.waitForAcceleration()
        try network.expectAcceleration(ofBytes: 1_000 * 1_024) {
          try network.fetchByThousand(from: proxy, .ipv4)
        }
        guard network.server.daemon != nil else { return }
        #expect(try engines(network, port: proxy.port) == [0, 1])
      }
    }

    // MARK: The slow path

    /// Connections that come by way of the kernel and those that engines bring: neither starves while the
    /// other has plenty.
    @Test func bothQueuesAreServed() throws {
      let network = try Network.running()
      try network.whileServing({
        try $0.startNginx(
          NginxOptions(workers: 1, root: network.content.directory), preloaded: true)
      }) { server in
        let kernel = Mutex<LoadResult?>(nil)
        let accelerated = try underLoad(network, server) {
          let (host, port) = (network.server, server.port)
          let result = try host.perform {
            var client = try LoadClient(
              LoadPlan(
                address: "127.0.0.1", port: port, shortConnections: true, concurrency: 8,
                seconds: 3, expectedBody: Array(NginxOptions().text.utf8)))
            return client.run()
          }
          kernel.withLock { $0 = result }
        }
        let loopback = try #require(kernel.withLock { $0 })
        print("by way of the kernel \(loopback.requests), of the engines \(accelerated.requests)")
        #expect(accelerated.isClean && loopback.isClean)
        // Eight connections at a time on either side. The kernel's cost more, and its client shares the
        // processors; with one side starved there would be none.
        #expect(loopback.requests * 20 > accelerated.requests)
        #expect(accelerated.requests * 20 > loopback.requests)
        guard let daemon = network.server.daemon else { return }
        let text = try daemon.host.runDaemonCommand(["stats"])
        #expect(text.contains("accepts common (by way of the kernel)"), "\(text)")
      }
    }

    // MARK: Affinity

    /// Nothing changes a program's affinity, unless it is asked for: then each worker is bound to another
    /// engine's processor, and so are those that follow after a reload.
    @Test func workersAreBoundWhenAskedFor() throws {
      let network = try Network.running()
      guard network.server.daemon != nil else { return }
      let everything = try affinity(of: Int(getpid()))
      for isPinned in [false, true] {
        network.server.environmentOfPreloaded = isPinned ? ["FSD_PIN": "1"] : [:]
        defer { network.server.environmentOfPreloaded = [:] }
        let server = try network.server.startNginx(
          NginxOptions(workers: 2, root: network.content.directory), preloaded: true)
        defer { server.stop() }
        try server.waitForAcceleration()
        let expected = isPinned ? Set(["0", "1"]) : [everything]
        #expect(try affinities(network, server) == expected)
        let before = try acceptors(network, port: server.port)
        server.process.signal(SIGHUP)
        let isReloaded = try waitUntil(seconds: 10) {
          let now = try acceptors(network, port: server.port)
          return now.count == 2 && now.isDisjoint(with: before)
        }
        #expect(isReloaded)
        let areSpread = try waitUntil(seconds: 5) {
          try affinities(network, server) == expected
        }
        let spread = try affinities(network, server)
        #expect(areSpread, "\(spread)")
        #expect(
          try affinity(of: Int(server.process.identifier)) == everything, "not the master's")
      }
    }

    /// `fsd run --pin`.
    @Test func runBinds() throws {
      let network = try Network.running()
      guard network.server.daemon != nil else { return }
      let fsd = network.laboratory.artifacts.daemon
      let environment = ["FSD_RUNTIME_DIR": network.server.runtimeDirectory]
      for (options, value) in [(["--pin"], "1\n"), ([], "\n")] {
        let output = try network.server.run(
          [fsd, "run"] + options + ["--", "sh", "-c", "echo $FSD_PIN"], environment: environment)
        #expect(output == value)
      }
    }

    // MARK: Helpers

    private func engines(_ network: Network, port: Int) throws -> Set<Int> {
      guard let daemon = network.server.daemon else { return [] }
      let listeners = try daemon.listeners().filter { $0.port == port }
      return Set(listeners.flatMap { $0.acceptors.map(\.engine) })
    }

    private func affinities(_ network: Network, _ server: Server) throws -> Set<String> {
      Set(try acceptors(network, port: server.port).map { try affinity(of: $0) })
    }

    /// The processors that a process may run on, as the kernel writes them.
    private func affinity(of process: Int) throws -> String {
      let text = try String(contentsOfFile: "/proc/\(process)/status", encoding: .utf8)
      let line = text.split(separator: "\n").first { $0.hasPrefix("Cpus_allowed_list:") }
      return line?.split(separator: "\t").last.map(String.init) ?? ""
    }
  }
}
