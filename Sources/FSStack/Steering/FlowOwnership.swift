/// Which engine owns a flow that is in nobody's table. All engines of a daemon agree on it as long as
/// they live, whatever becomes of the hardware's tables: a packet that arrives elsewhere is handed
/// over.
struct FlowOwnership {
  private enum Passive {
    /// The engine that its packets reach owns it.
    case arrival
    /// A keyed hash says who owns it.
    case software
    /// The card's hash says it.
    case card(ToeplitzHash, SteeringTable)
  }

  private let engineCount: Int
  private let scheme: FlowDirectorScheme
  private let passive: Passive

  init(_ configuration: EngineConfiguration) {
    engineCount = configuration.engineCount
    let reached = configuration.receiveSideScaling?.engines.max().map { Int($0) + 1 }
    scheme = FlowDirectorScheme(
      engineCount: engineCount, hashedQueues: reached ?? FlowDirectorScheme.hashedQueues)
    if let scaling = configuration.receiveSideScaling {
      passive = .card(ToeplitzHash(key: scaling.key), SteeringTable(scaling.engines, engineCount))
    } else {
      passive = configuration.softwareSteering ? .software : .arrival
    }
  }

  /// Frees the memory.
  func deallocate() {
    guard case .card(let hash, let table) = passive else { return }
    hash.deallocate()
    table.deallocate()
  }

  /// The owner of a flow that a peer has opened; nil: the engine that its packets reach.
  func passiveOwner(of flow: Flow, hash: UInt64) -> Int? {
    switch passive {
    case .arrival:
      return nil
    case .software:
      return Int(hash >> 8 & 0xffff) % engineCount
    case .card(let toeplitz, let table):
      return scheme.engine(ofPassiveSourcePort: flow.remotePort)
        ?? table.engine(toeplitz.hash(flow))
    }
  }
}

/// The card's indirection table as it was when the engines started, in memory of the engine's own.
@safe
private struct SteeringTable {
  private let engines: UnsafeMutablePointer<UInt8>
  private let mask: UInt32

  init(_ table: [UInt8], _ engineCount: Int) {
    precondition(table.count.nonzeroBitCount == 1, "an indirection table has 2^n entries")
    precondition(table.allSatisfy { $0 < engineCount }, "an entry names no engine")
    mask = UInt32(table.count - 1)
    unsafe engines = .allocate(capacity: table.count)
    for (index, engine) in table.enumerated() {
      unsafe (engines + index).initialize(to: engine)
    }
  }

  func deallocate() { unsafe engines.deallocate() }

  @inline(__always)
  func engine(_ hash: UInt32) -> Int { unsafe Int(engines[Int(hash & mask)]) }
}
