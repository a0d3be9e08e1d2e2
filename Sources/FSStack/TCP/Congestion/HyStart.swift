/// HyStart++ (RFC 9406): leaves slow start before the queue overflows, when the round trip grows.
///
/// A round ends when everything that had been sent at its beginning is acknowledged. When a round's
/// shortest round trip is longer than the last round's, slow start becomes conservative for up to five
/// rounds; if the round trip falls again, it was jitter, and slow start goes on.
struct HyStart: BitwiseCopyable {
  /// SND.NXT at the beginning of the round.
  private var roundEnd = SequenceNumber(0)
  /// The shortest round trips, microseconds; `.max` without one.
  private var lastMinimum: UInt32 = .max
  private var currentMinimum: UInt32 = .max
  /// The shortest of the round in which conservative slow start began.
  private var baseline: UInt32 = .max
  /// Round trips measured in the round.
  private var samples: UInt8 = 0
  /// Rounds of conservative slow start, the present one included; 0 in standard slow start.
  private var conservativeRounds: UInt8 = 0
  private var hasBegun = false
  /// Slow start is to end.
  private(set) var isOver = false

  /// The constants of RFC 9406 section 4.3.
  private static var minimumThreshold: UInt32 { 4000 }
  private static var maximumThreshold: UInt32 { 16_000 }
  private static var roundTripDivisor: UInt32 { 8 }
  private static var sampleCount: UInt8 { 8 }
  private static var growthDivisor: UInt32 { 4 }
  private static var rounds: UInt8 { 5 }

  /// Takes an acknowledgement. Returns the divisor of the window's growth.
  @inline(__always)
  mutating func acknowledged(_ sample: CongestionSample) -> UInt32 {
    if !hasBegun {
      hasBegun = true
      roundEnd = sample.sendNext
    }
    if let roundTrip = sample.roundTrip {
      let microseconds = UInt32(clamping: roundTrip.nanoseconds / 1000)
      currentMinimum = min(currentMinimum, microseconds)
      samples = min(samples + 1, Self.sampleCount)
    }
    if samples >= Self.sampleCount { judge() }
    if sample.sendUnacknowledged >= roundEnd { endRound(sample.sendNext) }
    return conservativeRounds > 0 ? Self.growthDivisor : 1
  }

  @inline(__always)
  private mutating func judge() {
    if conservativeRounds > 0 {
      if currentMinimum < baseline {
        baseline = .max
        conservativeRounds = 0
      }
      return
    }
    guard lastMinimum != .max else { return }
    let threshold = min(
      max(lastMinimum / Self.roundTripDivisor, Self.minimumThreshold), Self.maximumThreshold)
    if currentMinimum >= lastMinimum.addingReportingOverflow(threshold).partialValue {
      baseline = currentMinimum
      conservativeRounds = 1
    }
  }

  @inline(__always)
  private mutating func endRound(_ next: SequenceNumber) {
    lastMinimum = currentMinimum
    currentMinimum = .max
    samples = 0
    roundEnd = next
    guard conservativeRounds > 0 else { return }
    if conservativeRounds >= Self.rounds { isOver = true } else { conservativeRounds += 1 }
  }
}
