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
      let json = try DaemonStatistics(json: fsd(network, ["stats", "--json"]).output)
      #expect(json.sum("payload_delivered") >= 1_024)
      #expect(try fsd(network, ["stop"]).status?.isSuccess == true)
      #expect(try fsd(network, ["status"]).status?.isSuccess == false)
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
