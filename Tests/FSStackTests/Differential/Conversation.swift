@testable import FSStack

/// The peer's side of a script's connection: turns its segments into IP packets, and packets that come
/// back into lines that do not depend on initial numbers, addresses and clocks.
struct Conversation {
  let offer: Script.Offer
  let peer: IPAddress
  let local: IPAddress
  let peerPort: UInt16
  /// Nil until the first packet of an active open.
  var localPort: UInt16?
  /// The application's side of the pattern is the server's.
  let isPassive: Bool
  private var initial: UInt32 = 0xffff_ff00
  /// The position in the pattern of the byte with number 1.
  private var patternStart = 0
  /// Bytes that `fill` has sent.
  private(set) var filled = 0
  /// The end of the window that was last advertised to the peer.
  private var edge: UInt32 = 0
  private var scale: UInt32 = 0
  private var localInitial: UInt32?
  /// Where timestamps begin, and the peer's latest one counted from there.
  private let timestampBase: UInt32 = 0x4000_0000
  private var timestamp: UInt32 = 1000
  private var lastReceivedTimestamp: UInt32 = 0

  /// Stands in for the initial sequence number of a side that has none.
  private static let unknownInitial: UInt32 = 0x5000_0000

  init(
    _ script: Script, peer: IPAddress, peerPort: UInt16, local: IPAddress, localPort: UInt16?
  ) {
    offer = script.offer
    self.peer = peer
    self.peerPort = peerPort
    self.local = local
    self.localPort = localPort
    isPassive = localPort != nil
  }

  // MARK: Out

  /// The IPv4 packet of a segment.
  mutating func packet(_ segment: PeerSegment) -> [UInt8] {
    let options = options(segment)
    let length = 20 + options.count + segment.count
    var tcp = [UInt8](repeating: 0, count: 20)
    tcp.put16(peerPort, at: 0)
    tcp.put16(localPort ?? 1, at: 2)
    tcp.put32(initial &+ UInt32(truncatingIfNeeded: segment.sequence), at: 4)
    if let acknowledgement = segment.acknowledgement {
      let first = localInitial ?? Self.unknownInitial
      tcp.put32(first &+ UInt32(truncatingIfNeeded: acknowledgement), at: 8)
    }
    let words = segment.dataOffset ?? UInt8(5 + options.count / 4)
    tcp[12] = words << 4 | segment.reserved
    tcp[13] = segment.flags.rawValue
    tcp.put16(segment.window, at: 14)
    tcp.put16(segment.urgentPointer, at: 18)
    tcp += options
    tcp += ScriptPattern.bytes(
      patternStart + segment.sequence - 1, segment.count, toServer: isPassive)
    let header = header(segment, length: length)
    let pseudo = header[12..<20] + [0, 6, UInt8(length >> 8), UInt8(length & 255)]
    let sum = referenceChecksum(pseudo + tcp)
    tcp.put16(segment.hasWrongChecksum ? ~sum : sum, at: 16)
    return header + tcp
  }

  private func header(_ segment: PeerSegment, length: Int) -> [UInt8] {
    var header = [UInt8](repeating: 0, count: 20)
    header[0] = 0x45
    header[1] = segment.congestionBits
    header.put16(UInt16(20 + length), at: 2)
    header[6] = 0x40
    header[8] = 64
    header[9] = 6
    header.put32(UInt32(bigEndian: peer.v4Native), at: 12)
    header.put32(UInt32(bigEndian: local.v4Native), at: 16)
    header.put16(referenceChecksum(header), at: 10)
    return header
  }

  private mutating func options(_ segment: PeerSegment) -> [UInt8] {
    var options: [UInt8] = []
    if segment.flags.contains(.syn), segment.carriesOffer {
      options += [
        2, 4, UInt8(offer.maximumSegmentSize >> 8), UInt8(offer.maximumSegmentSize & 255),
      ]
      if offer.sackPermitted { options += [1, 1, 4, 2] }
      if let scale = offer.windowScale { options += [1, 3, 3, scale] }
    }
    if let (value, echo) = timestamp(segment) {
      options += [1, 1, 8, 10]
      options.append32(value)
      options.append32(echo)
    }
    if !segment.sack.isEmpty {
      options += [1, 1, 5, UInt8(2 + 8 * segment.sack.count)]
      for block in segment.sack {
        let first = localInitial ?? Self.unknownInitial
        options.append32(first &+ UInt32(truncatingIfNeeded: block.lowerBound))
        options.append32(first &+ UInt32(truncatingIfNeeded: block.upperBound))
      }
    }
    options += segment.rawOptions
    while options.count % 4 != 0 { options.append(0) }
    return options
  }

  private mutating func timestamp(_ segment: PeerSegment) -> (value: UInt32, echo: UInt32)? {
    switch segment.timestamp {
    case .absent:
      return nil
    case .automatic:
      guard offer.timestamps else { return nil }
      timestamp += 10
      return (timestampBase &+ timestamp, segment.flags.contains(.ack) ? lastReceivedTimestamp : 0)
    case .later(let difference):
      let value = timestamp &+ UInt32(truncatingIfNeeded: difference)
      if difference > 0 { timestamp = value }
      return (timestampBase &+ value, lastReceivedTimestamp)
    case .echoLater(let difference):
      timestamp += 10
      let echo = lastReceivedTimestamp &+ UInt32(truncatingIfNeeded: difference)
      return (timestampBase &+ timestamp, echo)
    }
  }

  /// The next segment of `fill`, the first at `start`; nil when the window is full.
  mutating func fillingSegment(from start: Int) -> PeerSegment? {
    let sequence = start + filled
    let room = Int(Int32(bitPattern: edge &- initial)) - sequence
    guard room > 0, filled < 150_000 else { return nil }
    let count = min(room, 1000)
    filled += count
    return PeerSegment(.psh, sequence, count: count, ack: 1001)
  }

  /// Counts anew, so that the byte behind `fill` has a number that does not depend on the window.
  mutating func endFilling(from start: Int) {
    let shift = start + filled - 100_001
    patternStart += shift
    initial &+= UInt32(bitPattern: Int32(shift))
  }

  // MARK: In

  /// The line of a frame that came back; nil if it is not for this peer.
  mutating func line(_ frame: [UInt8]) -> String? {
    var segment = Segment()
    let result = frame.withUnsafeBytes { segment.parse($0, acceptPartialChecksum: false) }
    guard result == .segment else { return "unreadable: \(result)" }
    guard segment.destination == peer, segment.destinationPort == peerPort else { return nil }
    if localPort == nil { localPort = segment.sourcePort }
    if segment.flags.contains(.syn) { localInitial = segment.sequence.value }
    if segment.options.hasTimestamp { lastReceivedTimestamp = segment.options.timestampValue }
    noteWindow(segment)
    var parts = Trace.names(segment.flags)
    parts.append(range(segment))
    if segment.flags.contains(.ack) {
      parts.append("ack \(Int32(bitPattern: segment.acknowledgement.value &- initial))")
    }
    if segment.window == 0, !segment.flags.contains(.rst) { parts.append("win 0") }
    parts += options(segment)
    if frame[15] & 3 != 0 { parts.append("ecn \(frame[15] & 3)") }
    if segment.payloadLength > 0, !isPattern(segment, frame) { parts.append("wrong bytes") }
    return "> " + parts.joined(separator: " ")
  }

  private mutating func noteWindow(_ segment: Segment) {
    if segment.flags.contains(.syn), segment.options.windowScale != SegmentOptions.absentWindowScale
    {
      scale = offer.windowScale == nil ? 0 : UInt32(segment.options.windowScale)
    }
    let shift = segment.flags.contains(.syn) ? 0 : scale
    if segment.flags.contains(.ack) {
      edge = segment.acknowledgement.value &+ UInt32(segment.window) << shift
    }
  }

  private func range(_ segment: Segment) -> String {
    if segment.sequence.value == 0, segment.flags.contains(.rst) { return "zero" }
    let first = Int32(
      bitPattern: segment.sequence.value &- (localInitial ?? Self.unknownInitial))
    return segment.payloadLength > 0 ? "\(first):\(Int(first) + segment.payloadLength)" : "\(first)"
  }

  private func options(_ segment: Segment) -> [String] {
    let options = segment.options
    var parts: [String] = []
    if options.maximumSegmentSize != 0 { parts.append("mss \(options.maximumSegmentSize)") }
    if options.sackPermitted { parts.append("sackOK") }
    // The shift follows from the largest buffer, which is configuration.
    if options.windowScale != SegmentOptions.absentWindowScale { parts.append("scale") }
    if options.hasTimestamp {
      let echo = options.timestampEcho
      parts.append(echo == 0 ? "ts" : "ts \(Int32(bitPattern: echo &- timestampBase))")
    }
    for index in 0..<options.sackCount {
      let block = options.sackBlocks[index]
      let left = Int32(bitPattern: block.left.value &- initial)
      parts.append("sack \(left):\(Int32(bitPattern: block.right.value &- initial))")
    }
    return parts
  }

  private func isPattern(_ segment: Segment, _ frame: [UInt8]) -> Bool {
    let first = Int(Int32(bitPattern: segment.sequence.value &- (localInitial ?? 0))) - 1
    let payload = frame[segment.payloadOffset..<segment.payloadOffset + segment.payloadLength]
    return ScriptPattern.isEqual(payload, first, toServer: !isPassive)
  }
}

/// The bytes that scripts send: `StreamPattern` of port 80, made once.
enum ScriptPattern {
  private static let limit = 200_000
  private static let toServer = make(true)
  private static let toClient = make(false)

  private static func make(_ toServer: Bool) -> [UInt8] {
    (0..<limit).map { StreamPattern.byte($0, port: 80, toServer: toServer) }
  }

  /// `count` bytes from a position of the stream. Outside of what scripts send in order: zeros.
  static func bytes(_ position: Int, _ count: Int, toServer: Bool) -> ArraySlice<UInt8> {
    guard position >= 0, position + count <= limit else {
      return ArraySlice(repeating: 0, count: count)
    }
    return (toServer ? Self.toServer : toClient)[position..<position + count]
  }

  static func isEqual(_ bytes: ArraySlice<UInt8>, _ position: Int, toServer: Bool) -> Bool {
    bytes.elementsEqual(Self.bytes(position, bytes.count, toServer: toServer))
  }
}

extension Array where Element == UInt8 {
  fileprivate mutating func put32(_ value: UInt32, at offset: Int) {
    put16(UInt16(value >> 16), at: offset)
    put16(UInt16(value & 0xffff), at: offset + 2)
  }

  fileprivate mutating func append32(_ value: UInt32) {
    append(contentsOf: [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: value >> $0) })
  }
}
