@testable import FSStack

/// Something that happens in a `Situation`.
struct Stimulus: Sendable {
  var name: String
  /// The peer's offer, where it is not the situation's.
  var offer: Script.Offer?
  /// By how much it moves RCV.NXT where the state takes it.
  var moves = 0
  var steps: @Sendable (Situation) -> [Step]

  init(
    _ name: String, offer: Script.Offer? = nil, moves: Int = 0,
    steps: @escaping @Sendable (Situation) -> [Step]
  ) {
    self.name = name
    self.offer = offer
    self.moves = moves
    self.steps = steps
  }

  /// One segment with numbers relative to RCV.NXT and SND.NXT.
  static func segment(
    _ name: String, _ flags: TCPFlags, _ sequence: Int = 0, count: Int = 0, ack: Int? = 0,
    moves: Int = 0, offer: Script.Offer? = nil,
    change: @escaping @Sendable (inout PeerSegment) -> Void = { _ in }
  ) -> Stimulus {
    Stimulus(name, offer: offer, moves: moves) { situation in
      [
        .segment(
          flags, situation.receiveNext + sequence, count: count,
          ack: ack.map { situation.sendNext + $0 }, change: change)
      ]
    }
  }
}

extension Stimulus {
  static let all = acknowledgements + texts + resets + synchronizes + finishes + oddities

  /// Sequence numbers beyond every window that the two offer.
  private static let far = 100_000_000

  static let acknowledgements: [Stimulus] = [
    .segment("nothing new", []),
    .segment("acknowledgement of the future", [], ack: 1),
    .segment("acknowledgement of the far future", [], ack: 500_000),
    .segment("old acknowledgement", [], ack: -600),
    .segment("acknowledgement older than every window", [], ack: -far),
    .segment("acknowledgement with old number", [], -1),
    .segment("acknowledgement with number beyond the window", [], far),
    .segment("acknowledgement with number in the window", [], 100),
    .segment("no flags", [], ack: nil),
    .segment("window 0", []) { $0.window = 0 },
    Stimulus("four duplicates") { situation in
      let segment = PeerSegment([], situation.receiveNext, ack: situation.unacknowledged)
      return [.segments([segment, segment, segment, segment])]
    },
  ]

  static let texts: [Stimulus] = [
    .segment("data", .psh, count: 100, moves: 100),
    .segment("data without ACK", .psh, count: 100, ack: nil),
    .segment("data that acknowledges the future", .psh, count: 100, ack: 10),
    .segment("data with old acknowledgement", .psh, count: 100, ack: -600, moves: 100),
    .segment("data with acknowledgement older than every window", .psh, count: 100, ack: -far),
    .segment("old byte", .psh, -1, count: 1),
    .segment("data half old", .psh, -50, count: 100, moves: 50),
    .segment("data behind a gap", .psh, 100, count: 100),
    .segment("data beyond the window", .psh, far, count: 100),
    Stimulus("data behind a gap, then the gap", moves: 200) { situation in
      let next = situation.receiveNext
      return [
        .segment(.psh, next + 100, count: 100, ack: situation.sendNext),
        .segment(.psh, next, count: 100, ack: situation.sendNext),
      ]
    },
  ]

  static let resets: [Stimulus] = [
    .segment("RST", .rst, ack: nil),
    .segment("RST ACK", .rst),
    .segment("RST in the window", .rst, 1, ack: nil),
    .segment("RST with old number", .rst, -1, ack: nil),
    .segment("RST beyond the window", .rst, far, ack: nil),
    .segment("RST that acknowledges the future", .rst, ack: 10),
    .segment("RST with data", .rst, count: 10),
  ]

  static let synchronizes: [Stimulus] = [
    .segment("SYN", .syn, ack: nil),
    .segment("SYN in the window", .syn, 100, ack: nil),
    .segment("SYN with old number", .syn, -600, ack: nil),
    .segment("SYN beyond the window", .syn, far, ack: nil),
    .segment("SYN with data", .syn, count: 100, ack: nil),
    .segment("SYN ACK", .syn),
    .segment("SYN ACK with old number", .syn, -1),
    .segment("SYN ACK that acknowledges the future", .syn, ack: 10),
    .segment("SYN FIN", [.syn, .fin], ack: nil),
    .segment("SYN RST", [.syn, .rst], ack: nil),
  ]

  static let finishes: [Stimulus] = [
    .segment("FIN", .fin, moves: 1),
    .segment("FIN without ACK", .fin, ack: nil),
    .segment("FIN with old number", .fin, -1),
    .segment("FIN behind a gap", .fin, 100),
    .segment("FIN beyond the window", .fin, far),
    .segment("FIN with data", .fin, count: 100, moves: 101),
    Stimulus("FIN that does not acknowledge", moves: 1) { situation in
      [.segment(.fin, situation.receiveNext, ack: situation.unacknowledged)]
    },
    Stimulus("FIN behind a gap, then the gap", moves: 101) { situation in
      let next = situation.receiveNext
      return [
        .segment(.fin, next + 100, ack: situation.sendNext),
        .segment(.psh, next, count: 100, ack: situation.sendNext),
      ]
    },
    Stimulus("FIN twice", moves: 1) { situation in
      let segment = PeerSegment(.fin, situation.receiveNext, ack: situation.sendNext)
      return [.segments([segment]), .segments([segment])]
    },
  ]

  static let oddities: [Stimulus] = [
    .segment("Xmas", [.fin, .urg, .psh], ack: nil),
    .segment("urgent data", [.psh, .urg], count: 100, moves: 100) { $0.urgentPointer = 100 },
    .segment("ECE and CWR", [.psh, .ece, .cwr], count: 100, moves: 100),
    .segment("reserved bits", .psh, count: 100, moves: 100) { $0.reserved = 0xe },
    .segment("bad checksum", .psh, count: 100) { $0.hasWrongChecksum = true },
    .segment("data offset too small", .psh, count: 100) { $0.dataOffset = 4 },
    .segment("data offset too large", .psh, count: 8) { $0.dataOffset = 15 },
    .segment("unknown option", .psh, count: 100, moves: 100) {
      $0.rawOptions = [77, 4, 1, 2]
    },
    .segment("option with length 0", .psh, count: 100, moves: 100) {
      $0.rawOptions = [77, 0, 1, 2]
    },
    .segment("option longer than the header", .psh, count: 100, moves: 100) {
      $0.rawOptions = [77, 40, 1, 2]
    },
    .segment("timestamp that was not agreed", .psh, count: 100, moves: 100) {
      $0.timestamp = .later(10)
    },
  ]
}
