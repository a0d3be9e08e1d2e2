/// A log-linear histogram of durations: 32 steps per power of two, up to about an hour.
public struct Histogram: Sendable {
  private var counts = [UInt64](repeating: 0, count: 42 * 32)
  /// Number of durations recorded.
  public private(set) var count: UInt64 = 0

  /// Creates an empty histogram.
  public init() {}

  /// Records one duration.
  public mutating func record(nanoseconds: UInt64) {
    counts[min(Self.index(of: nanoseconds), counts.count - 1)] += 1
    count += 1
  }

  /// Adds what another histogram has recorded.
  public mutating func add(_ other: Histogram) {
    for index in counts.indices { counts[index] += other.counts[index] }
    count += other.count
  }

  /// The duration that a `share` of all does not exceed, within 3 %; in nanoseconds.
  public func percentile(_ share: Double) -> UInt64 {
    let wanted = UInt64((Double(count) * share).rounded(.up))
    var seen: UInt64 = 0
    for index in counts.indices {
      seen += counts[index]
      if seen >= wanted && seen > 0 { return Self.upperBound(of: index) }
    }
    return 0
  }

  /// The durations that were recorded, shortest first, in nanoseconds, each with the share of all that
  /// are not longer.
  public var steps: [(upperBound: UInt64, share: Double)] {
    var seen: UInt64 = 0
    return counts.indices.compactMap { index in
      guard counts[index] > 0 else { return nil }
      seen += counts[index]
      return (Self.upperBound(of: index), Double(seen) / Double(count))
    }
  }

  private static func index(of value: UInt64) -> Int {
    guard value >= 32 else { return Int(value) }
    let exponent = 63 - value.leadingZeroBitCount
    return (exponent - 4) * 32 + Int((value >> UInt64(exponent - 5)) & 31)
  }

  private static func upperBound(of index: Int) -> UInt64 {
    guard index >= 32 else { return UInt64(index) }
    let shift = UInt64(index / 32 - 1)
    return (UInt64(32 + index % 32 + 1) << shift) - 1
  }
}
