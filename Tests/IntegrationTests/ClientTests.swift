import Laboratory
import Testing

/// Fetches and puts every file with Python's http.client and prints the hashes of what it got.
private let pythonClient = """
  import hashlib, http.client, sys
  host, port, directory = sys.argv[1], int(sys.argv[2]), sys.argv[3]
  connection = http.client.HTTPConnection(host, port, timeout=60)
  for name in sys.argv[4:]:
      connection.request("GET", "/" + name)
      response = connection.getresponse()
      assert response.status == 200, response.status
      digest = hashlib.sha256()
      while block := response.read(65536):
          digest.update(block)
      print(digest.hexdigest())
      with open(directory + "/" + name, "rb") as file:
          connection.request("PUT", "/upload/" + name, body=file)
          response = connection.getresponse()
          assert response.status in (201, 204), response.status
          response.read()

  """

/// Fetches a file from an address that is bound first, and prints the status and where the connection came from.
private let boundClient = """
  import socket, sys
  connection = socket.create_connection(
      (sys.argv[1], int(sys.argv[2])), source_address=(sys.argv[3], 0), timeout=10)
  connection.sendall(b"GET /1024.bin HTTP/1.0\\r\\n\\r\\n")
  status = connection.makefile("rb").readline().decode().strip()
  print(status, connection.getsockname()[0])
  """

extension Integration {
  /// Preloaded clients, and a server of the kernel on the other host.
  @Suite(.network()) struct Clients {
    private func withServer(_ body: (Network, Server, String) throws -> Void) throws {
      let network = try Network.running()
      try network.expectNoLeak {
        let server = try network.peer.startNginx(
          NginxOptions(root: network.content.directory), preloaded: false)
        defer { server.stop() }
        try body(network, server, #require(server.uploadDirectory))
      }
    }

    @Test func curl() throws {
      try withServer { network, server, uploads in
        let bytes = network.content.items.reduce(0) { $0 + $1.size }
        try network.forEachFamily { family in
          let base = server.url(network.peerEnd, family)
          try network.expectAcceleration(ofBytes: 2 * bytes) {
            try network.download(from: base, on: network.server, preloaded: true)
            try network.upload(
              to: base + "upload/", arrivingIn: uploads, on: network.server, preloaded: true)
          }
        }
      }
    }

    @Test func python() throws {
      try withServer { network, server, uploads in
        let script = try network.laboratory.makeFile("client.py", pythonClient)
        let items = network.content.items
        try network.forEachFamily { family in
          try network.expectAcceleration(ofBytes: 2 * items.reduce(0) { $0 + $1.size }) {
            let output = try network.server.run(
              [
                "/usr/bin/python3", script, network.peerEnd.address(family), "\(server.port)",
                network.content.directory,
              ] + items.map(\.name), preloaded: true, seconds: 120)
            #expect(output.split(separator: "\n").map(String.init) == items.map(\.hash))
            try network.compare(items, in: uploads)
          }
        }
      }
    }

    @Test(arguments: AddressFamily.allCases) func wrk(_ family: AddressFamily) throws {
      try withServer { network, server, _ in
        let url = server.url(network.peerEnd, family, "1024.bin")
        try network.expectAcceleration(ofBytes: 1_000 * 1_024) {
          let keepAlive = try WrkReport(
            network.server.run(
              ["wrk", "-t2", "-c1000", "-d3s", "--timeout", "10s", url], preloaded: true))
          #expect(keepAlive.isClean && keepAlive.requests > 1_000, "\(keepAlive.text)")
          let short = try WrkReport(
            network.server.run(
              ["wrk", "-t1", "-c50", "-d2s", "--timeout", "10s", "-H", "Connection: close", url],
              preloaded: true))
          #expect(short.isClean && short.requests > 1_000, "\(short.text)")
        }
      }
    }

    /// What a socket is bound to that is no address of the interface on the way, the kernel connects: for engines nothing
    /// would come back.
    @Test func addressOfAnotherInterface() throws {
      try withServer { network, server, _ in
        let source = "198.51.100.7"
        try network.server.run(["ip", "address", "add", "\(source)/32", "dev", "lo"])
        try network.peer.run(["ip", "route", "add", source, "via", network.front.address4])
        defer {
          _ = try? network.server.run(["ip", "address", "delete", "\(source)/32", "dev", "lo"])
          _ = try? network.peer.run(["ip", "route", "delete", source])
        }
        for address in [source, network.front.address4, source] {
          let before = try network.server.kernelCounters()
          let output = try network.server.run(
            [
              "python3", "-c", boundClient, network.peerEnd.address4, "\(server.port)", address,
            ], preloaded: true)
          #expect(output == "HTTP/1.1 200 OK \(address)\n")
          let opened = try network.server.kernelCounters().since(before)["ActiveOpens"]
          if network.server.daemon != nil { #expect(opened == (address == source ? 1 : 0)) }
        }
      }
    }

    /// A destination that no managed interface leads to is the kernel's.
    @Test func loopbackStaysWithTheKernel() throws {
      let network = try Network.running()
      try network.expectNoLeak {
        let server = try network.server.startNginx(
          NginxOptions(port: 8_081, root: network.content.directory), preloaded: false)
        defer { server.stop() }
        for address in ["127.0.0.1", "[::1]", network.front.address4] {
          try network.download(
            from: "http://\(address):\(server.port)/", on: network.server, preloaded: true)
        }
      }
    }
  }
}
