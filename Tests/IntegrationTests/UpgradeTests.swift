import Foundation
import Laboratory
import Synchronization
import Testing

/// Short connections to a server while `body` does something to it.
func underLoad(
  _ network: Network, _ server: Server, seconds: Double, _ body: () throws -> Void
) throws -> LoadResult {
  let plan = LoadPlan(
    address: network.front.address4, port: server.port, shortConnections: true, concurrency: 8,
    seconds: seconds, expectedBody: Array(NginxOptions().text.utf8))
  let outcome = Mutex<Result<LoadResult, any Error>?>(nil)
  let finished = DispatchSemaphore(value: 0)
  let peer = network.peer
  Thread.detachNewThread {
    let result = Result {
      try peer.perform {
        var load = try LoadClient(plan)
        return load.run()
      }
    }
    outcome.withLock { $0 = result }
    finished.signal()
  }
  let thrown = Result { try body() }
  finished.wait()
  try thrown.get()
  return try #require(outcome.withLock { $0 }).get()
}

/// The load saw no failure, and the kernel accepted none of its connections.
func expectAccelerated(
  _ network: Network, _ server: Server, seconds: Double, _ body: () throws -> Void
) throws {
  let before = try network.server.kernelCounters()
  let result = try underLoad(network, server, seconds: seconds, body)
  let isClean = result.isClean
  #expect(isClean, "\(result.failures) failures: \(result.firstFailure ?? "none")")
  guard network.server.daemon != nil else { return }
  let kernel = try network.server.kernelCounters().since(before)
  #expect(kernel["PassiveOpens"] == 0, "connections the kernel accepted")
}

/// Processes that accept connections to a port from engines.
func acceptors(_ network: Network, port: Int) throws -> Set<Int> {
  guard let daemon = network.server.daemon else { return [] }
  let listeners = try daemon.listeners().filter { $0.port == port }
  return Set(listeners.flatMap { $0.acceptors.map(\.process) })
}

extension Integration {
  /// Listening sockets that go from one process to the next, under load.
  @Suite(.network()) struct Upgrades {
    /// The new binary gets the listeners by exec, and never calls listen().
    @Test func nginxBinary() throws {
      let network = try Network.running()
      try network.expectNoLeak {
        var options = NginxOptions(workers: 2, root: network.content.directory)
        options.isDetached = true
        let server = try network.server.startNginx(options, preloaded: true)
        defer { server.stop() }
        try server.waitForAcceleration()
        let old = try server.mainProcess()
        let before = try acceptors(network, port: server.port)
        try expectAccelerated(network, server, seconds: 4) {
          kill(old, SIGUSR2)
          let isThere = waitUntil(seconds: 3) { (try? server.mainProcess()) != old }
          #expect(isThere, "the new master has written its number")
          let accepts = try waitUntil(seconds: 3) {
            try network.server.daemon == nil
              || acceptors(network, port: server.port).subtracting(before).count == 2
          }
          #expect(accepts, "the new workers accept from the engines")
          kill(old, SIGWINCH)
          let isAlone = try waitUntil(seconds: 3) {
            try acceptors(network, port: server.port).isDisjoint(with: before)
          }
          #expect(isAlone, "the old workers are gone")
          kill(old, SIGQUIT)
          #expect(waitUntil(seconds: 3) { kill(old, 0) != 0 }, "the old master is gone")
        }
      }
    }

    /// The new process gets the listeners beside a message.
    @Test(arguments: [false, true]) func haproxyReload(asDebian: Bool) throws {
      let network = try Network.running()
      try network.expectNoLeak {
        let pages = try network.backend.startNginx(
          NginxOptions(root: network.content.directory), preloaded: false)
        defer { pages.stop() }
        var options = HAProxyOptions(
          threads: 2, backend: "\(network.backendEnd.address4):\(pages.port)", asDebian: asDebian)
        options.isMaster = true
        options.exposesListeners = true
        let proxy = try network.server.startHAProxy(options, preloaded: true)
        defer { proxy.stop() }
        try proxy.waitForAcceleration()
        try expectAccelerated(network, proxy, seconds: 4) {
          for _ in 0..<3 {
            let before = try acceptors(network, port: proxy.port)
            proxy.process.signal(SIGUSR2)
            let isTaken = try waitUntil(seconds: 3) {
              let now = try acceptors(network, port: proxy.port)
              return network.server.daemon == nil || !now.isEmpty && now.isDisjoint(with: before)
            }
            #expect(isTaken, "a new worker accepts from the engines")
          }
        }
      }
    }
  }
}
