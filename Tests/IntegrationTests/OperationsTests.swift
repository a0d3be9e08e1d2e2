import Foundation
import Laboratory
import Testing

extension Integration {
  /// What administrators do to servers that are serving: no request fails by it.
  @Suite(.network()) struct Operations {
    @Test(arguments: [false, true]) func nginxReload(reusePort: Bool) throws {
      let network = try Network.running()
      try network.whileServing({
        try $0.startNginx(
          NginxOptions(workers: 2, reusePort: reusePort, root: network.content.directory),
          preloaded: true)
      }) { server in
        try expectAccelerated(network, server) {
          for _ in 0..<Operation.times {
            let before = try workers(of: server)
            server.process.signal(SIGHUP)
            let isReplaced = try waitUntil(seconds: 5) {
              let now = try workers(of: server)
              return now.count == 2 && now.isDisjoint(with: before)
            }
            #expect(isReplaced, "new workers have replaced the old ones")
            Thread.sleep(forTimeInterval: 0.2)
          }
        }
      }
    }

    /// A worker is killed: what it had accepted is lost, as in Linux; what it had not goes to its
    /// sibling, and the master starts another.
    @Test func nginxWorkerKilled() throws {
      let network = try Network.running()
      try network.whileServing({
        try $0.startNginx(
          NginxOptions(workers: 2, root: network.content.directory), preloaded: true)
      }) { server in
        let result = try underLoad(network, server) {
          for _ in 0..<Operation.times {
            let before = try workers(of: server)
            let victim = try #require(before.first)
            kill(pid_t(victim), SIGKILL)
            let isReplaced = try waitUntil(seconds: 5) {
              let now = try workers(of: server)
              return now.count == 2 && !now.contains(victim)
            }
            #expect(isReplaced, "the master has started another worker")
            Thread.sleep(forTimeInterval: 0.2)
          }
        }
        // Eight connections are open at a time; a killed worker can have accepted no more.
        #expect(result.failures <= 8 * Operation.times && result.wrongResponses == 0)
        #expect(result.requests > 100)
      }
    }

    /// `-sf`: the old process stops listening, serves what it has, and ends.
    @Test func haproxySoftStop() throws {
      let network = try Network.running()
      try network.expectNoLeak {
        let pages = try network.backend.startNginx(
          NginxOptions(root: network.content.directory), preloaded: false)
        defer { pages.stop() }
        var options = HAProxyOptions(
          threads: 2, backend: "\(network.backendEnd.address4):\(pages.port)")
        options.exposesListeners = true
        var proxy = try network.server.startHAProxy(options, preloaded: true)
        defer { proxy.stop() }
        try proxy.waitForAcceleration()
        try expectAccelerated(network, proxy) {
          for _ in 0..<Operation.times {
            let old = proxy
            options.predecessor = old
            proxy = try network.server.startHAProxy(options, preloaded: true)
            let isGone = waitUntil(seconds: 5) { !old.process.isRunning }
            #expect(isGone, "the old process has ended")
            old.stop()
            Thread.sleep(forTimeInterval: 0.2)
          }
        }
      }
    }

    /// SIGUSR1: lighttpd takes no connections until those it has are done, and reads its
    /// configuration anew.
    @Test func lighttpdRestart() throws {
      let network = try Network.running()
      try network.whileServing({
        try $0.startLighttpd(
          root: network.content.directory, preloaded: true)
      }) { server in
        let item = network.content.items[2]
        let content = try Data(contentsOf: URL(fileURLWithPath: network.content.path(item)))
        try expectAccelerated(network, server, Asked(path: "/\(item.name)", body: Array(content))) {
          for _ in 0..<Operation.times {
            server.process.signal(SIGUSR1)
            Thread.sleep(forTimeInterval: 0.3)
          }
          #expect(server.process.isRunning)
        }
      }
    }

    /// Snapshots by a forked child, which holds all connections, while clients write.
    @Test func redisSnapshots() throws {
      let network = try Network.running()
      try network.whileServing({ try $0.startRedis(preloaded: true) }) { server in
        let client = ["redis-cli", "-h", network.front.address4]
        let benchmark = try network.peer.start([
          "redis-benchmark", "-h", network.front.address4, "-c", "100", "-n",
          "\(Operation.times * 30_000)", "-r", "10000", "-d", "200", "-t", "set,get", "--csv",
        ])
        for _ in 0..<Operation.times {
          let answer = try network.peer.run(client + ["BGSAVE"])
          #expect(answer.contains("Background saving started"), "\(answer)")
          let isSaved = try waitUntil(seconds: 20) {
            try network.peer.run(client + ["INFO", "persistence"])
              .contains("rdb_bgsave_in_progress:0")
          }
          #expect(isSaved)
        }
        #expect(benchmark.wait(seconds: 120)?.isSuccess == true)
        #expect(!benchmark.output.contains("Error") && benchmark.output.contains("\"GET\""))
        network.laboratory.discard(benchmark)
        let state = try network.peer.run(client + ["INFO", "persistence"])
        #expect(state.contains("rdb_last_bgsave_status:ok"), "\(state)")
      }
    }

    /// A replica of the kernel's follows an accelerated master, and an accelerated replica a master
    /// of the kernel's.
    @Test(arguments: [true, false]) func redisReplication(masterIsPreloaded: Bool) throws {
      let network = try Network.running()
      try network.expectNoLeak {
        let hosts =
          masterIsPreloaded
          ? (network.server, network.peer) : (network.peer, network.server)
        let master = try hosts.0.startRedis(preloaded: masterIsPreloaded)
        defer { master.stop() }
        let replica = try hosts.1.startRedis(preloaded: !masterIsPreloaded)
        defer { replica.stop() }
        let address = masterIsPreloaded ? network.front.address4 : network.peerEnd.address4
        // Some keys before, some after the replica has its copy.
        for round in 0..<2 {
          let report = try hosts.1.run(
            [
              "redis-benchmark", "-h", address, "-c", "20", "-n", "20000", "-r",
              "\((round + 1) * 5000)", "-d", "300", "-t", "set", "--csv",
            ], preloaded: !masterIsPreloaded)
          #expect(report.contains("\"SET\""))
          if round == 0 {
            let answer = try hosts.1.run(["redis-cli", "REPLICAOF", address, "6379"])
            #expect(answer == "OK\n")
          }
          var digests: [String] = []
          let isEqual = try waitUntil(seconds: 20, every: 0.2) {
            digests = try [hosts.0, hosts.1].map { try $0.run(["redis-cli", "DEBUG", "DIGEST"]) }
            return digests[0] == digests[1] && !digests[0].hasPrefix("0000000")
          }
          #expect(isEqual, "\(digests)")
        }
      }
    }

    private func workers(of server: Server) throws -> Set<Int> {
      let master = server.process.identifier
      let path = "/proc/\(master)/task/\(master)/children"
      let text = try String(contentsOfFile: path, encoding: .utf8)
      return Set(text.split(separator: " ").compactMap { Int($0) })
    }
  }
}
