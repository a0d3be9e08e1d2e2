import FSRing

@testable import FSStack

/// A sender without segments: a window's worth of acknowledgements, evenly spread over each round
/// trip, for a `CongestionControl` alone.
struct AcknowledgementClock {
  var control: CongestionControl
  let size: UInt32
  /// Round trip of the path.
  var roundTrip: Interval
  /// Whether acknowledgements measure it.
  var measures = false
  var isWindowLimited = true
  private(set) var now = Instant(nanoseconds: 1_000_000_000)
  private(set) var acknowledged = SequenceNumber(0xffff_0000)

  init(_ algorithm: CongestionAlgorithm, size: UInt32 = 1000, roundTrip: Interval) {
    control = CongestionControl(algorithm, segmentSize: size)
    self.size = size
    self.roundTrip = roundTrip
  }

  /// The window in segments.
  var segments: Double { Double(control.window) / Double(size) }

  mutating func wait(_ span: Interval) { now = now + span }

  /// One acknowledgement.
  mutating func acknowledge(_ bytes: UInt32) {
    acknowledged += bytes
    control.acknowledged(
      CongestionSample(
        delivered: bytes, now: now, roundTrip: measures ? roundTrip : nil,
        smoothedRoundTrip: roundTrip, isWindowLimited: isWindowLimited,
        sendUnacknowledged: acknowledged, sendNext: acknowledged + control.window,
        segmentSize: size))
  }

  /// A round trip; `each` is called after every acknowledgement.
  mutating func round(_ each: (AcknowledgementClock) -> Void = { _ in }) {
    let count = max(control.window / size, 1)
    let begin = now
    for index in 1...count {
      now =
        begin + Interval(nanoseconds: roundTrip.nanoseconds * UInt64(index) / UInt64(count))
      acknowledge(size)
      each(self)
    }
  }

  /// Slow start to exactly so many segments.
  mutating func grow(to segments: UInt32) {
    while control.window < segments * size {
      acknowledge(min(size, segments * size - control.window))
    }
  }

  /// Loss at the present window, and the end of its repair.
  mutating func lose() {
    control.enterRecovery(inFlight: control.window, segmentSize: size, now: now)
    control.exitRecovery()
  }
}
