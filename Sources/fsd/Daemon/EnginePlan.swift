/// Which engines there are, where they run, and which queues they serve.
struct EnginePlan: Equatable, Sendable {
  /// Processor of each engine.
  var processors: [Int]
  var placement: IdlePolicy.Placement
  /// Why it is this placement.
  var reason = Reason.option
  /// Why there are fewer engines than processors; nil when there are not.
  var limit: String?

  /// Why a placement was taken.
  enum Reason: String, Sendable {
    case option = "as the options say"
    case hyperThreads = "engines are on the second hyper-thread of each core"
    case spareProcessors = "there are processors enough for both"
    case noSpareProcessors = "there are no processors to spare"
  }

  /// Queues that an interface can have.
  typealias Interface = (name: String, queueCount: Int)

  /// Every engine needs a queue of every interface, since a queue's socket is the only way out. So
  /// the interface with the fewest queues limits the number of engines.
  ///
  /// Who has not chosen gets: with hyper-threads, engines on the second one of each core, split; without,
  /// engines on processors of their own if as many are left, split; else on the programs' own, merged.
  /// The processors nearest to the card come first.
  static func make(
    interfaces: [Interface], topology: Topology, chosen: [Int]? = nil,
    placement: IdlePolicy.Placement? = nil, node: Int? = nil
  ) -> EnginePlan {
    let narrowest = interfaces.min { $0.queueCount < $1.queueCount }
    let queues = max(1, narrowest?.queueCount ?? .max)
    let (placement, reason) = choose(
      placement, topology: topology, chosen: chosen, queues: queues)
    var processors =
      chosen
      ?? topology.nearFirst(candidates(placement, topology: topology), to: node)
    var limit: String?
    if let narrowest, queues < processors.count {
      processors = Array(processors.prefix(queues))
      let text = queues == 1 ? "1 queue" : "\(queues) queues"
      limit = "\(narrowest.name) has \(text)"
    }
    return EnginePlan(
      processors: processors, placement: placement, reason: reason, limit: limit)
  }

  private static func choose(
    _ placement: IdlePolicy.Placement?, topology: Topology, chosen: [Int]?, queues: Int
  ) -> (IdlePolicy.Placement, Reason) {
    if let placement { return (placement, .option) }
    let available = topology.processors
    if let chosen {
      // Each engine leaves another thread of its core to the programs.
      let isBeside = chosen.prefix(queues).allSatisfy { processor in
        available.contains {
          $0.siblings.contains(processor) && !chosen.contains($0.number)
        }
      }
      if isBeside { return (.split, .hyperThreads) }
    } else if !topology.laterOfEachCore.isEmpty {
      return (.split, .hyperThreads)
    }
    let engines = min(queues, chosen?.count ?? available.count)
    return engines * 2 >= available.count
      ? (.merged, .noSpareProcessors) : (.split, .spareProcessors)
  }

  private static func candidates(
    _ placement: IdlePolicy.Placement, topology: Topology
  ) -> [Int] {
    switch placement {
    case .merged:
      return topology.firstOfEachCore
    case .split:
      let later = topology.laterOfEachCore
      if !later.isEmpty { return later }
      let all = topology.processors.map(\.number)
      return Array(all.suffix(max(1, all.count / 2)))
    }
  }

  /// The queues of an interface that an engine serves.
  func queues(ofEngine engine: Int, queueCount: Int) -> [Int] {
    Array(stride(from: engine, to: queueCount, by: processors.count))
  }

  /// The processor of the engine that serves a queue.
  func processor(ofQueue queue: Int) -> Int { processors[queue % processors.count] }
}
