@testable import FSStack

// What a peer or a router may send that no header of ours can express.

extension ScriptedPeer {
  /// Sends a segment whose options are these bytes, padded with zeros to whole words.
  func send(_ header: OutgoingHeader, options: [UInt8], payload: [UInt8] = []) {
    var header = header
    header.options = OutgoingOptions()
    var frame = header.frame()
    let padded = options + [UInt8](repeating: 0, count: (4 - options.count % 4) % 4)
    let tcp = frame.count - 20
    frame += padded + payload
    frame[tcp + 12] = UInt8(5 + padded.count / 4) << 4
    send(resized: frame)
  }

  /// Sends a frame after a change to it, with what the change made wrong put right: lengths and
  /// checksums.
  func send(resized frame: [UInt8]) {
    var frame = frame
    if frame[14] >> 4 == 4 {
      frame.put16(UInt16(frame.count - 14), at: 16)
      frame.fixIPv4Checksum()
      frame.fixTransportChecksum(at: 14 + Int(frame[14] & 15) * 4)
    } else {
      frame.put16(UInt16(frame.count - 54), at: 18)
      frame.fixTransportChecksum(at: 54)
    }
    send(frame)
  }

  /// An acknowledgement with selective blocks, `left` to `right` as in a trace.
  func selective(_ acknowledgement: Int, _ blocks: [(left: Int, right: Int)]) -> OutgoingHeader {
    var header = header([], 1, ack: acknowledgement)
    header.options.sackCount = min(blocks.count, 4)
    for (index, block) in blocks.prefix(4).enumerated() {
      header.options.sackBlocks[index] = SACKBlock(
        left: otherInitial + UInt32(truncatingIfNeeded: block.left),
        right: otherInitial + UInt32(truncatingIfNeeded: block.right))
    }
    return header
  }

  /// Sends one, and lets the engine answer.
  func sendSACK(_ acknowledgement: Int, _ blocks: [(left: Int, right: Int)]) {
    send(selective(acknowledgement, blocks).frame())
  }

  /// Sends an ICMP error of a router, which quotes the engine's segment at `sequence`; `word` is the
  /// second word of the message, with the MTU in its lower half.
  func sendError(type: UInt8, code: UInt8, word: UInt32 = 0, quoting sequence: Int) {
    var quoted = header([], 0)
    swap(&quoted.source, &quoted.destination)
    swap(&quoted.sourcePort, &quoted.destinationPort)
    quoted.sequence = otherInitial + UInt32(truncatingIfNeeded: sequence)
    let isIPv4 = quoted.source.isIPv4
    var message: [UInt8] = [type, code, 0, 0]
    message += [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: word >> $0) }
    message += quoted.frame()[14..<(isIPv4 ? 42 : 62)]
    var frame = Array(header([], 0).frame()[..<(isIPv4 ? 34 : 54)])
    if isIPv4 {
      message.put16(referenceChecksum(message), at: 2)
      frame[23] = 1
      frame.put16(UInt16(20 + message.count), at: 16)
      frame.replaceSubrange(26..<30, with: [192, 0, 2, 254])
      frame.fixIPv4Checksum()
      frame += message
    } else {
      frame[20] = 58
      frame.put16(UInt16(message.count), at: 18)
      frame += message
      frame.fixTransportChecksum(at: 54, field: 2, protocol: 58)
    }
    send(frame)
  }
}

extension TCPFrame {
  /// Differentiated services and ECN.
  var trafficClass: UInt8 { isIPv4 ? bytes[15] : bytes[14] << 4 | bytes[15] >> 4 }
  var hopLimit: UInt8 { bytes[isIPv4 ? 22 : 21] }
  var isSYN: Bool { flags.contains(.syn) }

  /// The kinds of the options in their order; nil if they are malformed, or something other than zero
  /// follows the end of the list.
  var optionKinds: [UInt8]? {
    guard let options else { return nil }
    let last = options.last.map { $0.offset + $0.length } ?? tcp + 20
    let padding = bytes[last..<payloadStart].drop { $0 == TCPOptionKind.noOperation }
    return padding.allSatisfy { $0 == TCPOptionKind.end } ? options.map(\.kind) : nil
  }
}

extension ScriptedPair {
  /// The segments that the engine has sent so far, as they were on the link.
  var frames: [TCPFrame] { simulation.b.received.compactMap(TCPFrame.init) }

  /// One past the last byte that the engine has sent, counted as in a trace.
  var sentEdge: Int {
    simulation.trace.entries.filter { $0.sender == "A" }
      .map { $0.relative.sequence + $0.segment.payloadLength }.max() ?? 0
  }

  /// The engine's counters.
  var counters: EngineCounters { simulation.a.engines[0].engine.statistics().counters }

  /// The engine's connections by state.
  var states: [TCPState: Int] { simulation.a.engines[0].engine.statistics().connections }
}
