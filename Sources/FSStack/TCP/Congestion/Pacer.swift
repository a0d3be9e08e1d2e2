/// Pacing of a connection that asks for it (SO_MAX_PACING_RATE): segments leave at a rate instead of a
/// window at once.
///
/// As in Linux without a pacing queue discipline, each segment moves the moment from which on the next
/// may leave. A timer that is late is made up for, by two of the engine's ticks of a millisecond at
/// most: that, and one segment, is the largest burst.
struct Pacer: BitwiseCopyable {
  /// SO_MAX_PACING_RATE, bytes per second; `.max` for none, and so is 0.
  var maximumRate: UInt32 = .max
  /// Something waits for `next`.
  private(set) var isWaiting = false
  /// From when on the next segment may leave.
  private var next = Instant(nanoseconds: 0)

  /// What a late timer may make up for.
  static var credit: Interval { .milliseconds(2) }

  @inline(__always)
  var isOn: Bool { maximumRate != .max && maximumRate != 0 }

  /// When something that waits may leave.
  @inline(__always)
  var deadline: Instant { isWaiting ? next : .never }

  /// Whether a segment may leave now. If not, it waits.
  mutating func permits(now: Instant) -> Bool {
    isWaiting = isOn && next > now
    return !isWaiting
  }

  mutating func stopWaiting() { isWaiting = false }

  /// A segment of so many bytes has left; `rate` in bytes per second.
  mutating func sent(_ bytes: UInt32, rate: UInt64, now: Instant) {
    let earliest = now.nanoseconds - min(now.nanoseconds, Self.credit.nanoseconds)
    let duration = UInt64(bytes) * 1_000_000_000 / max(rate, 1)
    next = Instant(nanoseconds: max(next.nanoseconds, earliest)) + Interval(nanoseconds: duration)
  }
}
