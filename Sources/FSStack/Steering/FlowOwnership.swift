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
    case card(CardHash)
  }

  private let engineCount: Int
  private let scheme: FlowDirectorScheme
  private let passive: Passive
  private let steering: ActiveSteering

  init(_ configuration: EngineConfiguration) {
    engineCount = configuration.engineCount
    let scaling = configuration.receiveSideScaling
    scheme = FlowDirectorScheme(
      engineCount: engineCount,
      hashedQueues: scaling?.hashedQueues ?? FlowDirectorScheme.hashedQueues)
    if let scaling {
      passive = .card(CardHash(scaling, engineCount: engineCount))
    } else {
      passive = configuration.softwareSteering ? .software : .arrival
    }
    // An engine that the hash never names would have no port at all.
    let reachesAll = scaling?.reachesAll(engineCount: engineCount) ?? false
    steering = reachesAll ? configuration.activeSteering : ActiveSteering()
  }

  /// Frees the memory.
  func deallocate() {
    if case .card(let hash) = passive { hash.deallocate() }
  }

  /// The owner of a flow that a peer has opened; nil: the engine that its packets reach.
  func passiveOwner(of flow: Flow, hash: UInt64) -> Int? {
    switch passive {
    case .arrival:
      return nil
    case .software:
      return Int(hash >> 8 & 0xffff) % engineCount
    case .card(let card):
      return scheme.engine(ofPassiveSourcePort: flow.remotePort) ?? card.engine(flow)
    }
  }

  /// The card's hash, if it says whose the flows are that we open to an address of this family.
  func activeHash(isIPv4: Bool) -> CardHash? {
    guard case .card(let card) = passive,
      (isIPv4 ? steering.ipv4 : steering.ipv6) == .hash
    else { return nil }
    return card
  }

  /// The owner of a flow that we have opened, or would.
  func activeOwner(of flow: Flow) -> Int {
    if let card = activeHash(isIPv4: flow.local.isIPv4) { return card.engine(flow) }
    return Engine.engine(ofActivePort: flow.localPort, engineCount: engineCount)
  }
}
