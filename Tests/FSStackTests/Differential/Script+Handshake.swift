@testable import FSStack

extension Script {
  /// Opening: what SYNs carry, what is lost, and what crosses.
  static let handshakes: [Script] =
    maximumSegmentSizes + windowScales
    + [
      opening("SYN twice", [.listen, .segment(.syn, 0), .segment(.syn, 0)]),
      opening(
        "SYN with another number", [.listen, .segment(.syn, 0), .segment(.syn, 5000)]),
      opening(
        "SYN ACK lost", [.listen, .segment(.syn, 0), .wait(milliseconds: 1300)]),
      Script(
        name: "handshake/SYN lost",
        steps: [
          .connect, .wait(milliseconds: 1300), .segment(.syn, 0, ack: 1), .socketError, .state,
        ]),
      Script(
        name: "handshake/last ACK lost, data follows",
        steps: [
          .listen, .segment(.syn, 0), .wait(milliseconds: 15),
          .segment(.psh, 1, count: 100, ack: 1), .accept, .receive(), .state,
        ]),
      Script(
        name: "handshake/last ACK lost, FIN follows",
        steps: [
          .listen, .segment(.syn, 0), .wait(milliseconds: 15), .segment(.fin, 1, ack: 1),
          .wait(milliseconds: 60), .accept, .receive(), .send(10), .state,
        ]),
      Script(
        name: "handshake/last ACK twice",
        steps: [
          .listen, .segment(.syn, 0), .segment([], 1, ack: 1), .segment([], 1, ack: 1), .accept,
          .state,
        ]),
      Script(
        name: "handshake/data before accept",
        steps: [
          .listen, .segment(.syn, 0), .segment([], 1, ack: 1),
          .segment(.psh, 1, count: 100, ack: 1), .segment(.fin, 101, ack: 1),
          .wait(milliseconds: 60), .accept, .receive(), .receive(), .state,
        ]),
      Script(
        name: "handshake/RST before accept",
        steps: [
          .listen, .segment(.syn, 0), .segment([], 1, ack: 1), .segment(.rst, 1), .accept,
          .receive(), .state,
        ]),
      Script(
        name: "handshake/RST after data, before accept",
        steps: [
          .listen, .segment(.syn, 0), .segment([], 1, ack: 1),
          .segment(.psh, 1, count: 100, ack: 1), .segment(.rst, 101), .accept, .receive(),
          .receive(), .receive(), .socketError, .state,
        ]),
      Script(
        name: "handshake/refused",
        steps: [
          .connect, .segment(.rst, 0, ack: 1), .socketError, .receive(), .send(10), .state,
        ]),
      Script(
        name: "handshake/refused, error by receive",
        steps: [.connect, .segment(.rst, 0, ack: 1), .receive(), .socketError, .send(10)]),
      Script(
        name: "handshake/refused, error by send",
        steps: [.connect, .segment(.rst, 0, ack: 1), .send(10), .receive(), .send(10)]),
      Script(
        name: "handshake/SYN ACK twice",
        steps: [
          .connect, .segment(.syn, 0, ack: 1), .segment(.syn, 0, ack: 1), .state,
          .segment(.psh, 1, count: 10, ack: 1), .receive(),
        ]),
      Script(
        name: "handshake/SYN ACK with data",
        steps: [
          .connect, .segment(.syn, 0, count: 100, ack: 1), .wait(milliseconds: 60), .receive(),
          .segment(.psh, 1, count: 100, ack: 1), .receive(), .state,
        ]),
      Script(
        name: "handshake/SYN ACK with FIN",
        steps: [
          .connect, .segment([.syn, .fin], 0, ack: 1), .wait(milliseconds: 60), .receive(), .state,
        ]),
      Script(
        name: "handshake/close in SYN-SENT",
        steps: [.connect, .close, .segment(.syn, 0, ack: 1), .state]),
      Script(
        name: "handshake/shutdown in SYN-SENT",
        steps: [.connect, .shutdown, .segment(.syn, 0, ack: 1), .socketError, .state]),
      Script(
        name: "handshake/send in SYN-SENT, data follows the ACK",
        steps: [
          .connect, .send(100), .segment(.syn, 0, ack: 1), .send(100), .wait(milliseconds: 15),
          .segment([], 1, ack: 101), .state,
        ]),
      simultaneousOpen("with options", .all),
      simultaneousOpen("without options", .plain),
      Script(
        name: "handshake/simultaneous open, both SYN ACKs",
        offer: .all,
        steps: [
          .connect, .segment(.syn, 0), .segment(.syn, 0, ack: 1), .wait(milliseconds: 60),
          .socketError, .segment(.psh, 1, count: 10, ack: 1), .receive(), .send(10), .state,
        ]),
    ]

  private static func opening(_ name: String, _ steps: [Step]) -> Script {
    Script(
      name: "handshake/\(name)",
      steps: steps + [.segment([], 1, ack: 1), .accept, .send(10), .state])
  }

  private static func simultaneousOpen(_ name: String, _ offer: Offer) -> Script {
    Script(
      name: "handshake/simultaneous open \(name)", offer: offer,
      steps: [
        .connect, .segment(.syn, 0), .state, .segment([], 1, ack: 1), .socketError, .send(10),
        .segment(.psh, 1, count: 10, ack: 11), .receive(), .state,
      ])
  }

  /// RFC 9293 section 3.7.1: what is sent in segments of which size.
  private static let maximumSegmentSizes: [Script] =
    [0, 1, 47, 48, 88, 536, 1000, 1460, 9000].map {
      Script(
        name: "handshake/maximum segment size \($0)", offer: Offer(maximumSegmentSize: $0),
        steps: [
          .listen, .segment(.syn, 0), .wait(milliseconds: 15), .segment([], 1, ack: 1), .accept,
          .send(3000), .wait(milliseconds: 20),
        ])
    } + [
      Script(
        name: "handshake/no options",
        steps: [
          .listen, .segment(.syn, 0) { $0.carriesOffer = false }, .wait(milliseconds: 15),
          .segment([], 1, ack: 1), .accept, .send(3000), .wait(milliseconds: 20),
        ]),
      Script(
        name: "handshake/no options, actively",
        steps: [
          .connect, .segment(.syn, 0, ack: 1) { $0.carriesOffer = false }, .send(3000),
          .wait(milliseconds: 20),
        ]),
      Script(
        name: "handshake/options with timestamps, small segments",
        offer: Offer(
          maximumSegmentSize: 536, windowScale: 2, sackPermitted: true, timestamps: true),
        steps: [
          .listen, .segment(.syn, 0), .wait(milliseconds: 15), .segment([], 1, ack: 1), .accept,
          .send(3000), .wait(milliseconds: 20),
        ]),
    ]

  /// RFC 7323 section 2: the shift counts, and the window of a SYN is not shifted.
  private static let windowScales: [Script] = ([0, 1, 7, 14, 15, 200] as [UInt8]).map { scale in
    Script(
      name: "handshake/window scale \(scale)", offer: Offer(windowScale: scale),
      steps: [
        .listen, .segment(.syn, 0) { $0.window = 1000 }, .wait(milliseconds: 15),
        .segment([], 1, ack: 1) { $0.window = 1 }, .accept, .send(3000),
        .wait(milliseconds: 20), .state,
      ])
  }
}
