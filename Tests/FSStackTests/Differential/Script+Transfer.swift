@testable import FSStack

extension Script {
  private static func transfer(
    _ name: String, _ steps: [Step], offer: Offer = .plain
  ) -> Script {
    Script(name: "transfer/\(name)", offer: offer, steps: Situation.opened + steps + [.state])
  }

  private static func ack(_ number: Int, window: UInt16 = 65535) -> Step {
    .segment([], 1001, ack: number) { $0.window = window }
  }

  /// Sending: when segments go out, how large, and what happens when they are lost.
  static let sending: [Script] = [
    transfer("large write", [.send(7300), .wait(milliseconds: 10), ack(8301)]),
    transfer("Nagle", [.send(100), .send(100), .send(100), ack(1101), .wait(milliseconds: 20)]),
    transfer("Nagle, a full segment", [.send(100), .send(2000), ack(1101), ack(2561)]),
    transfer(
      "no delay", [.option(.noDelay, 1), .send(100), .send(100), .send(100), ack(1301)]),
    transfer(
      "no delay set later", [.send(100), .send(100), .option(.noDelay, 1), ack(1201)]),
    transfer("cork", [.option(.cork, 1), .send(100), .send(100), .option(.cork, 0), ack(1201)]),
    transfer(
      "cork, a full segment", [.option(.cork, 1), .send(2000), .option(.cork, 0), ack(3001)]),
    transfer("cork for 200 ms", [.option(.cork, 1), .send(100), .wait(milliseconds: 300)]),
    transfer("more", [.send(100, more: true), .send(100), ack(1201)]),
    transfer("more, then close", [.send(100, more: true), .close, ack(1102)]),
    transfer("more for 200 ms", [.send(100, more: true), .wait(milliseconds: 300)]),
    transfer("cork, then shutdown", [.option(.cork, 1), .send(100), .shutdown, ack(1102)]),
    transfer("close behind Nagle", [.send(100), .send(100), .close, ack(1101), ack(1202)]),
    transfer(
      "maximum segment size option", [.option(.maximumSegmentSize, 500), .send(1200), ack(2201)]),
    transfer(
      "three duplicates",
      [
        .send(7300), .segments([PeerSegment](repeating: duplicate, count: 3)),
        .wait(milliseconds: 20),
        ack(8301),
      ]),
    transfer(
      "two duplicates",
      [
        .send(7300), .segments([PeerSegment](repeating: duplicate, count: 2)),
        .wait(milliseconds: 20),
        ack(8301),
      ]),
    transfer(
      "partial acknowledgement after three duplicates",
      [
        .send(7300), .segments([PeerSegment](repeating: duplicate, count: 3)), ack(2461), ack(3921),
        ack(8301), .wait(milliseconds: 20),
      ]),
    transfer(
      "duplicates with another window are none",
      [
        .send(7300), ack(1001, window: 60000), ack(1001, window: 50000), ack(1001, window: 40000),
        ack(1001, window: 30000), ack(8301),
      ]),
    transfer(
      "retransmission timeout",
      [
        .send(100), .wait(milliseconds: 350), ack(1101), .wait(milliseconds: 20),
      ]),
    transfer(
      "retransmission timeout of many",
      [
        .send(7300), .wait(milliseconds: 350), ack(2461), ack(8301), .wait(milliseconds: 20),
      ]),
    transfer("two retransmission timeouts", [.send(100), .wait(milliseconds: 900), ack(1101)]),
    transfer("retransmission timeout of FIN", [.shutdown, .wait(milliseconds: 350), ack(1002)]),
    transfer(
      "retransmission joins what came later",
      [
        .option(.noDelay, 1), .send(100), .send(100), .wait(milliseconds: 350), ack(1201),
      ]),
    transfer(
      "half a segment acknowledged",
      [
        .send(1460), ack(1500), .wait(milliseconds: 350), ack(2461),
      ]),
    transfer("more than sent acknowledged", [.send(100), ack(1200), ack(1101)]),
    transfer(
      "timeout, then the original's acknowledgement",
      [
        .send(1000), .wait(milliseconds: 300), ack(2001), .send(100), .wait(milliseconds: 350),
      ], offer: .timestamps),
    transfer(
      "user timeout",
      [
        .option(.userTimeout, 400), .send(100), .wait(milliseconds: 1100), .socketError,
      ]),
  ]

  private static let duplicate = PeerSegment([], 1001, ack: 1001)

  /// The peer's window: closed, opened, shrunk, and probed.
  static let windows: [Script] = [
    transfer(
      "window 0",
      [ack(1001, window: 0), .send(100), .wait(milliseconds: 350), ack(1001), ack(1101)]),
    transfer(
      "window 0, two probes",
      [
        ack(1001, window: 0), .send(100), .wait(milliseconds: 900), ack(1001), ack(1101),
      ]),
    transfer(
      "window 0, probe answered",
      [
        ack(1001, window: 0), .send(100), .wait(milliseconds: 300), ack(1001, window: 0),
        .wait(milliseconds: 600), ack(1001), ack(1101),
      ]),
    transfer(
      "window 0 after data",
      [
        .send(100), ack(1101, window: 0), .send(100), .wait(milliseconds: 350), ack(1101),
        ack(1201),
      ]),
    transfer(
      "window 0 with data in flight",
      [
        .send(100), ack(1001, window: 0), .wait(milliseconds: 350), ack(1101),
      ]),
    transfer(
      "window smaller than a segment",
      [
        .send(100), ack(1101, window: 500), .send(2000), .wait(milliseconds: 350),
        ack(1601, window: 500), .wait(milliseconds: 50), ack(2101), ack(3101),
      ]),
    transfer(
      "window of one byte",
      [
        .send(100), ack(1101, window: 1), .send(100), .wait(milliseconds: 350),
        ack(1102, window: 1), .wait(milliseconds: 300), ack(1103),
      ]),
    transfer(
      "window of half its maximum",
      [
        .segment([], 1001, ack: 1001) { $0.window = 1000 }, .send(1000), ack(2001, window: 500),
        .send(1000), .wait(milliseconds: 50), ack(2501, window: 1000), ack(3001),
      ]),
    transfer(
      "window shrinks below what is in flight",
      [
        .send(7300), ack(2461, window: 1000), .wait(milliseconds: 350), ack(8301),
      ]),
    transfer(
      "window shrinks to what is in flight",
      [
        .send(1000), ack(1001, window: 1000), .send(100), .wait(milliseconds: 20), ack(2001),
        ack(2101),
      ]),
    transfer(
      "window shrinks without anything new",
      [ack(1001, window: 500), .send(2000), .wait(milliseconds: 20), ack(3001)]),
    transfer(
      "old segment with another window",
      [
        ack(1001), .segment([], 901, ack: 1001) { $0.window = 0 }, .send(100), ack(1101),
      ]),
    transfer(
      "window opens with data",
      [
        ack(1001, window: 0), .send(100), .segment(.psh, 1001, count: 10, ack: 1001),
        .wait(milliseconds: 20), .receive(), .segment([], 1011, ack: 1101),
      ]),
    transfer(
      "FIN behind window 0",
      [
        ack(1001, window: 0), .shutdown, .wait(milliseconds: 350), ack(1001), ack(1002),
      ]),
    transfer(
      "data and FIN behind window 0",
      [
        ack(1001, window: 0), .send(100), .shutdown, .wait(milliseconds: 350), ack(1001), ack(1102),
      ]),
    transfer(
      "close behind window 0",
      [
        ack(1001, window: 0), .send(100), .close, .wait(milliseconds: 350), ack(1001), ack(1102),
      ]),
  ]

  /// Receiving: when acknowledgements go out.
  static let receiving: [Script] = [
    transfer(
      "answer carries the acknowledgement",
      [
        .segment(.psh, 1001, count: 100, ack: 1001), .receive(), .send(100),
        .segment([], 1101, ack: 1101), .wait(milliseconds: 60),
      ]),
    transfer(
      "request and response three times",
      [
        .segment(.psh, 1001, count: 100, ack: 1001), .receive(), .send(100),
        .segment(.psh, 1101, count: 100, ack: 1101), .receive(), .send(100),
        .segment(.psh, 1201, count: 100, ack: 1201), .receive(), .send(100),
        .segment(.psh, 1301, count: 100, ack: 1301), .wait(milliseconds: 60),
      ]),
    transfer(
      "one small segment after another",
      (0..<6).map {
        .segment(.psh, 1001 + 100 * $0, count: 100, ack: 1001)
      } + [.wait(milliseconds: 60), .receive()]),
    transfer(
      "full segments one after another",
      (0..<6).map {
        .segment([], 1001 + 1460 * $0, count: 1460, ack: 1001)
      } + [.wait(milliseconds: 60), .receive()]),
    transfer(
      "full segments at once",
      [
        .segments((0..<6).map { PeerSegment([], 1001 + 1460 * $0, count: 1460, ack: 1001) }),
        .wait(milliseconds: 60), .receive(),
      ]),
    transfer(
      "quick acknowledgements off",
      [
        .option(.quickAcknowledgements, 0), .segment(.psh, 1001, count: 100, ack: 1001),
        .wait(milliseconds: 60), .receive(),
      ]),
    transfer(
      "quick acknowledgements on",
      [
        .option(.quickAcknowledgements, 1), .segment(.psh, 1001, count: 100, ack: 1001),
        .wait(milliseconds: 60), .receive(),
      ]),
    transfer(
      "reads in parts",
      [
        .segment(.psh, 1001, count: 1000, ack: 1001), .receive(300), .receive(300), .receive(500),
        .receive(),
      ]),
    transfer("window closes", [.fill]),
    transfer(
      "window closes and opens",
      [
        .fill, .drain, .wait(milliseconds: 20),
        .segment(.psh, 100_001, count: 100, ack: 1001), .wait(milliseconds: 60), .receive(),
      ]),
    closedWindow("byte", [.segment(.psh, 100_001, count: 1, ack: 1001)], moves: 0),
    closedWindow("data", [.segment(.psh, 100_001, count: 100, ack: 1001)], moves: 0),
    closedWindow("old byte", [.segment([], 100_000, count: 1, ack: 1001)], moves: 0),
    closedWindow("old number", [.segment([], 100_000, ack: 1001)], moves: 0),
    closedWindow("acknowledgement", [.segment([], 100_001, ack: 1001)], moves: 0),
    closedWindow("number beyond", [.segment([], 100_002, ack: 1001)], moves: 0),
    closedWindow("FIN", [.segment(.fin, 100_001, ack: 1001)], moves: 1),
    closedWindow("FIN with data", [.segment(.fin, 100_001, count: 100, ack: 1001)], moves: 0),
    closedWindow("RST", [.segment(.rst, 100_001, ack: 1001)], moves: 0),
    closedWindow("RST beyond", [.segment(.rst, 100_002, ack: 1001)], moves: 0),
    closedWindow("SYN", [.segment(.syn, 100_001)], moves: 0),
    closedWindow(
      "acknowledgement of new data",
      [
        .send(100), .segment([], 100_001, ack: 1101),
      ], moves: 0),
    closedWindow(
      "data that acknowledges",
      [
        .send(100), .segment(.psh, 100_001, count: 100, ack: 1101),
      ], moves: 0),
  ]

  /// What a receiver with a closed window takes.
  private static func closedWindow(_ name: String, _ steps: [Step], moves: Int) -> Script {
    transfer(
      "closed window: \(name)",
      [.fill] + steps + [
        .wait(milliseconds: 60), .drain, .segment(.psh, 100_001 + moves, count: 100, ack: 1001),
        .wait(milliseconds: 60), .receive(), .socketError,
      ])
  }
}
