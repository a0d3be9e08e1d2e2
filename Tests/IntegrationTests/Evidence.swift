import Laboratory
import Testing

/// What the daemon holds when nothing goes on; after each test it must hold the same again.
private struct Holdings: Equatable, CustomStringConvertible {
  var descriptors: Int
  var numbers: [String: Int]

  init(_ daemon: Daemon) throws {
    descriptors = try daemon.descriptorCount()
    let statistics = try daemon.statistics()
    numbers = [:]
    for name in [
      "channels", "receive_chunks_in_use", "send_chunks_in_use", "reassembly_segments",
      "free_transmit_frames",
    ] {
      numbers[name] = try statistics.sum(name)
    }
    // Connections in TIME-WAIT hold nothing but their place in a table.
    numbers["connections"] = try statistics.sum {
      $0.contains("connections.") && !$0.lowercased().hasSuffix("time_wait")
    }
  }

  var description: String {
    "descriptors \(descriptors), "
      + numbers.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value)" }.joined(separator: ", ")
  }
}

extension Network {
  /// Runs `body`, which carries at least `bytes` of payload through the server, and checks that
  /// the engines carried them and the kernel did not.
  func expectAcceleration(
    ofBytes bytes: Int, sourceLocation: SourceLocation = #_sourceLocation,
    _ body: () throws -> Void
  ) throws {
    guard let daemon = server.daemon else { return try body() }
    let before = try daemon.statistics()
    let kernelBefore = try server.kernelCounters()
    do {
      try body()
    } catch {
      // What the engines were doing tells more than a client's time-out.
      Issue.record("\(try daemon.statistics())")
      throw error
    }
    func carried(_ statistics: DaemonStatistics) throws -> Int {
      try statistics.sum("payload_delivered") + statistics.sum("payload_acknowledged")
    }
    // The last bytes are counted when their acknowledgement has come.
    try waitUntil(seconds: 2) { try carried(daemon.statistics()) - carried(before) >= bytes }
    let engineBytes = try carried(daemon.statistics()) - carried(before)
    let kernel = try server.kernelCounters().since(kernelBefore)
    #expect(engineBytes >= bytes, "through the engines", sourceLocation: sourceLocation)
    #expect(
      kernel["PassiveOpens"] == 0, "connections the kernel accepted",
      sourceLocation: sourceLocation)
    #expect(
      kernel["ActiveOpens"] == 0, "connections the kernel opened", sourceLocation: sourceLocation)
    #expect(kernel["InSegs"] == 0, "segments the kernel received", sourceLocation: sourceLocation)
  }

  /// Runs `body`, which tells how many connections it has made to preloaded programs of the server, and checks
  /// that the engines accepted as many and the kernel none.
  func expectAcceptance(
    sourceLocation: SourceLocation = #_sourceLocation, _ body: () throws -> Int
  ) throws {
    let before = try server.daemon?.statistics()
    let kernelBefore = try server.kernelCounters()
    let connections = try body()
    guard let daemon = server.daemon, let before else { return }
    let accepted = try daemon.statistics().sum("passive_opens") - before.sum("passive_opens")
    let kernel = try server.kernelCounters().since(kernelBefore)
    #expect(
      accepted >= connections, "connections the engines accepted", sourceLocation: sourceLocation)
    #expect(
      kernel["PassiveOpens"] == 0, "connections the kernel accepted",
      sourceLocation: sourceLocation)
  }

  /// Runs `body` and checks that the daemon then holds what it held before.
  func expectNoLeak(
    sourceLocation: SourceLocation = #_sourceLocation, _ body: () throws -> Void
  ) throws {
    guard let daemon = server.daemon else { return try body() }
    // The connection of the command that asked last may not be closed yet.
    var before = try Holdings(daemon)
    try waitUntil(seconds: 2, every: 0.05) {
      let earlier = before
      before = try Holdings(daemon)
      return before == earlier
    }
    try body()
    // What was equal once counts: asking again is another connection to the daemon.
    var after = before
    try waitUntil(seconds: 10, every: 0.1) {
      after = try Holdings(daemon)
      return after == before
    }
    #expect(after == before, "the daemon's holdings", sourceLocation: sourceLocation)
    #expect(daemon.process.isRunning, sourceLocation: sourceLocation)
  }

  /// Starts a preloaded program on the server, runs `body` as soon as the engines accept for it, and stops
  /// it: the daemon then holds what it held before.
  func whileServing(
    _ start: (NetworkHost) throws -> Server, sourceLocation: SourceLocation = #_sourceLocation,
    _ body: (Server) throws -> Void
  ) throws {
    try expectNoLeak(sourceLocation: sourceLocation) {
      let program = try start(server)
      defer { program.stop() }
      try program.waitForAcceleration()
      try body(program)
    }
  }
}
