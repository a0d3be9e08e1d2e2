import Foundation
import Laboratory
import Testing

extension Integration {
  /// What the library costs: how many system calls a preloaded server makes.
  @Suite(
    .network(), .enabled(if: Network.hasDaemon, "the laboratory uses the kernel"))
  struct SystemCalls {
    /// The program, started for the server's front address, and its port.
    private func startServer(
      _ network: Network, port: Int, seconds: Int = 60, wrappedBy wrapper: [String] = []
    ) throws -> ChildProcess {
      let directory = try network.laboratory.makeDirectory("short-\(port)")
      let program = try compile("short-server", into: directory)
      return try network.server.start(
        wrapper + [program, network.front.address4, "\(port)", "\(seconds)"], preloaded: true)
    }

    private func load(_ network: Network, port: Int, seconds: Double) throws -> LoadResult {
      let plan = LoadPlan(
        address: network.front.address4, port: port, shortConnections: true, concurrency: 32,
        seconds: seconds, expectedBody: Array("ok".utf8))
      return try network.peer.perform {
        var client = try LoadClient(plan)
        return client.run()
      }
    }

    /// Calls by name, from what `strace -c` has written.
    private func counts(_ path: String) throws -> [String: Int] {
      var counts: [String: Int] = [:]
      for line in try String(contentsOfFile: path, encoding: .utf8).split(separator: "\n") {
        // % time, seconds, usecs/call, calls, maybe errors, name.
        let fields = line.split(separator: " ")
        if fields.count >= 5, let calls = Int(fields[3]), let name = fields.last {
          counts[String(name)] = calls
        }
      }
      return counts
    }

    /// Accepting, reading, writing and closing a short connection makes no system call under load:
    /// the descriptor is one that was closed before, and the engine, which is awake, needs no ring.
    @Test func shortConnectionsMakeNoSystemCalls() throws {
      let network = try Network.running()
      let record = try network.laboratory.makeDirectory("strace") + "/counts"
      let server = try startServer(
        network, port: 8088, seconds: 12, wrappedBy: ["strace", "-f", "-c", "-o", record])
      defer { network.laboratory.discard(server) }
      try network.waitForListener(port: 8088)
      let result = try load(network, port: 8088, seconds: 4)
      // When the server ends, strace writes.
      try #require(server.wait(seconds: 20) != nil)
      let counts = try counts(record)
      #expect(result.isClean, "\(result.firstFailure ?? "")")
      #expect(result.requests > 1000)
      let connections = Double(result.requests)
      #expect((counts["epoll_pwait"] ?? 0) + (counts["epoll_wait"] ?? 0) > 0, "\(counts)")
      for name in ["accept4", "close", "read", "recvfrom", "sendto", "epoll_ctl", "fcntl"] {
        let share = Double(counts[name] ?? 0) / connections
        #expect(share < 0.1, "\(name) for each connection, of \(counts)")
      }
      // What it writes, it writes to the engine's eventfd, when the engine sleeps.
      let share = Double(counts["write"] ?? 0) / connections
      #expect(share < 0.5, "write for each connection, of \(counts)")
    }

    /// A preloaded server with nothing to do does nothing: no thread of it runs.
    @Test func idleProcessesDoNotRun() throws {
      let network = try Network.running()
      let server = try startServer(network, port: 8089)
      defer { network.laboratory.discard(server) }
      try network.waitForListener(port: 8089)
      _ = try load(network, port: 8089, seconds: 0.5)
      // What the last connections leave behind comes in.
      _ = waitUntil(seconds: 2) { false }
      let before = try switches(of: server)
      _ = waitUntil(seconds: 3) { false }
      #expect(try switches(of: server) == before, "how often its threads have run")
      #expect(server.isRunning)
    }

    /// How often the threads of a process have been given a processor and have given it up.
    private func switches(of process: ChildProcess) throws -> [String] {
      let tasks = "/proc/\(process.identifier)/task"
      return try FileManager.default.contentsOfDirectory(atPath: tasks).sorted().flatMap { task in
        try String(contentsOfFile: "\(tasks)/\(task)/status", encoding: .utf8)
          .split(separator: "\n").filter { $0.contains("ctxt_switches") }.map { "\(task) \($0)" }
      }
    }
  }

  /// What falls back to the kernel is told, with its reason.
  @Suite(
    .network(), .enabled(if: Network.hasDaemon, "the laboratory uses the kernel"))
  struct Fallbacks {
    @Test func fallbacksAreTold() throws {
      let network = try Network.running()
      let directory = try network.laboratory.makeDirectory("fallbacks")
      let program = try compile("short-server", into: directory)
      // One listener is the engines', the other has an address that only the kernel serves.
      let managed = try network.server.start(
        [program, network.front.address4, "8090"], preloaded: true)
      defer { network.laboratory.discard(managed) }
      let unmanaged = try network.server.start([program, "127.0.0.1", "8091"], preloaded: true)
      defer { network.laboratory.discard(unmanaged) }
      try network.waitForListener(port: 8090)
      func told(_ process: ChildProcess) throws -> String {
        try network.server.runDaemonCommand(["stats", "--process", "\(process.identifier)"])
      }
      try waitUntil(seconds: 5, every: 0.1) { try told(unmanaged).contains("listen: no daemon") }
      #expect(try told(managed).contains("Nothing fell back"))
      #expect(try told(unmanaged).contains("listen: no daemon answers, or no managed interface"))
    }
  }
}

extension Network {
  /// Waits until a listener of that port is the engines'.
  fileprivate func waitForListener(port: Int) throws {
    let isThere = try waitUntil(seconds: 10, every: 0.05) {
      try server.runDaemonCommand(["status"]).contains(":\(port)")
    }
    try #require(isThere, "a listener of port \(port)")
  }
}
