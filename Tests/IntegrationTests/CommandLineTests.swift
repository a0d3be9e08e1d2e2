import Foundation
import Laboratory
import Testing

extension Integration {
  /// fsd as a person meets it.
  @Suite(
    .network(startsDaemon: false),
    .enabled(if: Network.hasDaemon, "the laboratory uses the kernel"))
  struct CommandLine {
    /// Runs fsd on the server and returns how it ended and what it said.
    private func fsd(
      _ network: Network, _ arguments: [String], wrappedBy wrapper: [String] = []
    ) throws -> (status: ProgramEnd?, output: String, errors: String) {
      let child = try network.server.start(
        wrapper + [network.laboratory.artifacts.daemon] + arguments,
        environment: ["FSD_RUNTIME_DIR": network.server.runtimeDirectory])
      defer { network.laboratory.discard(child) }
      let status = child.wait(seconds: 15)
      if status == nil { child.terminate() }
      return (status, child.output, child.errorOutput)
    }

    @Test func errorsSayWhatIsWrong() throws {
      let network = try Network.running()
      let missing = try fsd(network, ["start", "--foreground", "--iface", "nosuch0"])
      #expect(missing.status?.isSuccess == false)
      #expect(missing.errors.contains("nosuch0"), "\(missing)")
      let unprivileged = try fsd(
        network, ["start", "--foreground", "--iface", "front"],
        wrappedBy: ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"])
      #expect(unprivileged.status?.isSuccess == false)
      #expect(unprivileged.errors.contains("root"), "\(unprivileged)")
      for command in ["status", "stats", "stop"] {
        let answer = try fsd(network, [command])
        #expect(answer.status?.isSuccess == false)
        #expect(answer.errors.contains(network.server.runtimeDirectory), "\(answer)")
      }
      let nothing = try fsd(network, ["start"])
      #expect(nothing.status?.isSuccess == false)
      #expect(nothing.errors.contains("--iface"), "\(nothing)")
    }

    @Test func onlyOneDaemon() throws {
      let network = try Network.running()
      try network.startDaemon()
      defer { try? network.server.daemon?.stop() }
      let second = try fsd(network, ["start", "--foreground", "--iface", "front"])
      #expect(second.status?.isSuccess == false)
      #expect(second.errors.contains("already running"), "\(second)")
      let elsewhere = network.laboratory.directory + "/elsewhere"
      let third = try fsd(
        network, ["start", "--foreground", "--iface", "front", "--runtime-dir", elsewhere])
      #expect(third.status?.isSuccess == false)
      #expect(third.errors.contains("XDP"), "\(third)")
      // The first is untouched.
      #expect(try fsd(network, ["status"]).status?.isSuccess == true)
    }

    @Test func backgroundDaemonStartsRunsAndStops() throws {
      let network = try Network.running()
      let started = try fsd(network, ["start", "--iface", "front", "--iface", "back"])
      #expect(started.status?.isSuccess == true, "\(started)")
      // The number is there as soon as the start is over: PIDFile of a systemd unit with Type=forking.
      let processFile = network.server.runtimeDirectory + "/fsd.pid"
      struct Status: Decodable { var process: Int }
      let description = try fsd(network, ["status", "--json"]).output
      let process = try JSONDecoder().decode(Status.self, from: Data(description.utf8)).process
      #expect(try String(contentsOfFile: processFile, encoding: .utf8) == "\(process)\n")
      let status = try fsd(network, ["status"])
      #expect(status.output.contains("front") && status.output.contains("back"), "\(status)")
      let statistics = try fsd(network, ["stats"])
      #expect(statistics.status?.isSuccess == true && !statistics.output.isEmpty)
      let server = try network.peer.startNginx(
        NginxOptions(root: network.content.directory), preloaded: false)
      defer { server.stop() }
      let fetched = try fsd(
        network,
        [
          "run", "--", "curl", "-sS", "--fail", "-o", network.laboratory.directory + "/page",
          server.url(network.peerEnd, .ipv4, "1024.bin"),
        ])
      #expect(fetched.status?.isSuccess == true, "\(fetched)")
      let hash = try network.laboratory.hashes(of: [network.laboratory.directory + "/page"])
      #expect(hash == [network.content.items[2].hash])
      let counters = try DaemonStatistics(json: fsd(network, ["stats", "--json"]).output)
      #expect(try counters.sum("payload_delivered") >= 1_024)
      #expect(try fsd(network, ["stop"]).status?.isSuccess == true)
      #expect(!FileManager.default.fileExists(atPath: processFile))
      #expect(try fsd(network, ["status"]).status?.isSuccess == false)
    }

    /// Packets gather as long as the daemon was told, while it runs; and a crash changes nothing for good.
    @Test func packetsGather() throws {
      let network = try Network.running()
      func attributes() throws -> [Substring] {
        let names = ["gro_flush_timeout", "napi_defer_hard_irqs"]
        return try network.server.run(["cat"] + names.map { "/sys/class/net/front/\($0)" })
          .split(separator: "\n")
      }
      let before = try attributes()
      #expect(before == ["0", "0"])
      let options = ["--coalesce-microseconds", "200"]
      try network.startDaemon(options: options)
      #expect(try attributes() == ["200000", "1"])
      #expect(try fsd(network, ["status"]).output.contains("200 us"))
      let server = try network.server.startNginx(
        NginxOptions(root: network.content.directory), preloaded: true)
      defer { server.stop() }
      try server.waitForAcceleration()
      let item = network.content.items[2]
      try network.expectAcceleration(ofBytes: item.size) {
        try network.download(
          from: server.url(network.front, .ipv4), on: network.peer, items: [item])
      }
      network.server.daemon?.kill()
      #expect(try attributes() == ["200000", "1"])
      try network.startDaemon()
      #expect(try attributes() == before, "undone by the next daemon")
      #expect(try !fsd(network, ["status"]).output.contains("gather"))
      try network.server.daemon?.stop()
      try network.startDaemon(options: options)
      try network.server.daemon?.stop()
      #expect(try attributes() == before, "undone by the daemon itself")
    }

    /// Its terminal is gone, and who has read its log: it undoes what it has done all the same.
    @Test func hangupEndsItInGoodOrder() throws {
      let network = try Network.running()
      try network.startDaemon()
      let daemon = try #require(network.server.daemon)
      daemon.process.signal(SIGPIPE)
      #expect(try fsd(network, ["status"]).status?.isSuccess == true)
      daemon.process.signal(SIGHUP)
      #expect(daemon.process.wait(seconds: 10)?.isSuccess == true)
      daemon.kill()
      let link = try network.server.run(["ip", "-d", "link", "show", "dev", "front"])
      #expect(!link.contains("prog/xdp"))
    }

    @Test func idleDaemonHardlyRuns() throws {
      let network = try Network.running()
      try network.startDaemon()
      defer { try? network.server.daemon?.stop() }
      let process = try #require(network.server.daemon).process
      _ = waitUntil(seconds: 1) { false }
      let before = try process.processorSeconds()
      _ = waitUntil(seconds: 4) { false }
      let share = (try process.processorSeconds() - before) / 4
      #expect(share < 0.01, "share of a core that the idle daemon uses")
    }
  }
}
