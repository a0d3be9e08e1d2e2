@testable import FSStack

/// What happens to connections that have agreed on options.
extension Stimulus {
  private static let far = 100_000_000

  /// RFC 7323 section 5: timestamps that are old, new, absent, and echoes that are wrong.
  static let timestamps: [Stimulus] = [
    .segment("data with later timestamp", .psh, count: 100, moves: 100) {
      $0.timestamp = .later(500)
    },
    .segment("data with equal timestamp", .psh, count: 100, moves: 100) {
      $0.timestamp = .later(0)
    },
    .segment("data with older timestamp", .psh, count: 100) { $0.timestamp = .later(-1) },
    .segment("data with much older timestamp", .psh, count: 100) { $0.timestamp = .later(-900) },
    .segment("data with timestamp half the circle later", .psh, count: 100, moves: 100) {
      $0.timestamp = .later(0x7fff_ffff)
    },
    .segment("data without timestamp", .psh, count: 100, moves: 100) { $0.timestamp = .absent },
    .segment("old data with older timestamp", .psh, -100, count: 100) { $0.timestamp = .later(-5) },
    .segment("old data with later timestamp", .psh, -100, count: 100) { $0.timestamp = .later(50) },
    .segment("data behind a gap with later timestamp", .psh, 100, count: 100) {
      $0.timestamp = .later(500)
    },
    .segment("data beyond the window with later timestamp", .psh, far, count: 100) {
      $0.timestamp = .later(500)
    },
    .segment("acknowledgement with older timestamp", []) { $0.timestamp = .later(-5) },
    .segment("acknowledgement without timestamp", []) { $0.timestamp = .absent },
    .segment("old number with older timestamp", [], -1) { $0.timestamp = .later(-5) },
    .segment("old number with later timestamp", [], -1) { $0.timestamp = .later(50) },
    .segment("RST with older timestamp", .rst) { $0.timestamp = .later(-5) },
    .segment("RST without timestamp", .rst, ack: nil) { $0.timestamp = .absent },
    .segment("RST in the window with older timestamp", .rst, 1) { $0.timestamp = .later(-5) },
    .segment("SYN with older timestamp", .syn, ack: nil) { $0.timestamp = .later(-5) },
    .segment("SYN with equal timestamp", .syn, ack: nil) { $0.timestamp = .later(0) },
    .segment("SYN with later timestamp", .syn, ack: nil) { $0.timestamp = .later(500) },
    .segment("old SYN with later timestamp", .syn, -600, ack: nil) { $0.timestamp = .later(500) },
    .segment("SYN in the window with older timestamp", .syn, 100, ack: nil) {
      $0.timestamp = .later(-5)
    },
    .segment("FIN with older timestamp", .fin) { $0.timestamp = .later(-5) },
    .segment("FIN with later timestamp", .fin, moves: 1) { $0.timestamp = .later(500) },
    .segment("FIN without timestamp", .fin, moves: 1) { $0.timestamp = .absent },
    .segment("echo of the future", .psh, count: 100, moves: 100) {
      $0.timestamp = .echoLater(10_000)
    },
    .segment("echo of the past", .psh, count: 100, moves: 100) {
      $0.timestamp = .echoLater(-10_000)
    },
  ]

  /// RFC 2018 and 2883: blocks that the engine reports, and blocks that it is told.
  static let selective: [Stimulus] = [
    Stimulus("one gap, filled", moves: 200) { $0.data([100, 0]) },
    Stimulus("two gaps, filled from the left", moves: 500) { $0.data([100, 300, 0, 200, 400]) },
    Stimulus("two gaps, filled from the right", moves: 500) { $0.data([100, 300, 400, 200, 0]) },
    Stimulus("five gaps", moves: 1100) {
      $0.data([100, 300, 500, 700, 900, 0, 200, 400, 600, 800, 1000])
    },
    Stimulus("gap data twice", moves: 200) { $0.data([100, 100, 0]) },
    Stimulus("gap data older than the last", moves: 400) { $0.data([100, 300, 100, 200, 0]) },
    Stimulus("data twice", moves: 100) { $0.data([0, 0]) },
    Stimulus("old data", moves: 0) { $0.data([-100]) },
    Stimulus("old data while there is a gap", moves: 200) { $0.data([100, -100, 0]) },
    Stimulus("data over a gap's edge", moves: 250) {
      $0.data([100], count: 100) + $0.data([50], count: 200) + $0.data([0], count: 100)
    },
    Stimulus("data inside what is known", moves: 300) {
      $0.data([0], count: 300) + $0.data([100], count: 100)
    },
    Stimulus("data half known", moves: 300) {
      $0.data([0], count: 200) + $0.data([100], count: 200)
    },
    .told("one block", [[500..<1000]]),
    .told("three blocks in one segment", [[500..<1000, 1500..<2000, 2500..<3000]]),
    .told("blocks that grow", [[500..<1000], [500..<1500], [500..<2000]]),
    .told("all but the first segment", [[1460..<7300]]),
    .told("all but the last segment", [[0..<5840]]),
    .told("block below SND.UNA", [[(-500)..<(-200)]]),
    .told("block over SND.UNA", [[(-500)..<500]]),
    .told("block beyond SND.NXT", [[500..<100_000]]),
    .told("block of the future", [[100_000..<200_000]]),
    .told("empty block", [[500..<500]]),
    .told("block of everything", [[0..<7300]]),
  ]

  /// Duplicate acknowledgements with blocks relative to SND.UNA.
  private static func told(_ name: String, _ blocks: [[Range<Int>]]) -> Stimulus {
    Stimulus(name) { situation in
      blocks.map { blocks in
        .segment([], situation.receiveNext, ack: situation.unacknowledged) {
          $0.sack = blocks.map {
            situation.unacknowledged + $0.lowerBound..<situation.unacknowledged + $0.upperBound
          }
        }
      } + [.wait(milliseconds: 50)]
    }
  }
}

extension Situation {
  /// Segments with data at offsets from RCV.NXT.
  func data(_ offsets: [Int], count: Int = 100) -> [Step] {
    offsets.map { .segment(.psh, receiveNext + $0, count: count, ack: sendNext) }
  }

  /// Those for `Stimulus.timestamps`.
  static let timestamped: [Situation] =
    synchronized(.timestamps).filter {
      ["ESTABLISHED", "FIN-WAIT-2", "CLOSE-WAIT", "LAST-ACK", "TIME-WAIT"].contains($0.name)
    }.map {
      var situation = $0
      situation.name += " (timestamps)"
      return situation
    } + [synReceivedWithTimestamps]

  private static let synReceivedWithTimestamps = {
    var situation = synReceived
    situation.name += " (timestamps)"
    situation.offer = .timestamps
    return situation
  }()

  /// Those for `Stimulus.selective`; with data in flight, five segments of it.
  static let selective: [Situation] = [(Script.Offer.sack, "SACK"), (.plain, "no SACK")].map {
    Situation(
      name: "in flight (\($0.1))", offer: $0.0, steps: opened + [.send(7300)], receiveNext: 1001,
      unacknowledged: 1001, sendNext: 8301, probe: flightProbe)
  }

  private static let flightProbe: @Sendable (Int) -> [Step] = { moved in
    [
      .receive(), .segment([], 1001 + moved, ack: 3921), .wait(milliseconds: 50),
      .segment([], 1001 + moved, ack: 8301), .send(100), .receive(),
      .segment([], 1001 + moved, ack: 8401), .wait(milliseconds: 20),
    ]
  }
}
