@testable import FSStack

/// What a link does to the frames it carries.
struct LinkConditions: Sendable {
  var latency = Interval.microseconds(100)
  /// Each frame is late by up to this, without overtaking.
  var jitter = Interval(nanoseconds: 0)
  /// Share of frames lost.
  var loss = 0.0
  /// Losses that come in bursts, besides.
  var bursts: BurstLoss?
  /// Share of acknowledgements without data lost besides.
  var acknowledgementLoss = 0.0
  /// Acknowledgements without data arrive at multiples of this only, several at once.
  var acknowledgementCompression = Interval(nanoseconds: 0)
  /// Share of frames that arrive twice.
  var duplication = 0.0
  /// Share of frames that those behind them overtake.
  var reordering = 0.0
  /// Share of frames with one bit changed behind the Ethernet header.
  var corruption = 0.0
  /// Bytes per second; nil for no limit.
  var rate: UInt64?
  /// Bytes that wait for a link with a rate; what comes on top is lost.
  var queueLimit: UInt64 = 256 * 1024
  /// Largest packet.
  var mtu = 1500
  /// Waiting bytes from which on ECN-capable frames are marked.
  var markingThreshold: UInt64?
  /// A larger packet is answered with an ICMP error; else it only vanishes.
  var reportsTooBig = false
  /// Spans of time in which nothing comes through.
  var blackHoles: [BlackHole] = []

  static let perfect = LinkConditions()

  /// Two states, as Gilbert and Elliott have them: in the bad one most frames are lost.
  struct BurstLoss: Sendable {
    /// Chances, for each frame, to change to the other state.
    var toBad: Double
    var toGood: Double
    /// Share of frames lost in the bad state.
    var loss: Double
  }

  /// A span of time in which frames of a size and above vanish.
  struct BlackHole: Sendable {
    var start: Instant
    var end: Instant
    /// Zero: all frames.
    var minimumSize = 0
  }
}

/// One direction of a link.
struct SimulatedLink {
  var conditions: LinkConditions
  private var random: SplitMix64
  private var isFreeAt = Instant(nanoseconds: 0)
  private var lastArrival = Instant(nanoseconds: 0)
  private var isBad = false

  /// A frame's fate: when its copies arrive, and what a trace says about it.
  struct Fate {
    var arrivals: [(time: Instant, frame: [UInt8])] = []
    var notes: [String] = []
  }

  init(_ conditions: LinkConditions, seed: UInt64) {
    self.conditions = conditions
    random = SplitMix64(seed: seed)
  }

  /// Whether a frame is too large for the link.
  func isTooBig(_ frame: [UInt8]) -> Bool {
    let isTagged = frame.count > 13 && frame[12] == 0x81 && frame[13] == 0
    return frame.count > conditions.mtu + (isTagged ? 18 : 14)
  }

  mutating func carry(_ frame: [UInt8], now: Instant) -> Fate {
    var fate = Fate()
    guard !isTooBig(frame) else {
      fate.notes.append("too big")
      return fate
    }
    let isMarked = backlog(now) >= conditions.markingThreshold ?? .max
    if conditions.blackHoles.contains(where: {
      $0.start <= now && now < $0.end && frame.count >= $0.minimumSize
    }) {
      fate.notes.append("black hole")
      return fate
    }
    guard let departure = queue(frame.count, now: now) else {
      fate.notes.append("queue full")
      return fate
    }
    let isAcknowledgement = TCPFrame(frame)?.isPureAcknowledgement ?? false
    if isLost(isAcknowledgement) {
      fate.notes.append("lost")
      return fate
    }
    var frame = frame
    if isMarked, mark(&frame) { fate.notes.append("marked") }
    if random.chance(conditions.corruption) {
      let index = Int.random(in: 14..<frame.count, using: &random)
      frame[index] ^= 1 << UInt8.random(in: 0..<8, using: &random)
      fate.notes.append("corrupted")
    }
    fate.arrivals.append((arrival(departure, isAcknowledgement, &fate.notes), frame))
    if random.chance(conditions.duplication) {
      fate.notes.append("twice")
      fate.arrivals.append((arrival(departure, isAcknowledgement, &fate.notes), frame))
    }
    return fate
  }

  /// Congestion experienced (RFC 3168), if the frame's sender knows of it.
  private func mark(_ frame: inout [UInt8]) -> Bool {
    guard var segment = TCPFrame(frame), segment.congestionBits != 0 else { return false }
    segment.congestionBits = 3
    segment.fixChecksums()
    frame = segment.bytes
    return true
  }

  /// Bytes that wait.
  private func backlog(_ now: Instant) -> UInt64 {
    (isFreeAt - now).nanoseconds * (conditions.rate ?? 0) / 1_000_000_000
  }

  private mutating func isLost(_ isAcknowledgement: Bool) -> Bool {
    if let bursts = conditions.bursts {
      if random.chance(isBad ? bursts.toGood : bursts.toBad) { isBad.toggle() }
      if isBad, random.chance(bursts.loss) { return true }
    }
    if isAcknowledgement, random.chance(conditions.acknowledgementLoss) { return true }
    return random.chance(conditions.loss)
  }

  /// When the last bit of a frame leaves.
  private mutating func queue(_ count: Int, now: Instant) -> Instant? {
    guard let rate = conditions.rate else { return now }
    guard backlog(now) <= conditions.queueLimit else { return nil }
    let duration = Interval(nanoseconds: UInt64(count) * 1_000_000_000 / rate)
    isFreeAt = max(isFreeAt, now) + duration
    return isFreeAt
  }

  private mutating func arrival(
    _ departure: Instant, _ isAcknowledgement: Bool, _ notes: inout [String]
  ) -> Instant {
    var time = departure + conditions.latency
    if conditions.jitter.nanoseconds > 0 {
      let late = UInt64.random(in: 0...conditions.jitter.nanoseconds, using: &random)
      time = time + Interval(nanoseconds: late)
    }
    if random.chance(conditions.reordering) {
      notes.append("overtaken")
      let late = UInt64.random(in: 1...(4 * conditions.latency.nanoseconds + 1), using: &random)
      return time + Interval(nanoseconds: late)
    }
    let step = conditions.acknowledgementCompression.nanoseconds
    if isAcknowledgement, step > 0 {
      time = Instant(nanoseconds: (time.nanoseconds + step - 1) / step * step)
    }
    lastArrival = max(lastArrival, time)
    return lastArrival
  }
}
