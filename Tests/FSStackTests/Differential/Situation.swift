@testable import FSStack

/// A state into which scripts bring the connection before an event, and the numbers there.
///
/// Where data can have flown, each side has sent 1000 bytes that are read and acknowledged: old
/// numbers then mean something.
struct Situation: Sendable {
  var name: String
  var offer = Script.Offer.plain
  var steps: [Step]
  /// RCV.NXT, SND.UNA and SND.NXT.
  var receiveNext: Int
  var unacknowledged: Int
  var sendNext: Int
  /// What shows afterwards in which state the connection is; given how far the event has moved
  /// RCV.NXT.
  var probe: @Sendable (_ moved: Int) -> [Step]

  /// The script of an event in this situation.
  func script(_ stimulus: Stimulus) -> Script {
    Script(
      name: "\(name)/\(stimulus.name)", offer: stimulus.offer ?? offer,
      steps: steps + stimulus.steps(self) + probe(stimulus.moves) + [.state])
  }
}

extension Situation {
  static let all: [Situation] =
    [closed, listen, synSent, synReceived, synReceivedActively] + synchronized(.plain)

  /// Where data can flow, with the options of an offer.
  static func synchronized(_ offer: Script.Offer) -> [Situation] {
    [
      established, establishedActively, outstanding, finWait1, finWait1Orphaned, finWait2,
      finWait2Orphaned, closeWait, closing, lastAck, timeWait,
    ].map {
      var situation = $0
      situation.offer = offer
      return situation
    }
  }

  // MARK: Before the handshake is complete

  static let closed = Situation(
    name: "CLOSED", steps: [], receiveNext: 1, unacknowledged: 1, sendNext: 1,
    probe: { _ in [.segment(.syn, 5000)] })

  static let listen = Situation(
    name: "LISTEN", steps: [.listen], receiveNext: 1, unacknowledged: 1, sendNext: 1,
    probe: { _ in [.wait(milliseconds: 50), .accept, .receive()] })

  static let synSent = Situation(
    name: "SYN-SENT", offer: .all, steps: [.connect, .wait(milliseconds: 15)], receiveNext: 0,
    unacknowledged: 0, sendNext: 1,
    probe: { _ in
      // An unacceptable acknowledgement lets Linux repeat the SYN after two ticks.
      [
        .wait(milliseconds: 30), .state, .segment(.syn, 0, ack: 1), .wait(milliseconds: 50),
        .socketError, .receive(),
      ]
    })

  static let synReceived = Situation(
    name: "SYN-RECEIVED", steps: [.listen, .segment(.syn, 0), .wait(milliseconds: 15)],
    receiveNext: 1, unacknowledged: 0, sendNext: 1,
    probe: { moved in
      [
        .state, .segment([], 1 + moved, ack: 1), .segment(.psh, 1 + moved, count: 10, ack: 1),
        .wait(milliseconds: 50), .accept, .receive(),
      ]
    })

  /// After a simultaneous open.
  static let synReceivedActively = Situation(
    name: "SYN-RECEIVED (active)", offer: .all,
    steps: [.connect, .wait(milliseconds: 15), .segment(.syn, 0), .wait(milliseconds: 15)],
    receiveNext: 1, unacknowledged: 0, sendNext: 1,
    probe: { moved in
      [
        .state, .segment(.psh, 1 + moved, count: 10, ack: 1), .wait(milliseconds: 50),
        .socketError, .receive(),
      ]
    })

  // MARK: Synchronized

  private static let passiveOpen: [Step] = [
    .listen, .segment(.syn, 0), .wait(milliseconds: 15), .segment([], 1, ack: 1), .accept,
  ]
  private static let activeOpen: [Step] = [
    .connect, .wait(milliseconds: 15), .segment(.syn, 0, ack: 1),
  ]
  private static let exchange: [Step] = [
    .segment(.psh, 1, count: 1000, ack: 1), .receive(), .send(1000), .wait(milliseconds: 15),
    .segment([], 1001, ack: 1001),
  ]
  static let opened = passiveOpen + exchange

  private static let established = Situation(
    name: "ESTABLISHED", steps: opened, receiveNext: 1001, unacknowledged: 1001,
    sendNext: 1001, probe: probe(ack: 1001, sends: true))

  private static let establishedActively = Situation(
    name: "ESTABLISHED (active)", steps: activeOpen + exchange, receiveNext: 1001,
    unacknowledged: 1001, sendNext: 1001, probe: probe(ack: 1001, sends: true))

  /// ESTABLISHED with data in flight.
  private static let outstanding = Situation(
    name: "ESTABLISHED (in flight)", steps: opened + [.send(500)], receiveNext: 1001,
    unacknowledged: 1001, sendNext: 1501, probe: probe(ack: 1501, sends: true))

  private static let finWait1 = Situation(
    name: "FIN-WAIT-1", steps: opened + [.shutdown], receiveNext: 1001, unacknowledged: 1001,
    sendNext: 1002, probe: probe(ack: 1002))

  private static let finWait1Orphaned = Situation(
    name: "FIN-WAIT-1 (closed)", steps: opened + [.close], receiveNext: 1001,
    unacknowledged: 1001, sendNext: 1002, probe: probe(ack: 1002))

  private static let finWait2 = Situation(
    name: "FIN-WAIT-2", steps: opened + [.shutdown, .segment([], 1001, ack: 1002)],
    receiveNext: 1001, unacknowledged: 1002, sendNext: 1002, probe: probe(ack: 1002))

  private static let finWait2Orphaned = Situation(
    name: "FIN-WAIT-2 (closed)", steps: opened + [.close, .segment([], 1001, ack: 1002)],
    receiveNext: 1001, unacknowledged: 1002, sendNext: 1002, probe: probe(ack: 1002))

  private static let closeWait = Situation(
    name: "CLOSE-WAIT",
    steps: opened + [.segment(.fin, 1001, ack: 1001), .wait(milliseconds: 60)],
    receiveNext: 1002, unacknowledged: 1001, sendNext: 1001,
    probe: probe(ack: 1001, sends: true, isFinished: true))

  private static let closing = Situation(
    name: "CLOSING", steps: opened + [.shutdown, .segment(.fin, 1001, ack: 1001)],
    receiveNext: 1002, unacknowledged: 1001, sendNext: 1002,
    probe: probe(ack: 1002, isFinished: true))

  private static let lastAck = Situation(
    name: "LAST-ACK",
    steps: opened + [.segment(.fin, 1001, ack: 1001), .wait(milliseconds: 60), .close],
    receiveNext: 1002, unacknowledged: 1001, sendNext: 1002,
    probe: probe(ack: 1002, isFinished: true))

  private static let timeWait = Situation(
    name: "TIME-WAIT",
    steps: opened + [
      .close, .segment([], 1001, ack: 1002), .segment(.fin, 1001, ack: 1002),
    ],
    receiveNext: 1002, unacknowledged: 1002, sendNext: 1002,
    probe: probe(ack: 1002, isFinished: true))

  /// The peer sends what fits, the application reads and asks for errors, and sends if it may.
  private static func probe(
    ack: Int, sends: Bool = false, isFinished: Bool = false
  ) -> @Sendable (_ moved: Int) -> [Step] {
    { moved in
      // Behind a FIN nothing moves any more.
      let next = isFinished ? 1002 : 1001 + moved
      return [
        .wait(milliseconds: 60), .state, .receive(),
        .segment(.psh, next, count: 10, ack: ack), .wait(milliseconds: 60), .receive(),
      ] + (sends ? [.send(10)] : []) + [.socketError, .receive(), .wait(milliseconds: 20)]
    }
  }
}
