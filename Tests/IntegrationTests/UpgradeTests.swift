import Foundation
import Laboratory
import Testing

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
        try expectAccelerated(network, server) {
          for _ in 0..<Operation.times { try upgrade(server, in: network) }
        }
      }
    }

    private func upgrade(_ server: Server, in network: Network) throws {
      let old = try server.mainProcess()
      let before = try acceptors(network, port: server.port)
      kill(old, SIGUSR2)
      let isThere = waitUntil(seconds: 5) { (try? server.mainProcess()) != old }
      #expect(isThere, "the new master has written its number")
      let accepts = try waitUntil(seconds: 5) {
        try network.server.daemon == nil
          || acceptors(network, port: server.port).subtracting(before).count == 2
      }
      #expect(accepts, "the new workers accept from the engines")
      kill(old, SIGWINCH)
      let isAlone = try waitUntil(seconds: 5) {
        try acceptors(network, port: server.port).isDisjoint(with: before)
      }
      #expect(isAlone, "the old workers are gone")
      kill(old, SIGQUIT)
      #expect(waitUntil(seconds: 5) { kill(old, 0) != 0 }, "the old master is gone")
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
        try expectAccelerated(network, proxy) {
          for _ in 0..<Operation.times {
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
