@testable import FSStack

/// A segment of the script's peer. Numbers count from the initial ones of both sides, and nothing has
/// to be right.
struct PeerSegment: Sendable {
  var flags: TCPFlags
  var sequence: Int
  /// The acknowledgement field; its flag is set if it is not nil.
  var acknowledgement: Int?
  /// Bytes of the pattern that it carries.
  var count: Int
  var window: UInt16 = 65535
  /// A SYN carries the script's offer.
  var carriesOffer = true
  var timestamp = Timestamp.automatic
  /// Blocks of a SACK option, first and the one after the last.
  var sack: [Range<Int>] = []
  /// Options as they are, behind the others.
  var rawOptions: [UInt8] = []
  var urgentPointer: UInt16 = 0
  /// The four reserved bits behind the data offset.
  var reserved: UInt8 = 0
  /// In place of the right one, in words.
  var dataOffset: UInt8?
  var hasWrongChecksum = false
  /// The two ECN bits of the IP header.
  var congestionBits: UInt8 = 0

  enum Timestamp: Sendable {
    /// The next value, if the script's peer has offered timestamps.
    case automatic
    case absent
    /// Later than the last value by that many; the echo is the last one received.
    case later(Int)
    /// The next value, and an echo that is later than the last one received.
    case echoLater(Int)
  }

  init(
    _ flags: TCPFlags, _ sequence: Int, count: Int = 0, ack: Int? = nil,
    change: (inout PeerSegment) -> Void = { _ in }
  ) {
    self.flags = flags
    self.sequence = sequence
    self.count = count
    acknowledgement = ack
    if ack != nil { self.flags.insert(.ack) }
    change(&self)
  }
}

extension PeerSegment: CustomStringConvertible {
  var description: String {
    var parts = Trace.names(flags)
    parts.append(count > 0 ? "\(sequence):\(sequence + count)" : "\(sequence)")
    if let acknowledgement { parts.append("ack \(acknowledgement)") }
    if window != 65535 { parts.append("win \(window)") }
    switch timestamp {
    case .automatic: break
    case .absent: parts.append("no ts")
    case .later(let difference): parts.append("ts \(difference >= 0 ? "+" : "")\(difference)")
    case .echoLater(let difference): parts.append("ecr \(difference >= 0 ? "+" : "")\(difference)")
    }
    parts += sack.map { "sack \($0.lowerBound):\($0.upperBound)" }
    if flags.contains(.syn), !carriesOffer { parts.append("bare") }
    if !rawOptions.isEmpty {
      parts.append("options " + rawOptions.map(String.init).joined(separator: ","))
    }
    if urgentPointer != 0 { parts.append("urg \(urgentPointer)") }
    if reserved != 0 { parts.append("reserved \(reserved)") }
    if let dataOffset { parts.append("offset \(dataOffset)") }
    if hasWrongChecksum { parts.append("bad checksum") }
    if congestionBits != 0 { parts.append("ecn \(congestionBits)") }
    return parts.joined(separator: " ")
  }
}
