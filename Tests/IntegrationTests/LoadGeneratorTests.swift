import Foundation
import Laboratory
import Testing

extension Integration {
  /// The client of the benchmark, against servers on the kernel's TCP: what it reports must be so.
  @Suite(
    .network(startsDaemon: false),
    .enabled(
      if: FileManager.default.isExecutableFile(
        atPath: (try? Artifacts.located())?.loadGenerator ?? ""), "make test builds fs-load"))
  struct LoadGenerator {
    private func order(_ server: Server, _ network: Network, _ kind: LoadKind) -> LoadOrder {
      var order = LoadOrder(
        interface: network.peerEnd.interface, target: "\(network.front.address4):\(server.port)",
        kind: kind)
      order.connections = 16
      order.seconds = 1
      order.warmUp = 0.2
      return order
    }

    /// The server's kernel counts the same connections, the client's none.
    @Test(arguments: [LoadKind.close, .keepAlive])
    func countsWhatHappens(_ kind: LoadKind) throws {
      let network = try Network.running()
      let server = try network.server.startNginx(NginxOptions(), preloaded: false)
      defer { server.stop() }
      let before = try [network.peer, network.server].map { try $0.kernelCounters() }
      let report = try network.peerEnd.generateLoad(order(server, network, kind))
      let peer = try network.peer.kernelCounters().since(before[0])
      let host = try network.server.kernelCounters().since(before[1])
      #expect(report.answers > 0)
      #expect(report.wrong == 0 && report.failures == 0 && report.unanswered == 0)
      #expect(host["PassiveOpens"] == Int(report.totalOpened))
      #expect(peer["ActiveOpens"] == 0 && peer["InSegs"] == 0)
      // The first answer is not counted, and what was under way at the end may be answered later.
      if kind == .close {
        #expect(report.totalAnswers <= report.totalOpened)
        #expect(report.totalAnswers + 1 + 16 >= report.totalOpened)
      } else {
        #expect(report.totalOpened == 16)
      }
    }

    /// A page of another length than ordered is not taken for an answer.
    @Test func refusesOtherAnswers() throws {
      let network = try Network.running()
      let server = try network.server.startNginx(NginxOptions(), preloaded: false)
      defer { server.stop() }
      var order = order(server, network, .keepAlive)
      order.size = 63
      #expect(throws: LaboratoryError.self) { try network.peerEnd.generateLoad(order) }
    }

    /// A server that stands still for half a second answers the requests of that time late, also those
    /// that could not be begun meanwhile: there are connections for a fraction of them only.
    @Test func stallsAreNotLeftOut() throws {
      let network = try Network.running()
      let server = try network.server.startNginx(NginxOptions(), preloaded: false)
      defer { server.stop() }
      var order = order(server, network, .keepAlive)
      order.connections = 8
      order.seconds = 2
      order.rate = 1_000
      let worker = try #require(try workers(of: server, network).first)
      let report = try network.peerEnd.generateLoad(order) {
        usleep(500_000)
        kill(worker, SIGSTOP)
        usleep(500_000)
        kill(worker, SIGCONT)
      }
      #expect(report.unanswered == 0)
      #expect(abs(Double(report.latency.count) / 2_000 - 1) < 0.1)
      // A quarter of the requests was due in the stall, and waited for 250 ms on average.
      #expect(report.latency.p90 > 150_000 && report.latency.p99 > 400_000)
      #expect(report.latency.p50 < 100_000)
      #expect(report.latency.maximum < 1_500_000)
    }

    /// A proxy under load finds its server in the generator.
    @Test(arguments: [LoadKind.close, .keepAlive])
    func servesAProxy(_ kind: LoadKind) throws {
      let network = try Network.running()
      let options = HAProxyOptions(
        port: 8_000, backend: "\(network.peerEnd.address4):9000", reusesConnections: kind != .close)
      let server = try network.server.startHAProxy(options, preloaded: false)
      defer { server.stop() }
      var order = order(server, network, kind)
      order.backendPort = 9_000
      let before = try network.server.kernelCounters()
      let report = try network.peerEnd.generateLoad(order)
      let host = try network.server.kernelCounters().since(before)
      #expect(report.answers > 0)
      #expect(report.wrong == 0 && report.failures == 0)
      if kind == .close { #expect(host["ActiveOpens"] >= Int(report.totalAnswers)) }
    }

    private func workers(of server: Server, _ network: Network) throws -> [pid_t] {
      try network.laboratory.run(["pgrep", "-P", "\(server.process.identifier)"])
        .split(whereSeparator: \.isWhitespace).compactMap { pid_t($0) }
    }
  }
}
