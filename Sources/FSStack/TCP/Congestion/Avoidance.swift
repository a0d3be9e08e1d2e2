import FSRing

/// The state of the algorithm that a connection uses, and the choice between the algorithms.
enum Avoidance: BitwiseCopyable {
  case cubic(Cubic)
  case newReno(NewReno)
  case dctcp(DCTCP)

  init(_ algorithm: CongestionAlgorithm) {
    switch algorithm {
    case .cubic: self = .cubic(Cubic())
    case .newReno: self = .newReno(NewReno())
    case .dctcp: self = .dctcp(DCTCP())
    }
  }

  var algorithm: CongestionAlgorithm {
    switch self {
    case .cubic: .cubic
    case .newReno: .newReno
    case .dctcp: .dctcp
    }
  }

  /// The window after `delivered` bytes in congestion avoidance.
  mutating func acknowledged(
    _ delivered: UInt32, _ sample: CongestionSample, window: UInt32, priorWindow: UInt32
  ) -> UInt32 {
    let grown: UInt32
    switch self {
    case .cubic(var cubic):
      grown = cubic.acknowledged(delivered, sample, window: window, priorWindow: priorWindow)
      self = .cubic(cubic)
    case .newReno(var newReno):
      grown = newReno.acknowledged(delivered, sample, window: window)
      self = .newReno(newReno)
    case .dctcp(var dctcp):
      grown = dctcp.acknowledged(delivered, sample, window: window)
      self = .dctcp(dctcp)
    }
    return grown
  }

  /// The threshold after congestion, of which marks or losses tell.
  mutating func reduced(window: UInt32, inFlight: UInt32, isMarked: Bool) -> UInt32 {
    switch self {
    case .cubic(var cubic):
      let threshold = cubic.reduced(window: window)
      self = .cubic(cubic)
      return threshold
    case .newReno(var newReno):
      let threshold = newReno.reduced(window: window, inFlight: inFlight)
      self = .newReno(newReno)
      return threshold
    case .dctcp(var dctcp):
      let threshold =
        isMarked
        ? dctcp.reducedByMarks(window: window)
        : dctcp.reduced(window: window, inFlight: inFlight)
      self = .dctcp(dctcp)
      return threshold
    }
  }

  /// The retransmission timer has expired.
  mutating func timedOut() {
    switch self {
    case .cubic(var cubic):
      cubic.timedOut()
      self = .cubic(cubic)
    case .newReno, .dctcp: return
    }
  }

  /// Bytes are acknowledged on a connection with ECN.
  mutating func observed(
    _ bytes: UInt32, isMarked: Bool, sendUnacknowledged: SequenceNumber, sendNext: SequenceNumber
  ) {
    if case .dctcp(var dctcp) = self {
      dctcp.observed(
        bytes, isMarked: isMarked, sendUnacknowledged: sendUnacknowledged, sendNext: sendNext)
      self = .dctcp(dctcp)
    }
  }

  /// The last reduction is undone.
  mutating func undo() {
    if case .cubic(var cubic) = self {
      cubic.undo()
      self = .cubic(cubic)
    }
  }

  /// Nothing has been sent, or less than might have been, until now.
  mutating func pause(until now: Instant) {
    if case .cubic(var cubic) = self {
      cubic.pause(until: now)
      self = .cubic(cubic)
    }
  }
}
