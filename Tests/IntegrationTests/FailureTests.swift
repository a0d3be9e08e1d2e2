import Foundation
import Laboratory
import Testing

extension Integration {
  /// Applications and daemons that end, in good order or not.
  @Suite(.network(startsDaemon: false)) struct Failures {
    @Test func killedApplicationEndsItsConnectionsAndNoOthers() throws {
      let network = try Network.running()
      try network.startDaemon()
      defer { try? network.server.daemon?.stop() }
      try network.expectNoLeak {
        let nginx = try network.server.startNginx(
          NginxOptions(workers: 2, root: network.content.directory), preloaded: true)
        defer { nginx.stop() }
        let redis = try network.server.startRedis(preloaded: true)
        defer { redis.stop() }
        try nginx.waitForAcceleration()
        try redis.waitForAcceleration()
        let address = network.front.address4
        let ping = Array("PING\r\n".utf8)
        let pong = Array("+PONG\r\n".utf8)
        let survivor = try network.peer.connect(to: address, port: redis.port)
        try survivor.send(ping)
        #expect(try survivor.receive() == pong)
        let victims = try network.peer.connect(to: address, port: nginx.port, count: 50)
        for victim in victims {
          try victim.send(Array("GET /text HTTP/1.1\r\nHost: lab\r\n\r\n".utf8))
          #expect(try victim.receive().starts(with: "HTTP/1.1 200".utf8))
        }
        nginx.process.killGroup()
        // As if it had closed them, having read everything.
        for victim in victims { #expect(try victim.receive().isEmpty) }
        try survivor.send(ping)
        #expect(try survivor.receive() == pong)
        let isRefused = waitUntil(seconds: 3) {
          (try? network.peer.connect(to: address, port: nginx.port)) == nil
        }
        #expect(isRefused, "nothing listens any more")
      }
    }

    @Test func killedDaemonLeavesTheKernelServing() throws {
      let network = try Network.running()
      try network.startDaemon()
      try #require(network.laboratory.usesKernel || network.server.daemon != nil)
      let server = try network.server.startNginx(
        NginxOptions(workers: 2, root: network.content.directory), preloaded: true)
      defer { server.stop() }
      try server.waitForAcceleration()
      try network.download(from: server.url(network.front, .ipv4), on: network.peer)
      network.server.daemon?.kill()
      // At once: no SYN goes to what the daemon has left, and has to be sent again.
      let items = Array(network.content.items.prefix(4))
      try network.forEachFamily { family in
        let (peerBefore, before) = try (
          network.peer.kernelCounters(), network.server.kernelCounters()
        )
        try network.download(
          from: server.url(network.front, family), on: network.peer, items: items)
        #expect(try network.peer.kernelCounters().since(peerBefore)["TCPSynRetrans"] == 0)
        #expect(try network.server.kernelCounters().since(before)["PassiveOpens"] == 1)
      }
      // A new daemon takes over from the dead one.
      try network.startDaemon()
      defer { try? network.server.daemon?.stop() }
      let second = try network.server.startNginx(
        NginxOptions(port: 8_080, root: network.content.directory), preloaded: true)
      defer { second.stop() }
      try second.waitForAcceleration()
      try network.expectAcceleration(ofBytes: 100 << 20) {
        try network.download(from: second.url(network.front, .ipv4), on: network.peer)
      }
    }

    @Test func withoutADaemonNothingChanges() throws {
      let network = try Network.running()
      let server = try network.server.startNginx(
        NginxOptions(workers: 2, root: network.content.directory), preloaded: true)
      defer { server.stop() }
      #expect(server.process.errorOutput == "")
      try network.forEachFamily { family in
        try network.download(from: server.url(network.front, family), on: network.peer)
        try network.fetchByThousand(from: server, family)
      }
      let other = try network.peer.startRedis(preloaded: false)
      defer { other.stop() }
      let answer = try network.server.run(
        ["redis-cli", "-h", network.peerEnd.address4, "PING"], preloaded: true)
      #expect(answer == "PONG\n")
    }

    @Test func stopLeavesNothingBehind() throws {
      let network = try Network.running()
      func state() throws -> [String] {
        let host = network.server
        var parts = [try host.systemControl("net.ipv4.ip_local_reserved_ports")]
        for interface in [network.front.interface, network.back.interface] {
          parts.append(try host.run(["ip", "-d", "link", "show", "dev", interface]))
          parts.append(try host.run(["ethtool", "-k", interface]))
        }
        return parts
      }
      let before = try state()
      #expect(!before.joined().contains("prog/xdp"))
      try network.startDaemon()
      if let daemon = network.server.daemon {
        #expect(try state().joined().contains("prog/xdp"))
        let server = try network.server.startNginx(
          NginxOptions(root: network.content.directory), preloaded: true)
        defer { server.stop() }
        try server.waitForAcceleration()
        try network.download(from: server.url(network.front, .ipv4), on: network.peer)
        try daemon.stop()
        // The application lives on with the kernel.
        try network.download(from: server.url(network.front, .ipv4), on: network.peer)
      }
      #expect(try state() == before)
      let remains = try? FileManager.default.contentsOfDirectory(
        atPath: network.server.runtimeDirectory)
      #expect(remains ?? [] == [])
    }
  }
}
