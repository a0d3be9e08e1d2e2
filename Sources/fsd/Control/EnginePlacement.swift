import FSStack

/// Which engine serves a thread: the one on its processor, else one on the same physical core, else
/// the one with the fewest channels.
struct EnginePlacement: Sendable {
  /// Processor of each engine.
  var processors: [Int]
  /// Processors that share a physical core with a processor, itself included.
  var siblings: [Int: [Int]]

  /// The engine for a thread that runs on `processor`.
  func engine(forProcessor processor: Int, channelCount: (Int) -> Int) -> Int {
    if let same = processors.firstIndex(of: processor) { return same }
    let near = siblings[processor] ?? []
    if let sibling = processors.firstIndex(where: { near.contains($0) }) { return sibling }
    return processors.indices.min { channelCount($0) < channelCount($1) } ?? 0
  }
}
