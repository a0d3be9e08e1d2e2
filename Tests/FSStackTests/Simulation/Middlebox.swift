@testable import FSStack

/// Something on a link that changes what passes. It sees both directions: `side` 0 is what host A
/// sends, 1 what comes from the other host.
protocol Middlebox: AnyObject {
  /// Takes a segment; what it gives in return goes on in its place.
  func pass(_ frame: TCPFrame, side: Int) -> Passage

  /// The burst is over: what the box has held back goes on.
  func flush(side: Int) -> [TCPFrame]
}

extension Middlebox {
  func flush(side: Int) -> [TCPFrame] { [] }
}

/// What a middlebox does with a segment.
struct Passage {
  /// What goes on.
  var onward: [TCPFrame] = []
  /// What goes back to the sender.
  var back: [TCPFrame] = []
  /// What a trace says about it.
  var notes: [String] = []

  /// It goes on as it is.
  init(_ frame: TCPFrame) { onward = [frame] }

  init(onward: [TCPFrame] = [], back: [TCPFrame] = [], _ note: String) {
    self.onward = onward
    self.back = back
    notes = [note]
  }

  /// It goes on with changes that `note` names.
  init(changed frame: TCPFrame, _ note: String) {
    var frame = frame
    frame.fixChecksums()
    onward = [frame]
    notes = [note]
  }
}

// MARK: - Options

/// Removes options of some kinds, or all that it does not know: those but the maximum segment size.
final class OptionStripper: Middlebox {
  /// Nil: all but the maximum segment size.
  let kinds: Set<UInt8>?
  let isOnlySYN: Bool
  /// Nil: both.
  let side: Int?

  init(kinds: Set<UInt8>?, isOnlySYN: Bool, side: Int?) {
    self.kinds = kinds
    self.isOnlySYN = isOnlySYN
    self.side = side
  }

  func pass(_ frame: TCPFrame, side: Int) -> Passage {
    guard self.side ?? side == side, !isOnlySYN || frame.flags.contains(.syn) else {
      return Passage(frame)
    }
    let stripped = (frame.options ?? []).filter {
      kinds?.contains($0.kind) ?? ($0.kind != TCPOptionKind.maximumSegmentSize)
    }
    guard !stripped.isEmpty else { return Passage(frame) }
    var frame = frame
    for option in stripped { frame.erase(option) }
    return Passage(changed: frame, "stripped of \(stripped.map { Int($0.kind) })")
  }
}

/// Lowers the maximum segment size that SYNs announce.
final class SegmentSizeClamp: Middlebox {
  let limit: UInt16

  init(limit: UInt16) { self.limit = limit }

  func pass(_ frame: TCPFrame, side: Int) -> Passage {
    guard frame.flags.contains(.syn), let option = frame.option(TCPOptionKind.maximumSegmentSize),
      frame[word: option.offset + 2] > limit
    else { return Passage(frame) }
    var frame = frame
    frame[word: option.offset + 2] = limit
    return Passage(changed: frame, "clamped to \(limit)")
  }
}

/// Loses SYNs with an option.
final class SynchronizeFilter: Middlebox {
  let kind: UInt8

  init(kind: UInt8) { self.kind = kind }

  func pass(_ frame: TCPFrame, side: Int) -> Passage {
    frame.flags.contains(.syn) && frame.option(kind) != nil
      ? Passage("filtered") : Passage(frame)
  }
}

/// Sets the mark of congestion on some packets that may carry it, or takes the right to carry it
/// from all (RFC 3168).
final class CongestionMarker: Middlebox {
  /// Share of packets marked; nil: all are cleared.
  let share: Double?
  private var random: SplitMix64

  init(share: Double?, seed: UInt64) {
    self.share = share
    random = SplitMix64(seed: seed)
  }

  func pass(_ frame: TCPFrame, side: Int) -> Passage {
    guard frame.congestionBits != 0 else { return Passage(frame) }
    var frame = frame
    if let share {
      guard random.chance(share) else { return Passage(frame) }
      frame.congestionBits = 3
      return Passage(changed: frame, "CE")
    }
    frame.congestionBits = 0
    return Passage(changed: frame, "ECN cleared")
  }
}

// MARK: - Segments

/// Cuts segments into pieces.
final class SegmentSplitter: Middlebox {
  private var random: SplitMix64

  init(seed: UInt64) { random = SplitMix64(seed: seed) }

  func pass(_ frame: TCPFrame, side: Int) -> Passage {
    guard frame.payloadLength > 1, frame.flags.isDisjoint(with: [.syn, .urg]), random.chance(0.5)
    else { return Passage(frame) }
    var rest = Array(frame.payload)
    var pieces: [TCPFrame] = []
    var sequence = frame.sequence
    while !rest.isEmpty {
      let isLast = pieces.count == 3 || rest.count == 1
      let count = isLast ? rest.count : Int.random(in: 1...rest.count, using: &random)
      var piece = frame
      piece.sequence = sequence
      piece.replacePayload(rest[..<count])
      if count < rest.count { piece.flags.subtract([.fin, .psh]) }
      piece.fixChecksums()
      pieces.append(piece)
      sequence += UInt32(count)
      rest.removeFirst(count)
    }
    return Passage(onward: pieces, "split in \(pieces.count)")
  }
}

/// Joins segments of one burst that follow each other, as far as the MTU allows.
final class SegmentMerger: Middlebox {
  private let mtu: Int
  private var held: [TCPFrame?] = [nil, nil]

  init(mtu: Int) { self.mtu = mtu }

  func pass(_ frame: TCPFrame, side: Int) -> Passage {
    guard let first = held[side] else {
      held[side] = frame
      return Passage("held")
    }
    if mayJoin(first, frame) {
      var joined = first
      joined.replacePayload(Array(first.payload) + Array(frame.payload))
      joined.flags.formUnion(frame.flags)
      joined.acknowledgement = frame.acknowledgement
      joined.fixChecksums()
      held[side] = joined
      return Passage("merged")
    }
    held[side] = frame
    return Passage(onward: [first], "held")
  }

  private func mayJoin(_ first: TCPFrame, _ second: TCPFrame) -> Bool {
    first.sendersFlow == second.sendersFlow && first.payloadLength > 0
      && second.payloadLength > 0 && first.sequence + first.sequenceLength == second.sequence
      && first.flags.isDisjoint(with: [.syn, .fin, .rst, .urg])
      && second.flags.isDisjoint(with: [.syn, .rst, .urg])
      && first.headerLength == second.headerLength
      && first.bytes.count + second.payloadLength <= mtu + 14
  }

  func flush(side: Int) -> [TCPFrame] {
    defer { held[side] = nil }
    return held[side].map { [$0] } ?? []
  }
}

/// Moves the sequence numbers of both directions, as firewalls do that do not trust the choice of
/// the initial ones; some of them forget the numbers in selective acknowledgements.
final class SequenceRewriter: Middlebox {
  private let offsets: [UInt32]
  private let rewritesSelective: Bool

  init(seed: UInt64, rewritesSelective: Bool) {
    var random = SplitMix64(seed: seed)
    offsets = (0..<2).map { _ in UInt32(truncatingIfNeeded: random.next()) }
    self.rewritesSelective = rewritesSelective
  }

  func pass(_ frame: TCPFrame, side: Int) -> Passage {
    var frame = frame
    frame.sequence += offsets[side]
    if frame.flags.contains(.ack) {
      frame.acknowledgement = frame.acknowledgement - offsets[1 - side]
    }
    if rewritesSelective, let option = frame.option(TCPOptionKind.sack) {
      for offset in stride(from: option.offset + 2, to: option.offset + option.length, by: 4) {
        frame[long: offset] = frame[long: offset] &- offsets[1 - side]
      }
    }
    frame.fixChecksums()
    return Passage(frame)
  }
}

// MARK: - State

/// A firewall that knows flows by their SYNs, and at times forgets them: what it does not know it
/// resets.
final class ForgetfulFirewall: Middlebox {
  private var flows: Set<Flow> = []
  /// It also drops without an answer what it does not know.
  private let isSilent: Bool

  init(isSilent: Bool) { self.isSilent = isSilent }

  func forget() { flows.removeAll() }

  func pass(_ frame: TCPFrame, side: Int) -> Passage {
    let flow = side == 0 ? frame.sendersFlow : frame.receiversFlow
    if frame.flags.contains(.syn) { flows.insert(flow) }
    if flows.contains(flow) { return Passage(frame) }
    if isSilent || frame.flags.contains(.rst) { return Passage("unknown flow") }
    return Passage(back: [Self.reset(answering: frame)], "unknown flow")
  }

  /// The answer of a host that has no such connection (RFC 9293 section 3.10.7.1).
  private static func reset(answering frame: TCPFrame) -> TCPFrame {
    var header = OutgoingHeader()
    let bytes = frame.bytes
    header.destinationMAC = MACAddress(bytes[6], bytes[7], bytes[8], bytes[9], bytes[10], bytes[11])
    header.sourceMAC = MACAddress(bytes[0], bytes[1], bytes[2], bytes[3], bytes[4], bytes[5])
    let flow = frame.receiversFlow
    header.source = flow.local
    header.sourcePort = flow.localPort
    header.destination = flow.remote
    header.destinationPort = flow.remotePort
    if frame.flags.contains(.ack) {
      header.sequence = frame.acknowledgement
      header.flags = .rst
    } else {
      header.acknowledgement = frame.sequence + frame.sequenceLength
      header.flags = [.rst, .ack]
    }
    guard let reset = TCPFrame(header.frame()) else { preconditionFailure("a RST is a segment") }
    return reset
  }
}
