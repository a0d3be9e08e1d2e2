@testable import FSStack

/// One flow as its host sees it: what it has sent, and what it has been told.
struct FlowView {
  /// The options of a SYN.
  struct Offer: Equatable {
    var windowScale: UInt8?
    var maximumSegmentSize: Int
    var hasTimestamp: Bool
    var permitsSelective: Bool

    init(_ frame: TCPFrame) {
      if let option = frame.option(TCPOptionKind.windowScale), option.length == 3 {
        windowScale = min(frame.bytes[option.offset + 2], 14)
      }
      maximumSegmentSize = frame.isIPv4 ? 536 : 1220
      if let option = frame.option(TCPOptionKind.maximumSegmentSize), option.length == 4 {
        let announced = Int(frame[word: option.offset + 2])
        if announced > 0 { maximumSegmentSize = announced }
      }
      hasTimestamp = frame.option(TCPOptionKind.timestamp)?.length == 10
      permitsSelective = frame.option(TCPOptionKind.sackPermitted)?.length == 2
    }
  }

  // Sent.
  private var initial: SequenceNumber?
  private var offer: Offer?
  private var hasSentAcknowledgement = false
  /// Whether it has answered a SYN, and sent nothing else since.
  private var isPassiveOpen = false
  /// Whether it has answered a SYN.
  private var isPassive = false
  /// One past the highest number sent.
  private var highest = SequenceNumber(0)
  private var fin: SequenceNumber?
  private var lastAcknowledgement: SequenceNumber?
  /// The window it has offered.
  private var ownWindow = OfferedWindow()
  private var lastTimestamp: UInt32?

  // Told.
  /// The latest SYNs that have arrived, by sequence number. Of repeated ones a connection that has begun
  /// keeps the first; but a listener may pass over the first ones, or give up what they began, and begin
  /// with a later one.
  private var synchronizations: [UInt32: Offer] = [:]
  private var peer: Offer?
  /// The window of the last SYN.
  private var firstWindow: UInt32 = 0
  /// The right edge furthest to the right that the peer has offered.
  private var peerEdge: SequenceNumber?
  private var newestTimestamp: UInt32?
  /// Its SYN was acknowledged without timestamp. If it was a cookie, only that would have told what the
  /// SYN had offered (RFC 7323 section 3.2 asks for one in each segment, but boxes may take it away).
  private var mayHaveForgotten = false
  /// It may have ended: RST, or a FIN of its own.
  private var isOver = false
  /// After the end an acknowledgement of its SYN has arrived. If that was a cookie, the same connection
  /// may have begun anew: nothing is remembered of the first (RFC 4987 section 3.6).
  private var mayBeginAnew = false
  /// What it was before its last SYNs: a late acknowledgement of a cookie may begin one of these anew.
  private var former: [FlowView] = []

  /// Shift of the windows that the peer sends, and of its own.
  private var scales: (peer: UInt8, own: UInt8) {
    guard let own = offer?.windowScale, let peer = peer?.windowScale else { return (0, 0) }
    return (peer, own)
  }

  private var hasTimestamps: Bool {
    offer?.hasTimestamp == true && peer?.hasTimestamp == true
  }

  /// Whether a number may lie in the window it has offered.
  func mayAccept(_ sequence: SequenceNumber) -> Bool {
    guard let lastAcknowledgement, let ownEdge = ownWindow.edge else { return true }
    return sequence - lastAcknowledgement >= 0 && sequence - ownEdge <= 0
  }

  // MARK: Arrivals

  mutating func take(_ frame: TCPFrame) {
    for index in former.indices { former[index].take(frame) }
    if frame.flags.contains(.syn) {
      let offer = Offer(frame)
      synchronizations[frame.sequence.value] = offer
      if let initial, peer == nil, !hasSentAcknowledgement,
        !frame.flags.contains(.ack) || frame.acknowledgement == initial + 1
      {
        peer = offer
      }
    }
    noteTimestamp(frame)
    if isOver, isPassive, let initial, !frame.flags.contains(.syn),
      frame.acknowledgement == initial + 1
    {
      mayBeginAnew = true
    }
    if isPassiveOpen, frame.flags.contains(.ack), !frame.flags.contains(.syn),
      frame.option(TCPOptionKind.timestamp) == nil
    {
      mayHaveForgotten = true
    }
    if frame.flags.contains(.syn) { firstWindow = UInt32(frame.window) }
    if let initial {
      let scale = frame.flags.contains(.syn) ? 0 : UInt32(scales.peer)
      let acknowledged =
        frame.flags.contains(.ack) ? frame.acknowledgement : initial + 1
      // What acknowledges the impossible means nothing.
      guard acknowledged - initial >= 1, acknowledged - highest <= 0 else { return }
      let edge = acknowledged + UInt32(frame.window) << scale
      if peerEdge.map({ edge > $0 }) ?? true { peerEdge = edge }
    }
  }

  /// A RST has come.
  mutating func takeReset() { isOver = true }

  private mutating func noteTimestamp(_ frame: TCPFrame) {
    guard let option = frame.option(TCPOptionKind.timestamp), option.length == 10 else { return }
    let value = frame[long: option.offset + 2]
    if newestTimestamp.map({ Int32(bitPattern: value &- $0) > 0 }) ?? true {
      newestTimestamp = value
    }
  }

  // MARK: Departures

  /// Follows a segment that the host sends; returns what is wrong with it.
  mutating func check(_ frame: TCPFrame, _ rules: SegmentObserver.Rules) -> [String] {
    let candidates = (mayBeginAnew ? [self] : []) + former.filter(\.mayBeginAnew)
    let found = follow(frame, rules)
    if frame.flags.contains(.fin) { isOver = true }
    guard !found.isEmpty else { return [] }
    for var anew in candidates {
      anew.beginAnew()
      guard anew.follow(frame, rules).isEmpty else { continue }
      anew.former = former
      self = anew
      return []
    }
    return found
  }

  private mutating func follow(_ frame: TCPFrame, _ rules: SegmentObserver.Rules) -> [String] {
    // A RST may answer anything.
    if frame.flags.contains(.rst) {
      isOver = true
      return []
    }
    if frame.flags.contains(.syn) { synchronizes(frame) }
    isPassiveOpen = frame.flags.isSuperset(of: [.syn, .ack])
    if isPassiveOpen { isPassive = true }
    if peer == nil, frame.flags.contains(.ack) {
      peer = synchronizations[(frame.acknowledgement - UInt32(1)).value]
      if let initial, peerEdge == nil { peerEdge = initial + 1 + firstWindow }
    }
    // Without its SYN nothing is known of a connection.
    guard let initial else { return [] }
    var found: [String] = []
    if frame.flags.contains(.ack) { found += checkAcknowledgement(frame) }
    if !frame.flags.contains(.syn) { found += checkText(frame, initial, rules) }
    if rules.hasPattern, frame.payloadLength > 0,
      let problem = checkPattern(frame, Int(frame.sequence - initial) - 1)
    {
      found.append(problem)
    }
    return found + checkTimestamp(frame, rules) + checkSelective(frame)
  }

  private mutating func synchronizes(_ frame: TCPFrame) {
    guard initial == frame.sequence else {
      begin(frame)
      return
    }
    // A cookie is the same for each SYN of a minute, but offers what its own SYN has offered.
    let new = Offer(frame)
    guard isPassiveOpen, new != offer else { return }
    offer = new
    peer = nil
  }

  /// The same connection, from its SYN on.
  private mutating func beginAnew() {
    guard let initial else { return }
    highest = initial + 1
    fin = nil
    lastAcknowledgement = nil
    ownWindow = OfferedWindow()
    isOver = false
    mayBeginAnew = false
  }

  /// A new connection.
  private mutating func begin(_ frame: TCPFrame) {
    var old = self
    old.isOver = true
    self = FlowView()
    synchronizations = old.synchronizations
    firstWindow = old.firstWindow
    newestTimestamp = old.newestTimestamp
    former = old.former
    old.former = []
    former = Array((former + [old]).suffix(2))
    initial = frame.sequence
    highest = frame.sequence + 1
    offer = Offer(frame)
  }

  private mutating func checkAcknowledgement(_ frame: TCPFrame) -> [String] {
    var found: [String] = []
    let acknowledgement = frame.acknowledgement
    if let last = lastAcknowledgement, acknowledgement < last {
      found.append("the acknowledgement goes back")
    }
    let loss =
      frame.flags.contains(.syn)
      ? ownWindow.offer(synchronize: frame)
      : ownWindow.offer(frame, shifts: mayHaveForgotten ? [scales.own, 0] : [scales.own])
    if let loss { found.append("the window's right edge goes left by \(loss)") }
    lastAcknowledgement = lastAcknowledgement.map { max($0, acknowledgement) } ?? acknowledgement
    hasSentAcknowledgement = true
    return found
  }

  private mutating func checkText(
    _ frame: TCPFrame, _ initial: SequenceNumber, _ rules: SegmentObserver.Rules
  ) -> [String] {
    var found: [String] = []
    let length = frame.payloadLength
    let end = frame.sequence + UInt32(length)
    if frame.sequence > highest {
      found.append("\(frame.sequence - highest) numbers are left out")
    }
    if length > 0 {
      let limit = min(peer?.maximumSegmentSize ?? 65535, rules.mtu - (frame.isIPv4 ? 40 : 60))
      if length + frame.headerLength - 20 > max(limit, 48) {
        found.append("\(length) bytes and \(frame.headerLength - 20) of options, limit \(limit)")
      }
      if let peerEdge, end > peerEdge { found.append("\(end - peerEdge) bytes beyond the window") }
      if frame.sequence - initial < 1 { found.append("bytes before the stream") }
    }
    if let fin, length > 0, end > fin { found.append("\(end - fin) bytes behind FIN") }
    if frame.flags.contains(.fin) {
      if let fin, fin != end { found.append("FIN moves by \(end - fin)") }
      fin = end
    }
    highest = max(highest, end + (frame.flags.contains(.fin) ? 1 : 0))
    return found
  }

  /// The bytes are those that tests send. Where both ports are those of active opens nobody can
  /// tell which pattern it is.
  private func checkPattern(_ frame: TCPFrame, _ position: Int) -> String? {
    let active = EngineConfiguration(engineIndex: 0, engineCount: 1, secret: (0, 0, 0, 0))
      .activePorts
    let isClient = active.contains(frame.sourcePort)
    if isClient && active.contains(frame.destinationPort) { return nil }
    let port = isClient ? frame.destinationPort : frame.sourcePort
    for (index, byte) in frame.payload.enumerated()
    where byte != StreamPattern.byte(position + index, port: port, toServer: isClient) {
      return "byte \(position + index) of the stream is wrong"
    }
    return nil
  }

  private mutating func checkTimestamp(
    _ frame: TCPFrame, _ rules: SegmentObserver.Rules
  ) -> [String] {
    guard let option = frame.option(TCPOptionKind.timestamp) else {
      return hasTimestamps && !mayHaveForgotten && !frame.flags.contains(.syn)
        ? ["no timestamp"] : []
    }
    var found: [String] = []
    let value = frame[long: option.offset + 2]
    if let lastTimestamp, Int32(bitPattern: value &- lastTimestamp) < 0 {
      found.append("the timestamp goes back")
    }
    lastTimestamp = value
    guard frame.flags.contains(.ack), rules.isPeerHonest else { return found }
    if !frame.flags.contains(.syn), !hasTimestamps { found.append("an unwanted timestamp") }
    let echo = frame[long: option.offset + 6]
    if let newestTimestamp, Int32(bitPattern: echo &- newestTimestamp) > 0 {
      found.append("a timestamp is echoed that has not come")
    }
    return found
  }

  private func checkSelective(_ frame: TCPFrame) -> [String] {
    guard let option = frame.option(TCPOptionKind.sack) else { return [] }
    guard offer?.permitsSelective == true, peer?.permitsSelective == true else {
      return ["SACK was not negotiated"]
    }
    var found: [String] = []
    for index in 0..<(option.length - 2) / 8 {
      let left = SequenceNumber(frame[long: option.offset + 2 + index * 8])
      let right = SequenceNumber(frame[long: option.offset + 6 + index * 8])
      if left >= right { found.append("an empty block") }
      if let edge = ownWindow.edge, right > edge { found.append("a block beyond the window") }
    }
    return found
  }
}
