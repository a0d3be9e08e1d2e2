/// How a network card chooses the receive queue of a packet that no filter has claimed, as
/// ETHTOOL_GRSSH tells it.
public struct ReceiveSideScaling: Equatable, Sendable {
  /// The key of the Toeplitz hash: 40 bytes, on some cards 52.
  public var key: [UInt8]
  /// The indirection table, with the engine that serves the queue in place of the queue. Its length is
  /// a power of two: the lowest bits of the hash choose the entry.
  public var engines: [UInt8]

  /// Creates a description.
  public init(key: [UInt8], engines: [UInt8]) {
    self.key = key
    self.engines = engines
  }

  /// Whether the table has a length that a hash can be cut to, and names engines below `engineCount`.
  public func isValid(engineCount: Int) -> Bool {
    engines.count.nonzeroBitCount == 1 && engines.allSatisfy { $0 < engineCount }
  }

  /// Whether the table leads to each of so many engines.
  public func reachesAll(engineCount: Int) -> Bool { Set(engines).count == engineCount }

  /// So many queues the hash may name: all up to the last one in the table.
  public var hashedQueues: Int { (engines.max().map { Int($0) } ?? -1) + 1 }
}
