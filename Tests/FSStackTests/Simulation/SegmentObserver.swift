@testable import FSStack

extension Flow: Hashable {
  /// Hashes the ports and the ends of the addresses.
  public func hash(into hasher: inout Hasher) {
    hasher.combine(ports)
    hasher.combine(remote.low)
    hasher.combine(local.low)
  }
}

/// Watches every frame that a host sends, and what has reached it, and knows by the standards alone
/// what it may send: it looks into no engine.
///
/// Sequence numbers, windows and options are followed as the host itself sees them, so that
/// whatever a middlebox has changed on the way counts as what the peer said.
struct SegmentObserver {
  /// What holds in this simulation.
  struct Rules {
    /// Largest packet of the interface.
    var mtu: Int
    /// All that applications send is `StreamPattern`.
    var hasPattern = true
    /// The peer is a TCP, and no test that makes up what it sends.
    var isPeerHonest = true
  }

  let host: SimulatedHost
  var rules: Rules
  private var views: [Flow: FlowView] = [:]
  private var problems: [String] = []
  /// RST segments that have arrived, by flow: a reason for errors.
  private(set) var resetsReceived: [Flow: Int] = [:]

  init(host: SimulatedHost, mtu: Int) {
    self.host = host
    rules = Rules(mtu: mtu)
  }

  /// One burst of an engine: what it took in and what it sent. `hasOtherCause` when it may have sent
  /// something for another reason than what it took in: a timer, a command, frames that were short.
  mutating func burst(
    received: [[UInt8]], sent: [[UInt8]], hasOtherCause: Bool
  ) -> [String] {
    problems.removeAll(keepingCapacity: true)
    var causes: [Flow: Causes] = [:]
    for bytes in received {
      guard let frame = TCPFrame(bytes), frame.hasRightChecksums else { continue }
      arrives(frame, &causes)
    }
    for bytes in sent { check(bytes, &causes) }
    for (flow, cause) in causes {
      let name = "port \(flow.localPort) to \(flow.remotePort): "
      for problem in cause.problems(rules, hasOtherCause: hasOtherCause) {
        problems.append(name + problem)
      }
    }
    return problems
  }

  // MARK: Arrivals

  private mutating func arrives(_ frame: TCPFrame, _ causes: inout [Flow: Causes]) {
    let flow = frame.receiversFlow
    guard flow.local == host.address else { return }
    let view = views[flow] ?? FlowView()
    causes[flow, default: Causes()].note(arrived: frame, view)
    if frame.flags.contains(.rst) {
      resetsReceived[flow, default: 0] += 1
      views[flow]?.takeReset()
    } else {
      views[flow, default: FlowView()].take(frame)
    }
  }

  // MARK: Departures

  private mutating func check(_ bytes: [UInt8], _ causes: inout [Flow: Causes]) {
    let type = bytes.count >= 14 ? Int(bytes[12]) << 8 | Int(bytes[13]) : 0
    guard type == 0x0800 || type == 0x86dd else {
      problems.append("a frame of type \(type)")
      return
    }
    // An ICMP message is none of this observer's business.
    guard bytes[type == 0x0800 ? 23 : 20] == 6 else { return }
    guard let frame = TCPFrame(bytes) else {
      problems.append("a malformed frame")
      return
    }
    let flow = frame.sendersFlow
    let name = "port \(flow.localPort) to \(flow.remotePort): "
    var found = checkHeaders(frame)
    found += views[flow, default: FlowView()].check(frame, rules)
    problems += found.map { name + $0 }
    causes[flow, default: Causes()].note(sent: frame)
  }

  /// Ethernet, IP, and what needs no memory of TCP.
  private func checkHeaders(_ frame: TCPFrame) -> [String] {
    var found: [String] = []
    func expect(_ condition: Bool, _ problem: String) { if !condition { found.append(problem) } }
    let bytes = frame.bytes
    let sourceMAC = [UInt8](bytes[6..<12])
    expect(sourceMAC == host.macBytes, "the source address of the frame is another's")
    expect(bytes[0] & 1 == 0 && bytes[..<6].contains { $0 != 0 }, "the frame goes to nobody")
    expect(
      bytes.count <= rules.mtu + 14,
      "a packet of \(bytes.count - 14) bytes on an MTU of \(rules.mtu)")
    if frame.isIPv4 {
      expect(bytes[14] == 0x45, "IP options")
      expect(Int(frame[word: 16]) == bytes.count - 14, "the total length is wrong")
      expect(frame[word: 20] == 0x4000, "fragment bits, or no DF")
      expect(bytes[22] > 0, "no time to live")
    } else {
      expect(Int(frame[word: 18]) == bytes.count - 54, "the payload length is wrong")
      expect(bytes[21] > 0, "no hops")
    }
    let source = frame.sendersFlow.local
    expect(
      host.engines.contains { $0.engine.localAddresses.contains(source) },
      "the source address is another's")
    expect(frame.hasRightChecksums, "a checksum is wrong")
    expect(bytes[frame.tcp + 12] & 15 == 0, "reserved bits are set")
    let pointer = frame[word: frame.tcp + 18]
    expect(
      frame.flags.contains(.urg) == (pointer != 0), "URG does not fit its pointer \(pointer)")
    return found + Self.checkOptions(frame)
  }

  private static func checkOptions(_ frame: TCPFrame) -> [String] {
    guard let options = frame.options else { return ["the options are malformed"] }
    var found: [String] = []
    let isSYN = frame.flags.contains(.syn)
    for option in options {
      let isRight =
        switch option.kind {
        case TCPOptionKind.maximumSegmentSize: option.length == 4 && isSYN
        case TCPOptionKind.windowScale:
          option.length == 3 && isSYN && frame.bytes[option.offset + 2] <= 14
        case TCPOptionKind.sackPermitted: option.length == 2 && isSYN
        case TCPOptionKind.timestamp: option.length == 10
        case TCPOptionKind.sack:
          !isSYN && [10, 18, 26, 34].contains(option.length) && frame.flags.contains(.ack)
        default: false
        }
      if !isRight { found.append("option \(option.kind) of length \(option.length)") }
    }
    if Set(options.map(\.kind)).count != options.count { found.append("an option twice") }
    if isSYN {
      if frame.payloadLength > 0 || !frame.flags.isDisjoint(with: [.fin, .rst]) {
        found.append("SYN with something")
      }
      if frame.option(TCPOptionKind.maximumSegmentSize) == nil {
        found.append("SYN without maximum segment size")
      }
    } else if frame.flags.isDisjoint(with: [.ack, .rst]) {
      found.append("neither SYN nor ACK nor RST")
    }
    return found
  }
}

/// What one burst took in and sent of one flow.
private struct Causes {
  private var arrived = 0
  private var resets = 0
  /// RST segments that lie in no window: nothing may answer them.
  private var strayResets = 0
  private var acknowledgements = 0
  /// Acknowledgements that tell of marks, after one that did not, or the other way round: DCTCP must
  /// tell of both (RFC 8257 section 3.2).
  private var changesOfEcho = 0
  private var wasEcho: Bool?
  private var resetsSent = 0

  mutating func note(arrived frame: TCPFrame, _ view: FlowView) {
    arrived += 1
    guard frame.flags.contains(.rst) else { return }
    resets += 1
    if !view.mayAccept(frame.sequence) { strayResets += 1 }
  }

  mutating func note(sent frame: TCPFrame) {
    if frame.flags.contains(.rst) { resetsSent += 1 }
    guard frame.isPureAcknowledgement else { return }
    acknowledgements += 1
    let isEcho = frame.flags.contains(.ece)
    if wasEcho == !isEcho { changesOfEcho += 1 }
    wasEcho = isEcho
  }

  func problems(_ rules: SegmentObserver.Rules, hasOtherCause: Bool) -> [String] {
    guard !hasOtherCause else { return [] }
    var found: [String] = []
    if acknowledgements > arrived + changesOfEcho {
      found.append("\(acknowledgements) acknowledgements of \(arrived) segments at once")
    }
    if arrived > 0, resets == arrived, resetsSent > 0 { found.append("RST answers RST") }
    if rules.isPeerHonest, arrived > 0, strayResets == arrived, acknowledgements > 0 {
      found.append("ACK answers RST")
    }
    return found
  }
}
