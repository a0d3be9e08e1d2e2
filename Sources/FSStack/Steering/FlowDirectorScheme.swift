/// A perfect filter of the 82599's Flow Director, for TCP. A set bit of a mask is compared.
public struct FlowDirectorRule: Equatable, Sendable {
  /// For TCP over IPv6 instead of IPv4. The kernel's driver for the 82599 refuses it; others do not.
  public var isIPv6 = false
  /// Its place in the card's table.
  public var location: Int
  /// Destination port: the value of the compared bits.
  public var destinationPort: UInt16
  /// Source port: the value of the compared bits.
  public var sourcePort: UInt16
  /// What is compared of the ports.
  public var mask: FlowDirectorMask
  /// Receive queue of the packets that match.
  public var queue: Int

  /// Creates a rule.
  public init(
    location: Int, destinationPort: UInt16, sourcePort: UInt16, mask: FlowDirectorMask, queue: Int,
    isIPv6: Bool = false
  ) {
    self.isIPv6 = isIPv6
    self.location = location
    self.destinationPort = destinationPort
    self.sourcePort = sourcePort
    self.mask = mask
    self.queue = queue
  }

  /// Whether the same packets match, of one IP version.
  func comparesAs(_ other: FlowDirectorRule) -> Bool {
    mask == other.mask && destinationPort == other.destinationPort
      && sourcePort == other.sourcePort
  }
}

/// What perfect filters compare. The card has one mask for all of them.
public struct FlowDirectorMask: Equatable, Sendable {
  /// Bits of the destination port.
  public var destinationPort: UInt16
  /// Bits of the source port.
  public var sourcePort: UInt16
  /// Addresses, other fields or other protocols besides, as rules of others may.
  public var comparesMore = false

  /// Creates a mask of ports alone.
  public init(destinationPort: UInt16, sourcePort: UInt16) {
    self.destinationPort = destinationPort
    self.sourcePort = sourcePort
  }
}

/// Why the rules cannot be programmed.
public enum FlowDirectorObstacle: Error, Equatable, Sendable {
  /// The rule of someone else at this location has another mask, and the card has only one.
  case otherMask(location: Int)
  /// The rule of someone else at this location claims packets of ours.
  case overlap(location: Int)
  /// There are not as many free places as rules.
  case tableFull(needed: Int, free: Int)
}

/// Which perfect filters bring every engine the packets of its flows (Fastsocket's Receive Flow
/// Deliver in hardware).
///
/// *Active* flows: the active ports are above 32767, and their lowest bits name the engine
/// (`Engine.engine(ofActivePort:engineCount:)`). One rule for each value of these bits compares them
/// and the highest bit, so that packets for listeners below 32768 do not match.
///
/// *Passive* flows are left to the card's hash, which reaches 16 queues. Engines beyond these get
/// theirs by the source port: one value of as many bits of it as name an engine, for each of them.
/// Not the lowest bit, which Linux leaves the same for all ports that connect(2) chooses. As the card
/// has one mask, each rule then exists for every value of the bits that it does not care for. Beyond 32
/// engines that is more than the table holds: then these engines' passive flows are handed over to
/// them by the others.
public struct FlowDirectorScheme: Equatable, Sendable {
  /// Engines, each with the queue of its number.
  public let engineCount: Int
  /// Engines that the card's hash reaches.
  public let hashedEngineCount: Int
  /// Values of the bits that name an engine.
  let residueCount: Int

  /// The places of the 82599's table as the kernel's driver sizes it.
  public static let defaultCapacity = 2046
  /// Queues that the entries of the 82599's indirection table can name.
  public static let hashedQueues = 16

  /// The scheme for a number of engines.
  public init(engineCount: Int, hashedQueues: Int = FlowDirectorScheme.hashedQueues) {
    precondition((1...16384).contains(engineCount) && hashedQueues > 0)
    self.engineCount = engineCount
    hashedEngineCount = min(engineCount, hashedQueues)
    residueCount = Engine.portResidueCount(engineCount: engineCount)
  }

  /// The engine beyond the hash's reach that owns a passive flow with this source port; nil: the hash
  /// says whose it is.
  @inline(__always)
  func engine(ofPassiveSourcePort port: UInt16) -> Int? {
    let value = Int(port >> 1) & (residueCount - 1)
    return value < engineCount - hashedEngineCount ? hashedEngineCount + value : nil
  }

  /// The rules for active flows alone, or for both, in the order in which they are to be inserted.
  private func rules(passive: Bool) -> [FlowDirectorRule] {
    let bits = UInt16(residueCount - 1)
    let mask = FlowDirectorMask(
      destinationPort: 0x8000 | bits, sourcePort: passive ? bits << 1 : 0)
    let sources = passive ? 0...bits : 0...0
    var rules: [FlowDirectorRule] = []
    func append(_ destinationPort: UInt16, _ source: UInt16, _ queue: Int) {
      rules.append(
        FlowDirectorRule(
          location: rules.count, destinationPort: destinationPort, sourcePort: source << 1,
          mask: mask, queue: queue))
    }
    for residue in 0...bits {
      let queue = Engine.engine(ofActivePort: residue, engineCount: engineCount)
      for source in sources { append(0x8000 | residue, source, queue) }
    }
    guard passive else { return rules }
    for source in sources {
      guard let queue = engine(ofPassiveSourcePort: source << 1) else { continue }
      for residue in 0...bits { append(residue, source, queue) }
    }
    return rules
  }

  /// The rules to be inserted, in this order, beside those of others, which stay as they are. None for
  /// one engine. Those for active flows come first: each missing rule is hand-overs, nothing worse.
  ///
  /// - Parameters:
  ///   - capacity: places of the card's table.
  ///   - foreign: rules of others, and those of the other IP version.
  ///   - isIPv6: whether they are for IPv6.
  /// - Returns: the rules, each with a free location.
  /// - Throws: `FlowDirectorObstacle`, when rules of others leave no way.
  public func rules(
    capacity: Int = FlowDirectorScheme.defaultCapacity, beside foreign: [FlowDirectorRule] = [],
    isIPv6: Bool = false
  ) throws(FlowDirectorObstacle) -> [FlowDirectorRule] {
    guard engineCount > 1 else { return [] }
    let taken = Set(foreign.map(\.location))
    let free = (0..<max(capacity, 0)).filter { !taken.contains($0) }
    var rules = self.rules(passive: engineCount > hashedEngineCount)
    // Those for passive flows can be left out, unless the other IP version's have made the mask theirs.
    let isBound = foreign.contains { $0.mask == rules[0].mask }
    if rules.count > free.count, !isBound { rules = self.rules(passive: false) }
    for other in foreign {
      guard other.mask == rules[0].mask else { throw .otherMask(location: other.location) }
      if other.isIPv6 == isIPv6, rules.contains(where: other.comparesAs) {
        throw .overlap(location: other.location)
      }
    }
    guard rules.count <= free.count else {
      throw .tableFull(needed: rules.count, free: free.count)
    }
    for index in rules.indices {
      rules[index].location = free[index]
      rules[index].isIPv6 = isIPv6
    }
    return rules
  }
}
