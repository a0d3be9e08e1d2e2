import FSStack

/// Which engine serves a thread: the one on its processor, else one on the same physical core, else
/// the one with the fewest channels.
struct EnginePlacement: Sendable {
  /// Processor of each engine.
  var processors: [Int]
  /// Processors that share a physical core with a processor, itself included.
  var siblings: [Int: [Int]]

  /// Where engines run in relation to applications.
  var placement = IdlePolicy.Placement.merged

  /// The engine for a thread that wants to be bound to a processor, and that processor: the engine with the
  /// fewest channels, so that who leaves makes room for who comes; its own processor when it shares it,
  /// else another one of its core, or one that no engine has.
  func pinned(channelCount: (Int) -> Int) -> (engine: Int, processor: Int) {
    let engine = processors.indices.min { channelCount($0) < channelCount($1) } ?? 0
    let own = processors[engine]
    guard placement == .split else { return (engine, own) }
    let isFree = { !processors.contains($0) }
    if let beside = (siblings[own] ?? []).first(where: isFree) { return (engine, beside) }
    let free = siblings.keys.filter(isFree).sorted()
    return (engine, free.isEmpty ? own : free[engine % free.count])
  }

  /// The engine for a thread that runs on `processor`.
  func engine(forProcessor processor: Int, channelCount: (Int) -> Int) -> Int {
    if let same = processors.firstIndex(of: processor) { return same }
    let near = siblings[processor] ?? []
    if let sibling = processors.firstIndex(where: { near.contains($0) }) { return sibling }
    return processors.indices.min { channelCount($0) < channelCount($1) } ?? 0
  }
}
