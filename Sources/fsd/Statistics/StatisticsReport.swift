import FSStack

/// The JSON of `fsd stats`.
enum StatisticsReport {
  /// Puts together what the engines and the XDP programs have counted.
  static func make(
    engines: [EngineSnapshot], programs: [(interface: String, counters: [(String, UInt64)])],
    interfaces: [(name: String, counters: [(name: String, value: UInt64)])] = [],
    processes: [Int32] = [], handOvers: KernelHandOverCounters = KernelHandOverCounters(),
    held: Int = 0,
    uptimeNanoseconds: UInt64
  ) -> JSON {
    let each = engines.map(engine)
    let total = each.dropFirst().reduce(each.first ?? .object([])) { sum, next in
      sum.merged(with: next) { $0 &+ $1 }
    }
    return .object([
      JSON.Member("uptime_milliseconds", .count(uptimeNanoseconds / 1_000_000)),
      JSON.Member("engine_count", .count(engines.count)),
      JSON.Member("total", total),
      JSON.Member("processes", .array(processes.map { .count(Int($0)) })),
      JSON.Member(
        "engines",
        .array(
          zip(engines, each).map { snapshot, values in
            .object(
              [
                JSON.Member("engine", .count(snapshot.index)),
                JSON.Member("processor", .count(snapshot.processor)),
              ] + values.members + [sockets(snapshot)])
          })),
      JSON.Member(
        "kernel_hand_overs",
        .object(
          Fields.of(handOvers).map { JSON.Member($0.name, .count($0.value)) }
            + [JSON.Member("held", .count(held))])),
      JSON.Member(
        "filters",
        .object(interfaces.map { JSON.Member($0.name, filters($0.counters)) })),
      JSON.Member(
        "xdp",
        .object(
          programs.map { program in
            JSON.Member(
              program.interface,
              .counters(program.counters.map { (name: $0.0, value: $0.1) }))
          })),
    ])
  }

  /// Puts `accepts_common` in the place of `processes`: the connections that they have accepted by way of the kernel.
  ///
  /// Their memory says how many, and a process can see to it that reading that takes for ever. So it is not the
  /// daemon who reads, but who asks, and only of processes that are his to look into.
  static func withAcceptsCommon(_ report: JSON) -> JSON {
    .object(
      report.members.map { member in
        guard member.name == "processes" else { return member }
        let count = member.value.elements.reduce(UInt64(0)) { sum, process in
          let counters = try? FallbackCounters(process: Int32(clamping: process.integer))
          return sum + (counters?.count(ofReasonBeginning: "accept:") ?? 0)
        }
        return JSON.Member("accepts_common", .count(count))
      })
  }

  /// Packets that matched a filter of the card, and that did not, by the card's own counters; empty where it
  /// has none.
  private static func filters(_ counters: [(name: String, value: UInt64)]) -> JSON {
    let names = ["fdir_match": "hits", "fdir_miss": "misses", "fdir_overflow": "overflows"]
    return .object(
      counters.compactMap { counter in
        names[counter.name].map { JSON.Member($0, .count(counter.value)) }
      })
  }

  /// Of the packets that a core's card has brought, those of the core's own flows and those of others', as
  /// the original's steer_stat.
  private static func steering(_ snapshot: EngineSnapshot) -> JSON {
    let counters = snapshot.engine.counters
    let away = min(counters.handedOver, counters.framesReceived)
    let remote = away - min(snapshot.loop.handOverFull, away)
    return .object([
      JSON.Member("passed_total", .count(counters.framesReceived)),
      JSON.Member("steered_local", .count(counters.framesReceived - away)),
      JSON.Member("steered_remote", .count(remote)),
      JSON.Member("steered_error", .count(snapshot.loop.handOverFull)),
    ])
  }

  /// What can be summed over engines.
  private static func engine(_ snapshot: EngineSnapshot) -> JSON {
    let engine = snapshot.engine
    var members = Fields.of(engine.counters).map { JSON.Member($0.name, .count($0.value)) }
    members.append(JSON.Member("steering", steering(snapshot)))
    members.append(JSON.Member("connections", connections(engine)))
    members.append(JSON.Member("drops", drops(snapshot)))
    members.append(JSON.Member("channels", .count(engine.channels)))
    members.append(JSON.Member("receive_chunks_in_use", .count(engine.receiveChunksInUse)))
    members.append(JSON.Member("send_chunks_in_use", .count(engine.sendChunksInUse)))
    members.append(JSON.Member("reassembly_segments", .count(engine.reassemblySegments)))
    members.append(
      JSON.Member("free_transmit_frames", .count(engine.freeTransmitFrames.reduce(0, +))))
    members.append(JSON.Member("loop", loop(snapshot.loop)))
    return .object(members)
  }

  private static func connections(_ engine: EngineStatistics) -> JSON {
    .object(
      TCPState.allCases.map { state in
        JSON.Member(Fields.snakeCase("\(state)"), .count(engine.connections[state] ?? 0))
      })
  }

  /// Every reason is there, also those that never occurred. The engine cannot see a full hand-over
  /// ring; its thread counts it.
  private static func drops(_ snapshot: EngineSnapshot) -> JSON {
    .object(
      DropReason.allCases.map { reason in
        var count = snapshot.engine.drops[reason] ?? 0
        if reason == .handOverFull { count += snapshot.loop.handOverFull }
        return JSON.Member(Fields.snakeCase("\(reason)"), .count(count))
      })
  }

  private static func loop(_ counters: LoopCounters) -> JSON {
    let bursts = LoopCounters.burstNames.indices.map { index in
      JSON.Member(LoopCounters.burstNames[index], .count(counters.bursts[index]))
    }
    return .object(
      Fields.of(counters).filter { $0.name != "hand_over_full" }
        .map { JSON.Member($0.name, .count($0.value)) }
        + [JSON.Member("bursts", .object(bursts))])
  }

  private static func sockets(_ snapshot: EngineSnapshot) -> JSON.Member {
    JSON.Member(
      "sockets",
      .array(
        snapshot.sockets.map { socket in
          .object(
            [
              JSON.Member("interface", .string(socket.interface)),
              JSON.Member("queue", .count(socket.queue)),
              JSON.Member("mode", .string(socket.mode)),
            ] + (socket.counters + socket.kernel).map { JSON.Member($0.name, .count($0.value)) })
        }))
  }
}
