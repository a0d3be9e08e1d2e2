@testable import FSStack

extension Script {
  /// The first flights of a connection, as acknowledgements come.
  static let congestion: [Script] = [
    Script(
      name: "congestion/initial window",
      steps: passive + [.send(40_000), .wait(milliseconds: 10)]),
    Script(
      name: "congestion/initial window, small segments", offer: Offer(maximumSegmentSize: 536),
      steps: passive + [.send(20_000), .wait(milliseconds: 10)]),
    Script(
      name: "congestion/slow start",
      steps: passive + [
        .send(60_000), .wait(milliseconds: 15), ack(2921), ack(5841), ack(14_601),
      ]),
    Script(
      name: "congestion/slow start, stretched acknowledgement",
      steps: passive + [.send(60_000), .wait(milliseconds: 15), ack(14_601)]),
    Script(
      name: "congestion/fast recovery",
      steps: passive + [
        .send(60_000), .wait(milliseconds: 15),
        .segments([PeerSegment](repeating: PeerSegment([], 1, ack: 1), count: 3)),
        .wait(milliseconds: 10),
        .segments([PeerSegment](repeating: PeerSegment([], 1, ack: 1), count: 6)),
        .wait(milliseconds: 10), ack(14_601), .wait(milliseconds: 10),
      ]),
    Script(
      name: "congestion/window after a timeout",
      steps: passive + [
        .send(60_000), .wait(milliseconds: 350), ack(1461), .wait(milliseconds: 5), ack(14_601),
        .wait(milliseconds: 5),
      ]),
    ecn("agreed", [.send(100), .segment([], 1, ack: 101)]),
    ecn(
      "congestion experienced",
      [
        .segment(.psh, 1, count: 100, ack: 1) { $0.congestionBits = 3 },
        .segment(.psh, 101, count: 100, ack: 1) { $0.congestionBits = 2 },
        .segment([.psh, .cwr], 201, count: 100, ack: 1) { $0.congestionBits = 2 },
        .segment(.psh, 301, count: 100, ack: 1) { $0.congestionBits = 2 }, .wait(milliseconds: 60),
        .receive(),
      ]),
    ecn(
      "echoed",
      [
        .send(1000), .segment(.ece, 1, ack: 1001), .send(1000), .segment(.ece, 1, ack: 2001),
        .send(1000), .segment([], 1, ack: 3001),
      ]),
    ecn(
      "retransmission is not marked",
      [
        .send(100), .wait(milliseconds: 350), .segment([], 1, ack: 101),
      ]),
    Script(
      name: "congestion/ECN not agreed",
      steps: passive + [
        .segment(.psh, 1, count: 100, ack: 1) { $0.congestionBits = 3 }, .wait(milliseconds: 60),
        .receive(), .send(100),
      ]),
    Script(
      name: "congestion/ECN not offered actively",
      steps: [.connect, .segment([.syn, .ece], 0, ack: 1), .send(100), .wait(milliseconds: 20)]),
  ]

  private static let passive: [Step] = [
    .listen, .segment(.syn, 0), .wait(milliseconds: 15), .segment([], 1, ack: 1), .accept,
  ]

  private static func ack(_ number: Int) -> Step { .segment([], 1, ack: number) }

  /// With ECN, which the peer's SYN asks for (RFC 3168 section 6.1.1).
  private static func ecn(_ name: String, _ steps: [Step]) -> Script {
    Script(
      name: "congestion/ECN \(name)",
      steps: [
        .listen, .segment([.syn, .ece, .cwr], 0), .wait(milliseconds: 15), .segment([], 1, ack: 1),
        .accept,
      ] + steps + [.state])
  }
}
