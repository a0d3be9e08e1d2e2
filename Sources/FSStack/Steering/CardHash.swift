/// Where a network card's hash and indirection table lead a flow, in memory of the engine's own.
///
/// A handle: copies share the tables.
@safe
struct CardHash {
  private let hash: ToeplitzHash
  private let engines: UnsafeMutablePointer<UInt8>
  private let mask: UInt32

  /// What the card's tables say, which must name engines below `engineCount` only.
  init(_ scaling: ReceiveSideScaling, engineCount: Int) {
    precondition(scaling.isValid(engineCount: engineCount), "not an indirection table")
    hash = ToeplitzHash(key: scaling.key)
    mask = UInt32(scaling.engines.count - 1)
    unsafe engines = .allocate(capacity: scaling.engines.count)
    for (index, engine) in scaling.engines.enumerated() {
      unsafe (engines + index).initialize(to: engine)
    }
  }

  /// Frees the memory; the handle and its copies are void afterwards.
  func deallocate() {
    hash.deallocate()
    unsafe engines.deallocate()
  }

  /// The engine that a flow's packets reach.
  @inline(__always)
  func engine(_ flow: Flow) -> Int { engine(ofHash: hash.hash(flow)) }

  /// The same for a flow of which all but our port has been hashed with the port 0. The hash is linear:
  /// the port adds its own share.
  @inline(__always)
  func engine(ofLocalPort port: UInt16, _ rest: UInt32, isIPv4: Bool) -> Int {
    engine(ofHash: rest ^ hash.shareOfLocalPort(port, isIPv4: isIPv4))
  }

  /// The hash of a flow without our port.
  func hashWithoutLocalPort(_ flow: Flow) -> UInt32 {
    var flow = flow
    flow.localPort = 0
    return hash.hash(flow)
  }

  @inline(__always)
  private func engine(ofHash hash: UInt32) -> Int { unsafe Int(engines[Int(hash & mask)]) }
}
