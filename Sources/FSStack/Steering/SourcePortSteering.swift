/// Which source ports lead the replies of a connection to the engine that opens it.
struct SourcePortSteering {
  /// A hash of the card, and what it says of all but the port.
  private struct Hashed {
    var card: CardHash
    var rest: UInt32
    var isIPv4: Bool

    @inline(__always)
    func engine(ofPort port: UInt16) -> Int {
      card.engine(ofLocalPort: port, rest, isIPv4: isIPv4)
    }
  }

  private let engine: Int
  private let engineCount: Int
  private let owner: Hashed?
  private var arrival: Hashed?

  /// For a flow without our port. `arrivals` is where the card leads by now, if not where it did.
  init(
    _ flow: Flow, engine: Int, engineCount: Int, _ ownership: FlowOwnership, arrivals: CardHash?
  ) {
    self.engine = engine
    self.engineCount = engineCount
    let isIPv4 = flow.local.isIPv4
    owner = ownership.activeHash(isIPv4: isIPv4).map {
      Hashed(card: $0, rest: $0.hashWithoutLocalPort(flow), isIPv4: isIPv4)
    }
    guard owner != nil, let arrivals else { return }
    arrival = Hashed(card: arrivals, rest: arrivals.hashWithoutLocalPort(flow), isIPv4: isIPv4)
  }

  /// How many ports of other engines there are at least from this one on. 0: a connection from this port
  /// is the engine's own, and its packets come to it.
  @inline(__always)
  func portsOfOthers(from port: UInt16) -> UInt32 {
    guard let owner else { return portsOfOthersByResidue(from: port) }
    guard owner.engine(ofPort: port) == engine else { return 1 }
    return arrival.map { $0.engine(ofPort: port) == engine ? 0 : 1 } ?? 0
  }

  /// The same where the lowest bits of a port name the engine (`Engine.engine(ofActivePort:engineCount:)`):
  /// of as many values as these have, its own are its number and, if there is one, that by the number of
  /// engines higher. So many engines search no longer than one.
  @inline(__always)
  private func portsOfOthersByResidue(from port: UInt16) -> UInt32 {
    let residues = Engine.portResidueCount(engineCount: engineCount)
    let first = (engine &- Int(port)) & (residues - 1)
    guard engine + engineCount < residues else { return UInt32(first) }
    return UInt32(min(first, (engine + engineCount &- Int(port)) & (residues - 1)))
  }

  /// From now on it is enough to be the owner: others hand over. False when it was already.
  mutating func forgetArrivals() -> Bool {
    guard arrival != nil else { return false }
    arrival = nil
    return true
  }
}
