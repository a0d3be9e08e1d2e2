import Laboratory
import Testing

/// Accepts one connection, listens no more, and echoes what comes.
private let echoOfOne = """
  import socket, sys
  listener = socket.create_server(("", int(sys.argv[1])))
  connection, _ = listener.accept()
  listener.close()
  while block := connection.recv(4096):
      connection.sendall(block)
  """

extension Integration {
  /// What is not an accelerated flow stays with the kernel, on the same interface and address.
  @Suite(.network()) struct Coexistence {
    @Test func kernelTrafficGoesOnBesideAcceleratedTraffic() throws {
      let network = try Network.running()
      try network.expectNoLeak {
        let accelerated = try network.server.startNginx(
          NginxOptions(root: network.content.directory), preloaded: true)
        defer { accelerated.stop() }
        let plain = try network.server.startNginx(
          NginxOptions(port: 8_080, root: network.content.directory), preloaded: false)
        defer { plain.stop() }
        try accelerated.waitForAcceleration()
        let opens = try network.server.daemon?.statistics().sum("passive_opens") ?? 0
        let load = try network.peer.start([
          "wrk", "-t1", "-c20", "-d4s", accelerated.url(network.front, .ipv4, "1024.bin"),
        ])
        try network.forEachFamily { family in
          try network.download(from: plain.url(network.front, family), on: network.peer)
          let replies = try network.peer.run([
            "ping", "-c", "5", "-i", "0.1", "-W", "2", network.front.address(family),
          ])
          #expect(replies.contains(" 0% packet loss"), "\(replies)")
        }
        #expect(load.wait(seconds: 10) == .exited(0))
        #expect(WrkReport(load.output).isClean, "\(load.output)")
        if let daemon = network.server.daemon {
          #expect(try daemon.statistics().sum("passive_opens") - opens >= 20)
        }
      }
    }

    /// The same listener, reached from inside its own host.
    @Test func loopbackReachesTheListener() throws {
      let network = try Network.running()
      try network.expectNoLeak {
        let server = try network.server.startNginx(
          NginxOptions(workers: 2, root: network.content.directory), preloaded: true)
        defer { server.stop() }
        let front = network.front
        for address in ["127.0.0.1", "[::1]", front.address4, "[\(front.address6)]"] {
          try network.download(from: "http://\(address):80/", on: network.server)
        }
        // And from outside all the same.
        try server.waitForAcceleration()
        try network.download(from: server.url(front, .ipv4), on: network.peer)
      }
    }

    /// A connection that existed before the application that accepts from the engines on the same port.
    @Test func connectionOlderThanTheListener() throws {
      let network = try Network.running()
      try network.expectNoLeak {
        let older = try network.server.start(["python3", "-c", echoOfOne, "80"])
        defer {
          older.terminate()
          network.laboratory.discard(older)
        }
        let listens = try waitUntil(seconds: 10) {
          try network.server.listeningPorts().contains(80)
        }
        try #require(listens, "\(older.errorOutput)")
        let connection = try network.peer.connect(to: network.front.address4, port: 80)
        func echoes(_ text: String) throws -> Bool {
          try connection.send(Array(text.utf8))
          return try connection.receive() == Array(text.utf8)
        }
        #expect(try echoes("before"))
        let server = try network.server.startNginx(
          NginxOptions(root: network.content.directory), preloaded: true)
        defer { server.stop() }
        try server.waitForAcceleration()
        #expect(try echoes("while the engines accept"))
        try network.expectAcceptance {
          try network.fetchByThousand(from: server, .ipv4)
          return 1_000
        }
        #expect(try echoes("after connections of the engines"))
        try connection.finish()
        #expect(try connection.receiveAll().isEmpty)
        #expect(older.wait(seconds: 5) == .exited(0))
      }
    }

    /// Many connections of a program that is not preloaded.
    @Test func kernelClientsOnTheSameHostWork() throws {
      let network = try Network.running()
      try network.expectNoLeak {
        let server = try network.peer.startNginx(
          NginxOptions(root: network.content.directory), preloaded: false)
        defer { server.stop() }
        let report = try WrkReport(
          network.server.run([
            "wrk", "-t1", "-c200", "-d2s", "-H", "Connection: close",
            server.url(network.peerEnd, .ipv4, "1024.bin"),
          ]))
        #expect(report.isClean && report.requests > 1_000, "\(report.text)")
      }
    }

    @Test func closedPortIsRefused() throws {
      let network = try Network.running()
      #expect(throws: LaboratoryError.self) {
        try network.peer.connect(to: network.front.address4, port: 81)
      }
    }

    /// A connection of the kernel from a port of the range that the engines open theirs from: the answer to its SYN
    /// shows that it is there.
    @Test func kernelClientOnAPortOfTheEngines() throws {
      let network = try Network.running()
      try network.expectNoLeak {
        let server = try network.peer.startNginx(
          NginxOptions(root: network.content.directory), preloaded: false)
        defer { server.stop() }
        let item = network.content.items[2]
        let page = network.laboratory.directory + "/from-a-port-of-the-engines"
        let before = try network.server.kernelCounters()
        try network.server.run([
          "curl", "-sS", "--fail", "--max-time", "20", "--local-port", "40000", "-o", page,
          server.url(network.peerEnd, .ipv4, item.name),
        ])
        #expect(try network.laboratory.hashes(of: [page]) == [item.hash])
        let kernel = try network.server.kernelCounters().since(before)
        #expect(kernel["ActiveOpens"] == 1)
      }
    }
  }
}
