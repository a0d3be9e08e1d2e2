@testable import FSStack

/// What both applications of one connection will do, drawn before it begins.
struct SwarmPlan: Sendable {
  /// How a side comes to its end.
  enum Ending: Sendable {
    /// FIN after its bytes; close when the peer has finished, too.
    case orderly
    /// FIN only when the peer has sent its own.
    case afterPeer
    /// close(2) as soon as its bytes are sent and the peer's are read.
    case atOnce
    /// RST after so many bytes sent and read.
    case reset(after: Int)
    /// close(2) with unread bytes, after so many bytes sent and read.
    case unread(after: Int)
  }

  /// One side's part.
  struct Side: Sendable {
    var bytesToSend = 0
    var bytesToRead = 0
    var ending = Ending.orderly
    /// Most bytes of one call.
    var writeLimit = 10_000
    var readLimit = 20_000
    var sendBuffer = 64 * 1024
    /// Chance of a pause between two calls, and its longest duration in microseconds.
    var restShare = 0.0
    var longestRest: UInt64 = 1
    /// After so many bytes read it stops reading for so long.
    var stall: (after: Int, duration: Interval)?
    /// Chance, between two calls, that it sets an option, or writes urgent bytes.
    var optionShare = 0.0
    var urgentShare = 0.0
    var keepAlive = false
    var userTimeout: Int32 = 0
    /// Options that it sets all at once, more than the command ring holds.
    var optionFlood = 0
  }

  var client = Side()
  var server = Side()
  /// Bytes of requests and responses in turn; empty for two independent streams.
  var exchanges: [(request: Int, response: Int)] = []

  init(_ features: SwarmFeatures, _ random: inout SplitMix64) {
    client = Self.side(features, &random)
    server = Self.side(features, &random)
    if features.contains(.exchanges) {
      exchanges = (0..<Int.random(in: 1...20, using: &random)).map { _ in
        (Self.size(4000, &random) + 1, Self.size(20_000, &random) + 1)
      }
      client.bytesToSend = exchanges.reduce(0) { $0 + $1.request }
      server.bytesToSend = exchanges.reduce(0) { $0 + $1.response }
    }
    client.bytesToRead = server.bytesToSend
    server.bytesToRead = client.bytesToSend
    drawEndings(features, &random)
  }

  /// Small sizes are as likely as large ones.
  private static func size(_ limit: Int, _ random: inout SplitMix64) -> Int {
    let bits = Int.random(in: 0...17, using: &random)
    return Int.random(in: 0...min(limit, 1 << bits), using: &random)
  }

  private static func side(_ features: SwarmFeatures, _ random: inout SplitMix64) -> Side {
    var side = Side()
    side.bytesToSend = size(features.contains(.large) ? 400_000 : 60_000, &random)
    if features.contains(.large), random.chance(0.5) {
      side.bytesToSend = Int.random(in: 100_000...400_000, using: &random)
    }
    if features.contains(.smallWrites) {
      side.writeLimit = Int.random(in: 1...300, using: &random)
      side.bytesToSend = min(side.bytesToSend, 200 * side.writeLimit)
    }
    if features.contains(.smallReads) {
      side.readLimit = Int.random(in: 1...200, using: &random)
    }
    if features.contains(.smallSendBuffer) {
      side.sendBuffer = Int.random(in: 100...4000, using: &random)
    }
    if features.contains(.restless) {
      side.restShare = Double.random(in: 0.05...0.5, using: &random)
      side.longestRest = UInt64.random(in: 10...50_000, using: &random)
    }
    if features.contains(.stalls), random.chance(0.7) {
      side.stall = (
        Int.random(in: 0...20_000, using: &random),
        .milliseconds(UInt64.random(in: 10...20_000, using: &random))
      )
    }
    if features.contains(.options) { side.optionShare = 0.2 }
    if features.contains(.urgent) { side.urgentShare = 0.2 }
    side.keepAlive = features.contains(.keepAlive)
    if features.contains(.userTimeout) {
      side.userTimeout = Int32.random(in: 100...5000, using: &random)
    }
    if features.contains(.fullCommandRing) {
      side.optionFlood = Int.random(in: 50...200, using: &random)
    }
    return side
  }

  private mutating func drawEndings(_ features: SwarmFeatures, _ random: inout SplitMix64) {
    // Never both: they would wait for each other.
    let clientWaits = random.chance(0.5)
    func ending(_ side: Side, mayWait: Bool, _ random: inout SplitMix64) -> Ending {
      let all = side.bytesToSend + side.bytesToRead
      if features.contains(.resetInTheMiddle), random.chance(0.5) {
        return .reset(after: Int.random(in: 0...all, using: &random))
      }
      if features.contains(.closeUnread), random.chance(0.5) {
        return .unread(after: Int.random(in: 0...all, using: &random))
      }
      if features.contains(.closeAtOnce), random.chance(0.6) { return .atOnce }
      if features.contains(.waitForPeer), mayWait { return .afterPeer }
      return .orderly
    }
    client.ending = ending(client, mayWait: clientWaits, &random)
    server.ending = ending(server, mayWait: !clientWaits, &random)
  }
}
