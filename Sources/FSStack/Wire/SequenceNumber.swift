/// A TCP sequence number. Order and distance are modulo 2^32 (RFC 9293 section 3.4), so the order
/// means something only between numbers less than 2^31 apart.
struct SequenceNumber: Equatable, Comparable, BitwiseCopyable, Sendable {
  var value: UInt32

  @inline(__always)
  init(_ value: UInt32 = 0) { self.value = value }

  @inline(__always)
  init(value: UInt32) { self.value = value }

  /// How far `a` is ahead of `b`.
  @inline(__always)
  static func - (a: Self, b: Self) -> Int32 { Int32(bitPattern: a.value &- b.value) }

  @inline(__always)
  static func < (a: Self, b: Self) -> Bool { a - b < 0 }

  @inline(__always)
  static func + (a: Self, count: UInt32) -> Self { Self(a.value &+ count) }

  @inline(__always)
  static func - (a: Self, count: UInt32) -> Self { Self(a.value &- count) }

  @inline(__always)
  static func += (a: inout Self, count: UInt32) { a.value = a.value &+ count }

  /// Whether the number is one of the `count` numbers that begin with `first`.
  @inline(__always)
  func isWithin(_ first: Self, _ count: UInt32) -> Bool { value &- first.value < count }
}
