@testable import FSStack

extension Script {
  private static func closing(
    _ name: String, _ steps: [Step], offer: Offer = .plain
  ) -> Script {
    Script(name: "closing/\(name)", offer: offer, steps: Situation.opened + steps + [.state])
  }

  /// The ways in which connections end.
  static let closings: [Script] = [
    closing(
      "peer first",
      [
        .segment(.fin, 1001, ack: 1001), .wait(milliseconds: 60), .receive(), .close,
        .segment([], 1002, ack: 1002), .segment(.psh, 1002, count: 10, ack: 1002),
      ]),
    closing(
      "we first",
      [
        .close, .segment([], 1001, ack: 1002), .segment(.fin, 1001, ack: 1002), .state,
        .segment(.fin, 1001, ack: 1002), .segment([], 1002, ack: 1002),
      ]),
    closing("we first, FIN with the acknowledgement", [.close, .segment(.fin, 1001, ack: 1002)]),
    closing(
      "we first, data with the acknowledgement",
      [
        .close, .segment(.psh, 1001, count: 10, ack: 1002),
      ]),
    closing(
      "simultaneously",
      [
        .close, .segment(.fin, 1001, ack: 1001), .state, .segment([], 1002, ack: 1002), .state,
        .segment(.fin, 1001, ack: 1001),
      ]),
    closing(
      "half, data afterwards",
      [
        .shutdown, .segment([], 1001, ack: 1002), .segment(.psh, 1001, count: 100, ack: 1002),
        .receive(), .segment(.psh, 1101, count: 100, ack: 1002), .receive(), .send(10),
        .segment(.fin, 1201, ack: 1002), .receive(), .close,
      ]),
    closing(
      "half by the peer, data afterwards",
      [
        .segment(.fin, 1001, ack: 1001), .wait(milliseconds: 60), .send(100),
        .segment([], 1002, ack: 1101), .send(100), .segment([], 1002, ack: 1201), .close,
        .segment([], 1002, ack: 1202),
      ]),
    closing(
      "half, then whole, data afterwards",
      [
        .shutdown, .segment([], 1001, ack: 1002), .close,
        .segment(.psh, 1001, count: 100, ack: 1002),
      ]),
    closing(
      "half, then whole, FIN afterwards",
      [
        .shutdown, .segment([], 1001, ack: 1002), .close, .segment(.fin, 1001, ack: 1002),
      ]),
    closing("with unread data", [.segment(.psh, 1001, count: 100, ack: 1001), .close]),
    closing(
      "with unread data behind a gap", [.segment(.psh, 1101, count: 100, ack: 1001), .close]),
    closing(
      "with partly read data", [.segment(.psh, 1001, count: 100, ack: 1001), .receive(50), .close]),
    closing(
      "with unread data and FIN",
      [
        .segment(.fin, 1001, count: 100, ack: 1001), .wait(milliseconds: 60), .close,
      ]),
    closing(
      "with read data and FIN",
      [
        .segment(.fin, 1001, count: 100, ack: 1001), .wait(milliseconds: 60), .receive(), .close,
        .segment([], 1102, ack: 1002),
      ]),
    closing(
      "with data to send",
      [
        .send(100), .close, .segment([], 1001, ack: 1101), .segment([], 1001, ack: 1102),
      ]),
    closing(
      "with data to send, data in between",
      [
        .send(100), .close, .segment(.psh, 1001, count: 10, ack: 1101),
      ]),
    closing(
      "with unread data in FIN-WAIT-2",
      [
        .shutdown, .segment([], 1001, ack: 1002), .segment(.psh, 1001, count: 100, ack: 1002),
        .close,
      ]),
    closing("linger 0", [.abort, .segment(.psh, 1001, count: 10, ack: 1001)]),
    closing("linger 0 with data in flight", [.send(100), .abort, .segment([], 1001, ack: 1101)]),
    closing(
      "linger 0 with data that waits",
      [
        .send(100), .segment([], 1001, ack: 1101) { $0.window = 50 }, .send(100), .abort,
      ]),
    closing(
      "linger 0 in CLOSE-WAIT",
      [
        .segment(.fin, 1001, ack: 1001), .wait(milliseconds: 60), .abort,
        .segment([], 1002, ack: 1002),
      ]),
    closing("linger 0 in FIN-WAIT-1", [.shutdown, .abort, .segment([], 1001, ack: 1002)]),
    closing("linger 0 in FIN-WAIT-2", [.shutdown, .segment([], 1001, ack: 1002), .abort]),
    closing("linger 0 in CLOSING", [.shutdown, .segment(.fin, 1001, ack: 1001), .abort]),
    closing("linger 0 with unread data", [.segment(.psh, 1001, count: 100, ack: 1001), .abort]),
    closing("shutdown twice", [.shutdown, .shutdown, .segment([], 1001, ack: 1002), .shutdown]),
    closing(
      "send after shutdown", [.shutdown, .send(10), .segment([], 1001, ack: 1002), .send(10)]),
    closing(
      "receive after RST",
      [
        .segment(.rst, 1001), .receive(), .receive(), .send(10), .socketError,
      ]),
    closing("send after RST", [.segment(.rst, 1001), .send(10), .send(10), .receive()]),
    closing("SO_ERROR after RST", [.segment(.rst, 1001), .socketError, .receive(), .send(10)]),
    closing(
      "data, then RST",
      [
        .segment(.psh, 1001, count: 100, ack: 1001), .segment(.rst, 1101), .receive(), .receive(),
        .receive(),
      ]),
    closing(
      "data, FIN, then RST",
      [
        .segment(.fin, 1001, count: 100, ack: 1001), .wait(milliseconds: 60), .segment(.rst, 1102),
        .receive(), .receive(), .send(10), .socketError,
      ]),
    closing(
      "FIN, then RST",
      [
        .segment(.fin, 1001, ack: 1001), .wait(milliseconds: 60), .segment(.rst, 1002), .receive(),
        .send(10), .send(10), .socketError,
      ]),
    closing(
      "FIN, then RST, error by SO_ERROR",
      [
        .segment(.fin, 1001, ack: 1001), .wait(milliseconds: 60), .segment(.rst, 1002),
        .socketError,
        .receive(), .send(10),
      ]),
    closing("RST with data in flight", [.send(1000), .segment(.rst, 1001), .receive(), .send(10)]),
    closing("RST, then close", [.segment(.rst, 1001), .close]),
    closing(
      "FIN retransmitted, then acknowledged",
      [
        .shutdown, .wait(milliseconds: 350), .segment([], 1001, ack: 1002),
        .segment(.fin, 1001, ack: 1002),
      ]),
    closing(
      "data over a FIN",
      [
        .segment(.fin, 1001, ack: 1001), .wait(milliseconds: 60),
        .segment(.psh, 1001, count: 10, ack: 1001), .receive(), .send(10),
      ]),
  ]

  /// A SYN for a flow in TIME-WAIT (RFC 6191), and what follows.
  static let reopenings: [Script] = [(Offer.plain, ""), (.timestamps, " with timestamps")].flatMap {
    offer, suffix in
    [1002, 1003, 50_000, 100_000_000, 500].map { number in
      Script(
        name: "reopening/SYN \(number)\(suffix)", offer: offer,
        steps: Situation.opened + [
          .close, .segment([], 1001, ack: 1002), .segment(.fin, 1001, ack: 1002), .state,
          .wait(milliseconds: 20), .segment(.syn, number), .wait(milliseconds: 20),
          .segment([], number + 1, ack: 1), .accept, .segment(.psh, number + 1, count: 1, ack: 1),
          .wait(milliseconds: 60), .state,
        ])
    }
  }
}
