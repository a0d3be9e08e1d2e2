import Foundation
import Laboratory
import Testing

extension Integration {
  /// fsd with the model of an 82599 in place of the kernel's answers to ethtool, on a link whose
  /// packets arrive at any queue: what it programs, shows and takes back, and that nothing depends on it.
  @Suite(
    .network(queues: 2, startsDaemon: false),
    .enabled(if: Network.hasDaemon, "the laboratory uses the kernel"))
  struct FlowDirector {
    /// The model, on both interfaces; what is looked at is the one towards the backend, where active
    /// connections leave.
    private struct Card {
      let network: Network
      let environment: [String: String]

      init(_ network: Network) throws {
        self.network = network
        let directory = network.laboratory.directory
        let library = "\(directory)/card-\(network.laboratory.nextNumber()).so"
        let tests = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
          .deletingLastPathComponent().appendingPathComponent("CardModel").path
        try network.laboratory.run([
          "clang", "-O2", "-Wall", "-shared", "-fPIC", "-DCARD_PRELOAD", "-I\(tests)/include",
          "-o", library, "\(tests)/CardModel.c",
        ])
        environment = [
          "LD_PRELOAD": library,
          "FS_CARD_INTERFACES": "\(network.front.interface) \(network.back.interface)",
          "FS_CARD_STATE": library,
        ]
        // A card's driver takes no packets whose checksums are left to the card.
        for end in [network.backendEnd, network.peerEnd] {
          try end.host.run(["ethtool", "-K", end.interface, "tx", "off"])
        }
      }

      /// What ethtool says of the card.
      func ethtool(_ arguments: String...) throws -> String {
        var arguments = arguments
        arguments.insert(network.back.interface, at: 1)
        return try network.server.run(["ethtool"] + arguments, environment: environment)
      }

      func startDaemon() throws -> Daemon {
        let daemon = try network.server.startDaemon(
          interfaces: [network.front.interface, network.back.interface],
          environment: environment)
        return try #require(daemon)
      }
    }

    /// Everything that goes through a proxy arrives, whatever the card has been told.
    private func exchange(_ network: Network) throws {
      // Nobody has used this port: on others the backend remembers, in TIME-WAIT, connections of an earlier
      // daemon, whose timestamps this one's do not follow. It challenges their successors, and is sent a RST
      // (RFC 9293 section 3.10.7.3).
      let pages = try network.backend.startNginx(
        NginxOptions(
          port: 20_000 + network.laboratory.nextNumber(), root: network.content.directory),
        preloaded: false)
      defer { pages.stop() }
      let proxy = try network.server.startHAProxy(
        HAProxyOptions(
          threads: 2, backend: "\(network.backendEnd.address4):\(pages.port)",
          reusesConnections: false), preloaded: true)
      defer { proxy.stop() }
      try proxy.waitForAcceleration()
      try network.expectAcceleration(ofBytes: 1_000 * 1_024) {
        try network.fetchByThousand(from: proxy, .ipv4)
      }
    }

    /// One rule for each engine; both queues are used; everything is as before when it stops.
    @Test func rulesComeAndGo() throws {
      let network = try Network.running()
      let card = try Card(network)
      #expect(try card.ethtool("-n").contains("Total 0 rules"))
      #expect(try card.ethtool("-x").contains("1 RX ring(s)"))
      let daemon = try card.startDaemon()
      let rules = try card.ethtool("-n")
      #expect(rules.contains("Total 2 rules") && rules.contains("2 RX rings"), "\(rules)")
      #expect(rules.contains("Dest port: 32769 mask: 0x7ffe"))
      #expect(rules.contains("Action: Direct to queue 1"))
      let status = try daemon.status()
      #expect(status.contains("connections to peers, IPv4: by flow rules of the card"), "\(status)")
      #expect(status.contains("IPv6: by the card's hash (insert flow rule 2"), "\(status)")
      #expect(status.contains("2 flow rules, 0 missing"))
      try exchange(network)
      let statistics = try daemon.statistics()
      // The link brings packets to either queue, whatever card it would like to be.
      #expect(try statistics.sum("handed_over") > 0, "\(statistics)")
      #expect(try statistics.sum("steered_remote") == statistics.sum("taken_over"))
      #expect(try statistics.sum("resets_sent") == 0)
      #expect(try network.server.runDaemonCommand(["stats"]).contains("0 filter hits, 0 misses"))
      try daemon.stop()
      let after = try card.ethtool("-n")
      #expect(after.contains("Total 0 rules") && after.contains("1 RX rings"), "\(after)")
    }

    /// A daemon that was killed leaves its rules; the next one begins by removing them.
    @Test func rulesOfADeadDaemon() throws {
      let network = try Network.running()
      let card = try Card(network)
      try card.startDaemon().kill()
      #expect(try card.ethtool("-n").contains("Total 2 rules"))
      let daemon = try card.startDaemon()
      #expect(
        daemon.process.errorOutput.contains("undid what an earlier daemon left: 4 flow rules"))
      #expect(try card.ethtool("-n").contains("Total 2 rules"))
      try daemon.stop()
      #expect(try card.ethtool("-n").contains("Total 0 rules"))
    }

    /// Somebody else's rule compares other fields: it stays, there are none of ours, and the engines do the
    /// work. The status says why.
    @Test func ruleOfSomebodyElse() throws {
      let network = try Network.running()
      let card = try Card(network)
      // The first daemon switches the filters on, which ethtool does by netlink, past the model; killed,
      // and with its rules deleted and its journal gone, it leaves the card to somebody else.
      try card.startDaemon().kill()
      for location in 0..<2 { _ = try card.ethtool("-N", "delete", "\(location)") }
      try FileManager.default.removeItem(
        atPath: "\(network.server.runtimeDirectory)/restore")
      _ = try card.ethtool(
        "-N", "flow-type", "tcp4", "dst-port", "22", "action", "0", "loc", "7")
      let daemon = try card.startDaemon()
      let status = try daemon.status()
      #expect(status.contains("somebody else's flow rule 7 compares other fields"), "\(status)")
      #expect(status.contains("connections to peers, IPv4: by the card's hash"), "\(status)")
      try exchange(network)
      #expect(try daemon.statistics().sum("resets_sent") == 0)
      try daemon.stop()
      let after = try card.ethtool("-n")
      #expect(after.contains("Total 1 rules") && after.contains("Filter: 7"), "\(after)")
    }

    /// The table is changed and a rule deleted while connections come and go: it is noticed, the rule comes
    /// back, and nobody is sent a RST.
    @Test func changedBehindTheDaemon() throws {
      let network = try Network.running()
      let card = try Card(network)
      let daemon = try card.startDaemon()
      _ = try card.ethtool("-X", "equal", "1")
      _ = try card.ethtool("-N", "delete", "0")
      try exchange(network)
      let isNoticed = try waitUntil(seconds: 15, every: 0.5) {
        // A change of a feature, of which the kernel tells.
        try network.server.run(
          ["ethtool", "-K", network.back.interface, "gro", "on"])
        try network.server.run(
          ["ethtool", "-K", network.back.interface, "gro", "off"])
        let status = try daemon.status()
        return status.contains("the card's hash is another than at the start")
          && status.contains("2 flow rules, 0 missing, 1 inserted again")
      }
      let seen = try daemon.status()
      #expect(isNoticed, "\(seen)")
      #expect(try card.ethtool("-n").contains("Total 2 rules"))
      try exchange(network)
      #expect(try daemon.statistics().sum("resets_sent") == 0)
      try daemon.stop()
    }
  }
}
