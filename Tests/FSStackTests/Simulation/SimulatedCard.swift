@testable import FSStack

/// A port of an Intel 82599 under Linux's ixgbe: receive rings, receive-side scaling, and Flow
/// Director with perfect filters, with the limits that card and driver have.
final class SimulatedCard {
  /// What the driver answers to a request that it cannot fulfil.
  enum Refusal: Error, Equatable {
    /// EINVAL: another mask than the rules that are there, a location or a queue that does not exist.
    case invalidArgument
  }

  /// What `ethtool -S` counts.
  struct Counters: Equatable {
    /// fdir_match: packets that matched a filter.
    var filterMatches = 0
    /// fdir_miss: TCP over IPv4 that matched none.
    var filterMisses = 0
    /// rx_missed_errors: packets for which the ring had no descriptor.
    var missed = 0
    /// Packets that came while the link was down.
    var lostInReset = 0
  }

  /// Entries of the indirection table.
  static let tableSize = 128
  /// An entry has four bits.
  static let hashedQueues = 16
  /// Receive queues at most.
  static let maximumQueues = 64
  /// Perfect filters with the 64 KB that the kernel's driver gives them.
  static let capacity = 2046

  let queueCount: Int
  /// Descriptors of each ring.
  let ringSize: Int
  let key: [UInt8]
  private(set) var table: [UInt8]
  private var rules: [Int: FlowDirectorRule] = [:]
  /// The lowest location for each value of the compared bits.
  private var filters: [UInt32: Int] = [:]
  private(set) var counters = Counters()
  /// Between the reset and the link's return.
  var isDown = false

  init(queueCount: Int, ringSize: Int = 512, seed: UInt64 = 0) {
    precondition((1...Self.maximumQueues).contains(queueCount))
    self.queueCount = queueCount
    self.ringSize = ringSize
    var random = SplitMix64(seed: seed ^ 0x82599)
    key = random.bytes(40)
    table = Self.defaultTable(queueCount)
  }

  private static func defaultTable(_ queueCount: Int) -> [UInt8] {
    (0..<tableSize).map { UInt8($0 % min(queueCount, hashedQueues)) }
  }

  /// What ETHTOOL_GRSSH says, queue i being engine i's.
  var receiveSideScaling: ReceiveSideScaling { ReceiveSideScaling(key: key, engines: table) }

  /// Receives for a host, queue i for engine i.
  func attach(to host: SimulatedHost) {
    precondition(host.engines.count == queueCount)
    host.queue = { [unowned self, unowned host] in receive($0, for: host) }
  }

  // MARK: Configuration

  /// ETHTOOL_SRXCLSRLINS.
  func insert(_ rule: FlowDirectorRule) throws(Refusal) {
    guard (0..<Self.capacity).contains(rule.location), rule.queue < queueCount,
      rules.values.first.map({ $0.mask == rule.mask }) ?? true
    else { throw .invalidArgument }
    rules[rule.location] = rule
    program()
  }

  /// ETHTOOL_SRXCLSRLDEL.
  func delete(_ location: Int) throws(Refusal) {
    guard rules.removeValue(forKey: location) != nil else { throw .invalidArgument }
    program()
  }

  private func program() {
    filters.removeAll(keepingCapacity: true)
    for (location, rule) in rules {
      let place = Self.place(rule.destinationPort, rule.sourcePort, rule.mask)
      filters[place] = min(location, filters[place] ?? .max)
    }
  }

  private static func place(
    _ destination: UInt16, _ source: UInt16, _ mask: FlowDirectorMask
  ) -> UInt32 {
    UInt32(destination & mask.destinationPort) << 16 | UInt32(source & mask.sourcePort)
  }

  /// ETHTOOL_SRSSH with a new indirection table.
  func setTable(_ table: [UInt8]) throws(Refusal) {
    guard table.count == Self.tableSize,
      table.allSatisfy({ $0 < min(queueCount, Self.hashedQueues) })
    else { throw .invalidArgument }
    self.table = table
  }

  /// A reset that loses everything that was programmed; the link comes back later.
  func reset() {
    rules.removeAll()
    program()
    table = Self.defaultTable(queueCount)
    isDown = true
  }

  // MARK: Packets

  /// The queue in whose ring a packet ends; nil if it is lost.
  private func receive(_ bytes: [UInt8], for host: SimulatedHost) -> Int? {
    guard !isDown else {
      counters.lostInReset += 1
      return nil
    }
    let queue = self.queue(of: bytes)
    guard host.engines[queue].inbox.count < ringSize else {
      counters.missed += 1
      return nil
    }
    return queue
  }

  /// The queue that Flow Director or else the hash chooses.
  func queue(of bytes: [UInt8]) -> Int {
    guard let frame = TCPFrame(bytes) else { return hashed(addresses(bytes)) }
    if frame.isIPv4, let mask = rules.values.first?.mask {
      let place = Self.place(frame.destinationPort, frame.sourcePort, mask)
      if let location = filters[place], let rule = rules[location] {
        counters.filterMatches += 1
        return rule.queue
      }
      counters.filterMisses += 1
    }
    return hashed(rssMessage(frame.receiversFlow))
  }

  private func hashed(_ message: some Collection<UInt8>) -> Int {
    Int(table[Int(referenceToeplitz(message, key: key)) % Self.tableSize])
  }

  /// Of what is not TCP the card hashes the addresses alone.
  private func addresses(_ bytes: [UInt8]) -> ArraySlice<UInt8> {
    let isIPv4 = bytes.count > 14 && bytes[14] >> 4 == 4
    let range = isIPv4 ? 26..<34 : 22..<54
    return range.upperBound <= bytes.count ? bytes[range] : []
  }
}
