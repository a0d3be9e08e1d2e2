import FSRing

/// How the window grows: by HyStart++ until the first congestion, by `Avoidance` from then on. What only
/// one of them knows takes the same place.
enum WindowGrowth: BitwiseCopyable {
  /// There was no congestion yet. With DCTCP marks count from the beginning, so that it has a HyStart++
  /// of its own.
  case beginning(HyStart, CongestionAlgorithm)
  case avoidance(Avoidance)

  init(_ algorithm: CongestionAlgorithm) {
    self = algorithm == .dctcp ? .avoidance(.dctcp(DCTCP())) : .beginning(HyStart(), algorithm)
  }

  @inline(__always)
  var algorithm: CongestionAlgorithm {
    switch self {
    case .beginning(_, let algorithm): algorithm
    case .avoidance(let avoidance): avoidance.algorithm
    }
  }

  /// L of RFC 3465: segments by which one acknowledgement grows the window in slow start, at most.
  @inline(__always)
  var appropriateByteLimit: UInt32 {
    switch algorithm {
    case .cubic: Cubic.appropriateByteLimit
    case .newReno, .dctcp: NewReno.appropriateByteLimit
    }
  }

  /// Another algorithm goes on. Before the first congestion, with the same knowledge of the path.
  mutating func select(_ algorithm: CongestionAlgorithm) {
    let known = hyStart
    self = WindowGrowth(algorithm)
    switch self {
    case .beginning: self = .beginning(known, algorithm)
    case .avoidance(.dctcp(var dctcp)):
      dctcp.hyStart = known
      self = .avoidance(.dctcp(dctcp))
    case .avoidance: break
    }
  }

  private var hyStart: HyStart {
    switch self {
    case .beginning(let hyStart, _): hyStart
    case .avoidance(.dctcp(let dctcp)): dctcp.hyStart
    case .avoidance: HyStart()
    }
  }

  /// Takes an acknowledgement in slow start before the first congestion. The divisor of the window's
  /// growth; nil: slow start is to end.
  @inline(__always)
  mutating func slowStart(_ sample: CongestionSample) -> UInt32? {
    guard case .beginning(var hyStart, let algorithm) = self else {
      return slowStartOtherwise(sample)
    }
    let divisor = hyStart.acknowledged(sample)
    self = .beginning(hyStart, algorithm)
    return hyStart.isOver ? nil : divisor
  }

  @inline(never)
  private mutating func slowStartOtherwise(_ sample: CongestionSample) -> UInt32? {
    // After the first congestion with another algorithm, and all of it was for nothing.
    var hyStart = self.hyStart
    let divisor = hyStart.acknowledged(sample)
    if case .avoidance(.dctcp(var dctcp)) = self {
      dctcp.hyStart = hyStart
      self = .avoidance(.dctcp(dctcp))
    } else {
      self = .beginning(hyStart, algorithm)
    }
    return hyStart.isOver ? nil : divisor
  }

  /// The first congestion, or the end of slow start: what HyStart++ knew is no longer needed.
  private mutating func withAvoidance<Result>(_ body: (inout Avoidance) -> Result) -> Result {
    var avoidance: Avoidance
    switch self {
    case .beginning(_, let algorithm): avoidance = Avoidance(algorithm)
    case .avoidance(let known): avoidance = known
    }
    let result = body(&avoidance)
    self = .avoidance(avoidance)
    return result
  }

  /// The window after `delivered` bytes in congestion avoidance.
  mutating func avoidance(
    _ delivered: UInt32, _ sample: CongestionSample, window: UInt32, priorWindow: UInt32
  ) -> UInt32 {
    withAvoidance {
      $0.acknowledged(delivered, sample, window: window, priorWindow: priorWindow)
    }
  }

  /// The threshold after congestion, of which marks or losses tell.
  mutating func reduced(window: UInt32, inFlight: UInt32, isMarked: Bool) -> UInt32 {
    withAvoidance { $0.reduced(window: window, inFlight: inFlight, isMarked: isMarked) }
  }

  /// The retransmission timer has expired.
  mutating func timedOut() {
    if case .avoidance = self { withAvoidance { $0.timedOut() } }
  }

  /// Bytes are acknowledged on a connection with ECN.
  mutating func observed(
    _ bytes: UInt32, isMarked: Bool, sendUnacknowledged: SequenceNumber, sendNext: SequenceNumber
  ) {
    guard case .avoidance = self else { return }
    withAvoidance {
      $0.observed(
        bytes, isMarked: isMarked, sendUnacknowledged: sendUnacknowledged, sendNext: sendNext)
    }
  }

  /// The last reduction is undone. If it was the first, slow start goes on, and learns the path anew.
  mutating func undo(isFirst: Bool) {
    guard case .avoidance(let avoidance) = self else { return }
    if isFirst, avoidance.algorithm != .dctcp {
      self = .beginning(HyStart(), avoidance.algorithm)
    } else {
      withAvoidance { $0.undo() }
    }
  }

  /// Nothing has been sent, or less than might have been, until now.
  @inline(__always)
  mutating func pause(until now: Instant) {
    if case .avoidance = self { withAvoidance { $0.pause(until: now) } }
  }
}
