/// A span of time in nanoseconds.
public struct Interval: BitwiseCopyable, Comparable, Sendable {
  /// Nanoseconds.
  public var nanoseconds: UInt64

  /// Creates a span of nanoseconds.
  public init(nanoseconds: UInt64) { self.nanoseconds = nanoseconds }

  /// A span of microseconds.
  public static func microseconds(_ count: UInt64) -> Interval {
    Interval(nanoseconds: count * 1000)
  }

  /// A span of milliseconds.
  public static func milliseconds(_ count: UInt64) -> Interval {
    Interval(nanoseconds: count * 1_000_000)
  }

  /// A span of seconds.
  public static func seconds(_ count: UInt64) -> Interval {
    Interval(nanoseconds: count * 1_000_000_000)
  }

  /// Compares lengths.
  public static func < (a: Interval, b: Interval) -> Bool { a.nanoseconds < b.nanoseconds }
  /// Adds.
  public static func + (a: Interval, b: Interval) -> Interval {
    Interval(nanoseconds: a.nanoseconds + b.nanoseconds)
  }
}

/// A moment of the monotonic clock that the engine's owner injects. The engine itself has none.
public struct Instant: BitwiseCopyable, Comparable, Sendable {
  /// Nanoseconds since a fixed moment, the same for all engines.
  public var nanoseconds: UInt64

  /// Creates a moment.
  public init(nanoseconds: UInt64) { self.nanoseconds = nanoseconds }

  /// Later than every moment: a timer that is not set.
  public static let never = Instant(nanoseconds: .max)

  /// Compares moments.
  public static func < (a: Instant, b: Instant) -> Bool { a.nanoseconds < b.nanoseconds }
  /// The moment after a span.
  public static func + (a: Instant, b: Interval) -> Instant {
    Instant(nanoseconds: a.nanoseconds + b.nanoseconds)
  }
  /// The span since an earlier moment; none when `b` is later.
  public static func - (a: Instant, b: Instant) -> Interval {
    Interval(nanoseconds: a.nanoseconds > b.nanoseconds ? a.nanoseconds - b.nanoseconds : 0)
  }
}
