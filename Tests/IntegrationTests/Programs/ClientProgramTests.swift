import Foundation
import Laboratory
import Testing

extension Integration {
  /// Client programs on the server's host, preloaded, and servers of the kernel on the other host or
  /// preloaded ones on the same.
  @Suite(.network(), .enabled(if: Tier.isEverything, "make test-all")) struct ClientPrograms {
    private func withPages(_ place: Place, _ body: (Network, String) throws -> Void) throws {
      let network = try Network.running()
      try network.meeting(place) {
        let pages = try network.partner(at: place).startNginx(
          NginxOptions(root: network.content.directory), preloaded: place.isPartnerPreloaded)
        defer { pages.stop() }
        if place == .loopback { try pages.waitForAcceleration() }
        try body(network, "http://\(network.partnerAddress(at: place)):\(pages.port)/1024.bin")
      }
    }

    @Test(arguments: Place.allCases, [[], ["-k"]])
    func ab(_ place: Place, _ options: [String]) throws {
      try withPages(place) { network, url in
        try network.expectAcceleration(ofBytes: 5_000 * 1_024) {
          let report = try network.server.run(
            ["ab", "-q", "-n", "5000", "-c", "100"] + options + [url], preloaded: true)
          #expect(report.contains("Complete requests:      5000"), "\(report)")
          #expect(report.contains("Failed requests:        0"), "\(report)")
        }
      }
    }

    @Test(arguments: Place.allCases) func h2load(_ place: Place) throws {
      try withPages(place) { network, url in
        try network.expectAcceleration(ofBytes: 5_000 * 1_024) {
          let report = try network.server.run(
            ["h2load", "--h1", "-n", "5000", "-c", "50", "-t", "2", url], preloaded: true)
          #expect(report.contains("5000 succeeded, 0 failed, 0 errored"), "\(report)")
        }
      }
    }

    /// `ServerPrograms` has its two ends meet over loopback.
    @Test(arguments: [[], ["-R"], ["-P", "4"], ["-P", "4", "-R"]])
    func iperf(_ options: [String]) throws {
      let network = try Network.running()
      try network.expectNoLeak {
        let server = try network.peer.startServer(
          "iperf3", ["iperf3", "-s", "-p", "80"], port: 80, preloaded: false)
        defer { server.stop() }
        try network.expectAcceleration(ofBytes: 20_000_000) {
          try network.server.run(
            ["iperf3", "-p", "80", "-c", network.peerEnd.address4, "-n", "20M"] + options,
            preloaded: true)
        }
      }
    }

    /// A file over TLS.
    @Test(arguments: Place.allCases) func openssl(_ place: Place) throws {
      let network = try Network.running()
      try network.meeting(place) {
        let (key, certificate) = try network.makeCertificate()
        let server = try network.partner(at: place).startServer(
          "openssl s_server",
          [
            "sh", "-c",
            "cd \(network.content.directory) && exec openssl s_server -accept 80 -WWW -quiet "
              + "-key \(key) -cert \(certificate)",
          ], port: 80, preloaded: place.isPartnerPreloaded)
        defer { server.stop() }
        if place == .loopback { try server.waitForAcceleration(sockets: 1) }
        let item = network.content.items[3]
        let request = try network.laboratory.makeFile(
          "request", "GET /\(item.name) HTTP/1.0\r\n\r\n")
        try network.expectAcceleration(ofBytes: item.size) {
          let client = try network.server.start(
            [
              "openssl", "s_client", "-quiet", "-connect",
              "\(network.partnerAddress(at: place)):80",
            ], preloaded: true, inputPath: request)
          _ = client.wait(seconds: 20)
          let answer = try Data(contentsOf: URL(fileURLWithPath: client.outputPath))
          let content = try Data(contentsOf: URL(fileURLWithPath: network.content.path(item)))
          #expect(answer.suffix(item.size) == content)
          network.laboratory.discard(client)
        }
      }
    }

    /// A file from a remote command. A preloaded sshd runs a program for each connection, which makes it
    /// the kernel's at both ends.
    @Test(arguments: Place.allCases) func ssh(_ place: Place) throws {
      let network = try Network.running()
      try FileManager.default.createDirectory(
        atPath: "/run/sshd", withIntermediateDirectories: true)
      try network.meeting(place) {
        let keys = try network.laboratory.makeDirectory("ssh-\(place)")
        for name in ["host", "client"] {
          try network.peer.run(["ssh-keygen", "-qN", "", "-t", "ed25519", "-f", "\(keys)/\(name)"])
        }
        let server = try network.partner(at: place).startServer(
          "sshd",
          [
            "/usr/sbin/sshd", "-D", "-p", "80", "-h", "\(keys)/host", "-o", "StrictModes=no", "-o",
            "AuthorizedKeysFile=\(keys)/client.pub", "-o", "UsePAM=no", "-o", "PidFile=none",
          ], port: 80, preloaded: place.isPartnerPreloaded)
        defer { server.stop() }
        let item = network.content.items[3]
        func fetch() throws {
          let client = try network.server.start(
            [
              "ssh", "-qp", "80", "-i", "\(keys)/client", "-o", "StrictHostKeyChecking=no", "-o",
              "UserKnownHostsFile=/dev/null", network.partnerAddress(at: place), "cat",
              network.content.path(item),
            ], preloaded: true)
          #expect(client.wait(seconds: 20)?.isSuccess == true, "\(client.errorOutput)")
          #expect(try network.laboratory.hashes(of: [client.outputPath]) == [item.hash])
          network.laboratory.discard(client)
        }
        guard place == .loopback else {
          return try network.expectAcceleration(ofBytes: item.size, fetch)
        }
        try server.waitForAcceleration(sockets: 2)
        let opens = try network.server.daemon?.statistics().sum("passive_opens") ?? 0
        try fetch()
        if let daemon = network.server.daemon {
          #expect(try daemon.statistics().sum("passive_opens") == opens + 1)
        }
      }
    }
  }
}

extension Network {
  /// Paths of a new key and of its certificate.
  func makeCertificate() throws -> (key: String, certificate: String) {
    let directory = try laboratory.makeDirectory("certificate-\(laboratory.nextNumber())")
    let (key, certificate) = ("\(directory)/key.pem", "\(directory)/certificate.pem")
    try peer.run([
      "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out",
      certificate, "-days", "2", "-subj", "/CN=laboratory",
    ])
    return (key, certificate)
  }
}
