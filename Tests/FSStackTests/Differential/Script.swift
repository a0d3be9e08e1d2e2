@testable import FSStack

/// What a peer and an application do with one TCP: the same for the engine and for Linux.
///
/// In the spirit of packetdrill, but nothing is expected: the answers of the two are compared.
struct Script: Sendable {
  /// `situation/event`, or a subject and a name.
  var name: String
  var offer = Offer()
  var steps: [Step]

  /// The options of the peer's SYN.
  struct Offer: Sendable {
    var maximumSegmentSize: UInt16 = 1460
    var windowScale: UInt8?
    var sackPermitted = false
    var timestamps = false

    static let plain = Offer()
    static let timestamps = Offer(timestamps: true)
    static let sack = Offer(sackPermitted: true)
    static let all = Offer(windowScale: 7, sackPermitted: true, timestamps: true)
  }
}

/// One step of a script. After each, the answers of 5 ms are collected; `wait` collects for longer.
enum Step: Sendable {
  /// The peer sends segments, one immediately after the other.
  case segments([PeerSegment])
  /// The application: a nonblocking listener, the next connection, a nonblocking connect(2).
  case listen
  case accept
  case connect
  /// send(2) of the next bytes of the pattern, with MSG_MORE or without.
  case send(Int, more: Bool = false)
  /// recv(2) with a buffer of that size.
  case receive(Int = 65536)
  case shutdown
  case close
  /// close(2) after SO_LINGER with a time of 0.
  case abort
  /// setsockopt(2) with an int.
  case option(SocketOption, Int32)
  /// getsockopt(SO_ERROR).
  case socketError
  /// The state of the connection as a kernel's table shows it.
  case state
  case wait(milliseconds: Int)
  /// The peer sends until the window is full. RCV.NXT is 100,001 then, however large the window was.
  case fill
  /// recv(2) until there is nothing; what is more than `fill` has sent counts.
  case drain

  /// One segment.
  static func segment(
    _ flags: TCPFlags, _ sequence: Int, count: Int = 0, ack: Int? = nil,
    change: (inout PeerSegment) -> Void = { _ in }
  ) -> Step {
    .segments([PeerSegment(flags, sequence, count: count, ack: ack, change: change)])
  }

  /// How long the answers are collected, milliseconds.
  var duration: Int {
    switch self {
    case .wait(let milliseconds): milliseconds
    // The last of it may be acknowledged later.
    case .fill: 100
    default: 5
    }
  }
}

/// Options that scripts set, with their numbers in Linux.
enum SocketOption: Sendable {
  case noDelay, cork, quickAcknowledgements, maximumSegmentSize, userTimeout
  case keepAlive, receiveBuffer

  var level: Int32 {
    switch self {
    case .keepAlive, .receiveBuffer: 1
    default: 6
    }
  }

  var number: Int32 {
    switch self {
    case .noDelay: 1
    case .maximumSegmentSize: 2
    case .cork: 3
    case .quickAcknowledgements: 12
    case .userTimeout: 18
    case .keepAlive: 9
    case .receiveBuffer: 8
    }
  }
}

extension Step: CustomStringConvertible {
  var description: String {
    switch self {
    case .segments(let segments): segments.map { "< \($0)" }.joined(separator: "  ")
    case .send(let count, let more): "send \(count)" + (more ? " more" : "")
    case .receive(let count): "receive \(count)"
    case .option(let option, let value): "option \(option) \(value)"
    case .wait(let milliseconds): "wait \(milliseconds)"
    case .listen: "listen"
    case .accept: "accept"
    case .connect: "connect"
    case .shutdown: "shutdown"
    case .close: "close"
    case .abort: "abort"
    case .socketError: "error"
    case .state: "state"
    case .fill: "fill"
    case .drain: "drain"
    }
  }
}
