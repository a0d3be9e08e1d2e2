/// The round-trip estimate and the retransmission timeout made of it (RFC 6298), with the bounds of
/// Linux: at least 200 ms more than the round trip, at most 120 s.
struct RoundTripEstimator: BitwiseCopyable {
  private(set) var smoothed: UInt64 = 0
  private(set) var variation: UInt64 = 0
  private var shortest = MinimumRoundTrip()
  /// How often the timer has expired since the last round trip was measured.
  private(set) var backoff: UInt8 = 0
  /// The timeout while nothing has been measured, seconds.
  private var initialTimeout: UInt8 = 1

  /// Of what the variation adds. A peer that delays its acknowledgements does so on the fastest path.
  static var minimumVariation: UInt64 { 200_000_000 }
  static var maximum: UInt64 { 120_000_000_000 }
  /// Milliseconds after which an echoed timestamp says nothing.
  static var oldestEcho: UInt32 { 120_000 }

  /// The timeout without back-off.
  @inline(__always)
  var timeout: Interval {
    guard smoothed != 0 else { return .seconds(UInt64(initialTimeout)) }
    let sum = smoothed + max(4 * variation, Self.minimumVariation)
    return Interval(nanoseconds: min(sum, Self.maximum))
  }

  /// The timeout to arm now: doubled for each expiry (RFC 6298 section 5.5).
  var current: Interval {
    Interval(nanoseconds: min(timeout.nanoseconds << min(UInt64(backoff), 10), Self.maximum))
  }

  /// SRTT; zero while nothing has been measured.
  var smoothedRoundTrip: Interval { Interval(nanoseconds: smoothed) }

  /// The shortest round trip of the last minutes; zero while nothing has been measured.
  var minimum: Interval { shortest.value }

  /// Takes a measured round trip (RFC 6298 sections 2.2 and 2.3). When a window has many samples, each
  /// weighs less: `count` of them are expected (RFC 7323 appendix G). A valid measurement ends the
  /// back-off (Karn's algorithm, MUST-18).
  mutating func sample(_ roundTrip: Interval, of count: UInt32 = 1) {
    let measured = max(roundTrip.nanoseconds, 1)
    if smoothed == 0 {
      smoothed = measured
      variation = measured / 2
    } else {
      let error = smoothed > measured ? smoothed - measured : measured - smoothed
      let count = UInt64(max(count, 1))
      if count == 1 {
        variation = variation - variation / 4 + error / 4
        smoothed = smoothed - smoothed / 8 + measured / 8
      } else {
        variation = variation - variation / (4 * count) + error / (4 * count)
        smoothed = smoothed - smoothed / (8 * count) + measured / (8 * count)
      }
    }
    backoff = 0
  }

  /// Takes the round trip of the segment that was acknowledged fastest.
  mutating func sampleMinimum(_ roundTrip: Interval, now: Instant) {
    shortest.sample(roundTrip, now: now)
  }

  /// The peer has shown that it is alive.
  mutating func acknowledged() { backoff = 0 }

  /// The timer has expired.
  mutating func expired() { backoff = min(backoff + 1, 64) }

  /// A SYN had to be sent again: begin with 3 s once established (RFC 6298 section 5.7).
  mutating func synchronizedAfterLoss() {
    initialTimeout = 3
    backoff = 0
  }
}

/// The shortest round trip of the last 150 to 300 seconds (Linux: tcp_min_rtt_wlen), microseconds: it
/// must forget, because routes change.
struct MinimumRoundTrip: BitwiseCopyable {
  private var current: UInt32 = .max
  private var last: UInt32 = .max
  /// When `current` began, in seconds.
  private var since: UInt32 = 0

  private static var span: UInt32 { 150 }

  /// Zero while nothing has been measured.
  var value: Interval {
    let shortest = min(current, last)
    return .microseconds(shortest == .max ? 0 : UInt64(shortest))
  }

  mutating func sample(_ roundTrip: Interval, now: Instant) {
    let seconds = UInt32(truncatingIfNeeded: now.nanoseconds / 1_000_000_000)
    let age = seconds &- since
    if age >= Self.span {
      last = age >= 2 * Self.span ? .max : current
      current = .max
      since = seconds
    }
    current = min(current, UInt32(clamping: max(roundTrip.nanoseconds / 1000, 1)))
  }
}
