/// The round-trip estimate and the retransmission timeout made of it (RFC 6298), with the bounds of
/// Linux: at least 200 ms, at most 120 s.
struct RoundTripEstimator: BitwiseCopyable {
  private(set) var smoothed: UInt64 = 0
  private(set) var variation: UInt64 = 0
  /// The timeout without back-off.
  private(set) var timeout = Interval.seconds(1)
  /// How often the timer has expired since the last acknowledgement of new data.
  private(set) var backoff: UInt8 = 0

  static var minimum: UInt64 { 200_000_000 }
  static var maximum: UInt64 { 120_000_000_000 }

  /// The timeout to arm now: doubled for each expiry (RFC 6298 section 5.5).
  var current: Interval {
    Interval(nanoseconds: min(timeout.nanoseconds << min(UInt64(backoff), 10), Self.maximum))
  }

  /// Takes a measured round trip (RFC 6298 sections 2.2 and 2.3).
  mutating func sample(_ roundTrip: Interval) {
    let measured = max(roundTrip.nanoseconds, 1)
    if smoothed == 0 {
      smoothed = measured
      variation = measured / 2
    } else {
      let error = smoothed > measured ? smoothed - measured : measured - smoothed
      variation = variation - variation / 4 + error / 4
      smoothed = smoothed - smoothed / 8 + measured / 8
    }
    let bounded = min(max(smoothed + 4 * variation, Self.minimum), Self.maximum)
    timeout = Interval(nanoseconds: bounded)
  }

  /// New data has been acknowledged.
  mutating func acknowledged() { backoff = 0 }

  /// The timer has expired.
  mutating func expired() { backoff = min(backoff + 1, 64) }

  /// A SYN had to be sent again: begin with 3 s once established (RFC 6298 section 5.7).
  mutating func synchronizedAfterLoss() {
    if smoothed == 0 { timeout = .seconds(3) }
    backoff = 0
  }
}
