/// Which engines there are, where they run, and which queues they serve.
struct EnginePlan: Equatable, Sendable {
  /// Processor of each engine.
  var processors: [Int]
  var placement: IdlePolicy.Placement
  /// Why there are fewer engines than processors; nil when there are not.
  var limit: String?

  /// Every engine needs a queue of every interface, since a queue's socket is the only way out. So
  /// the interface with the fewest queues limits the number of engines.
  static func make(
    interfaces: [(name: String, queueCount: Int)], available: [Int], chosen: [Int]?,
    placement: IdlePolicy.Placement?, siblings: [Int: [Int]]
  ) -> EnginePlan {
    var processors = chosen ?? available
    if chosen == nil, placement == .split {
      processors = Topology.splitProcessors(available, siblings: siblings)
    }
    var limit: String?
    if let narrowest = interfaces.min(by: { $0.queueCount < $1.queueCount }),
      narrowest.queueCount < processors.count
    {
      processors = Array(processors.prefix(max(1, narrowest.queueCount)))
      let queues = narrowest.queueCount == 1 ? "1 queue" : "\(narrowest.queueCount) queues"
      limit = "\(narrowest.name) has \(queues)"
    }
    let automatic = IdlePolicy.automatic(
      engines: processors.count, processors: available.count)
    return EnginePlan(
      processors: processors, placement: placement ?? automatic, limit: limit)
  }

  /// The queues of an interface that an engine serves.
  func queues(ofEngine engine: Int, queueCount: Int) -> [Int] {
    Array(stride(from: engine, to: queueCount, by: processors.count))
  }
}
