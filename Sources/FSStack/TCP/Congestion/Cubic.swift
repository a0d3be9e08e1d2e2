/// Congestion avoidance of CUBIC (RFC 9438): after congestion the window returns along a cubic
/// function of time to where congestion was, stays near there, and then probes beyond.
///
/// In integers: windows in bytes, time in 1/1024 s. The beginning of the curve is the time at which
/// avoidance began, moved by the times in which the window did not limit the sender.
struct Cubic: BitwiseCopyable {
  /// When the present curve began; never: with the next acknowledgement.
  private var epoch = Instant.never
  /// Until when `epoch` takes account of pauses.
  private var lastAcknowledgement = Instant.never
  /// W_max; 0: the next curve begins on its plateau (RFC 9438 sections 4.8 and 4.10).
  private var maximum: UInt32 = 0
  private var priorMaximum: UInt32 = 0
  /// The plateau of the present curve.
  private var plateau: UInt32 = 0
  /// K: when the curve reaches its plateau, 1/1024 s.
  private var period: UInt32 = 0
  /// W_est: the window that Reno would have by now.
  private var estimate: UInt32 = 0
  /// Acknowledged bytes towards the next segment of `estimate`.
  private var estimateCredit: UInt32 = 0
  /// Numerator of the part of a byte that the window is still to grow; its denominator is the window.
  private var credit: UInt32 = 0

  /// L of RFC 9406 section 4.2, without pacing.
  static var appropriateByteLimit: UInt32 { 8 }

  // MARK: Growth

  /// The window after `delivered` bytes. `priorWindow` is cwnd_prior: the window before the last
  /// reduction.
  mutating func acknowledged(
    _ delivered: UInt32, _ sample: CongestionSample, window: UInt32, priorWindow: UInt32
  ) -> UInt32 {
    guard sample.isWindowLimited else {
      // Time in which the window does not grow is no time of the curve (section 5.8).
      pause(until: sample.now)
      return window
    }
    if epoch == .never { begin(window: window, segmentSize: sample.segmentSize, now: sample.now) }
    lastAcknowledgement = sample.now
    growEstimate(delivered, sample, window: window, priorWindow: priorWindow)
    let elapsed = sample.now - epoch
    if value(at: elapsed, segmentSize: sample.segmentSize) < estimate {
      // The Reno-friendly region (section 4.3).
      credit = 0
      return max(window, estimate)
    }
    let next = value(at: elapsed + sample.smoothedRoundTrip, segmentSize: sample.segmentSize)
    // In a round trip by half at most (section 4.2).
    let target = min(max(next, window), window + window / 2)
    let numerator = UInt64(target - window) * UInt64(min(delivered, window)) + UInt64(credit)
    let (growth, rest) = numerator.quotientAndRemainder(dividingBy: UInt64(window))
    credit = UInt32(rest)
    return window + UInt32(growth)
  }

  /// A new curve, from the window to the plateau (section 4.2).
  private mutating func begin(window: UInt32, segmentSize: UInt32, now: Instant) {
    epoch = now
    estimate = window
    estimateCredit = 0
    credit = 0
    plateau = max(maximum, window)
    // K = cbrt((W_max - cwnd_epoch) / C) segments; C = 2/5, and 2^30 the cube of the unit of time.
    let distance = (UInt64(plateau - window) * 5 << 29) / UInt64(segmentSize)
    period = UInt32(integerCubeRoot(distance))
  }

  /// W_est = W_est + alpha * acknowledged / cwnd (section 4.3). Alpha is 9/17, with which Reno would
  /// reach the same average with a decrease to 0.7; 1 from cwnd_prior on.
  private mutating func growEstimate(
    _ delivered: UInt32, _ sample: CongestionSample, window: UInt32, priorWindow: UInt32
  ) {
    let divisor =
      estimate < priorWindow ? UInt32(UInt64(window) * 17 / 9) : window
    estimateCredit += min(delivered, window)
    if estimateCredit >= divisor {
      estimateCredit -= divisor
      estimate = min(estimate + sample.segmentSize, CongestionControl.windowLimit)
    }
  }

  /// W_cubic(t) = C * (t - K)^3 + W_max (section 4.2), at most the window limit.
  func value(at elapsed: Interval, segmentSize: UInt32) -> UInt32 {
    // 1024 s from the plateau any window is at its limit.
    let bound: UInt64 = 1 << 20
    let time = min(elapsed.nanoseconds, 4096 << 30) * 1024 / 1_000_000_000
    let isBefore = time < UInt64(period)
    let offset = min(isBefore ? UInt64(period) - time : time - UInt64(period), bound)
    // Divided in two steps: 2^60 times a segment would not fit.
    let cube = (offset * offset * offset) >> 20
    let distance = (cube * 2 * UInt64(segmentSize) / 5) >> 10
    if isBefore { return plateau - UInt32(min(distance, UInt64(plateau))) }
    return UInt32(min(UInt64(plateau) + distance, UInt64(CongestionControl.windowLimit)))
  }

  // MARK: Congestion

  /// Section 4.6: to 0.7 of the window, as in Linux, which lets the window only grow when it is used.
  /// A window that does not reach the last maximum gives way to others (fast convergence, section
  /// 4.7).
  mutating func reduced(window: UInt32) -> UInt32 {
    priorMaximum = maximum
    maximum = window < maximum ? UInt32(UInt64(window) * 17 / 20) : window
    epoch = .never
    return UInt32(UInt64(window) * 7 / 10)
  }

  /// Section 4.8: avoidance begins on the plateau.
  mutating func timedOut() {
    maximum = 0
    epoch = .never
  }

  /// Section 4.9. The next curve goes from the old window to the old maximum.
  mutating func undo() {
    maximum = priorMaximum
    epoch = .never
  }

  /// The time since the last acknowledgement does not count.
  mutating func pause(until now: Instant) {
    guard epoch != .never else { return }
    epoch = epoch + (now - lastAcknowledgement)
    lastAcknowledgement = now
  }
}

/// The largest number whose cube is not larger.
func integerCubeRoot(_ value: UInt64) -> UInt64 {
  var root: UInt64 = 0
  for bit in stride(from: UInt64(21), through: 0, by: -1) {
    let candidate = root | 1 << bit
    if candidate <= value / (candidate * candidate) { root = candidate }
  }
  return root
}
