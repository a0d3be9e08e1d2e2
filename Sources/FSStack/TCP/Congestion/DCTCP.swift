/// Data Center TCP (RFC 8257): the window falls by half of the share of bytes that were marked, so that
/// a switch that marks early keeps its queue short. Otherwise, and without ECN, it is NewReno.
struct DCTCP: BitwiseCopyable {
  /// DCTCP.Alpha, in 1/1024: the share of marked bytes, averaged.
  private(set) var alpha: UInt32 = 1024
  /// Bytes acknowledged, and of those marked, in the present window.
  private var acknowledgedBytes: UInt32 = 0
  private var markedBytes: UInt32 = 0
  /// SND.NXT at the window's beginning.
  private var windowEnd = SequenceNumber(0)
  private var hasBegun = false
  private var newReno = NewReno()
  /// Until the first congestion: before it there may be marks already.
  var hyStart = HyStart()

  /// g of RFC 8257 section 4.2: 1/16.
  private static var gain: UInt32 { 4 }

  /// Section 3.3: takes the bytes that an acknowledgement covers.
  mutating func observed(
    _ bytes: UInt32, isMarked: Bool, sendUnacknowledged: SequenceNumber, sendNext: SequenceNumber
  ) {
    if !hasBegun {
      hasBegun = true
      windowEnd = sendNext
    }
    let limit = CongestionControl.windowLimit
    acknowledgedBytes = min(acknowledgedBytes + min(bytes, limit), limit)
    if isMarked { markedBytes = min(markedBytes + min(bytes, limit), limit) }
    guard sendUnacknowledged > windowEnd else { return }
    let share = UInt32(
      (UInt64(markedBytes) << UInt64(10 - Self.gain)) / UInt64(max(acknowledgedBytes, 1)))
    // The last sixteenths, too, fade away.
    let faded = alpha >> Self.gain
    alpha -= faded == 0 ? alpha : faded
    alpha = min(alpha + share, 1024)
    acknowledgedBytes = 0
    markedBytes = 0
    windowEnd = sendNext
  }

  mutating func acknowledged(
    _ delivered: UInt32, _ sample: CongestionSample, window: UInt32
  ) -> UInt32 {
    newReno.acknowledged(delivered, sample, window: window)
  }

  /// The threshold after marks (section 3.4).
  mutating func reducedByMarks(window: UInt32) -> UInt32 {
    _ = newReno.reduced(window: window, inFlight: window)
    return window - UInt32((UInt64(window) * UInt64(alpha)) >> 11)
  }

  /// The threshold after loss (section 3.5).
  mutating func reduced(window: UInt32, inFlight: UInt32) -> UInt32 {
    newReno.reduced(window: window, inFlight: inFlight)
  }
}
