import FSRing
import Foundation
import Testing

@testable import FSStack

/// Explicit congestion notification (RFC 3168), as a trace.
@Suite struct ExplicitCongestionTests {
  /// A connection that the peer has opened with ECN; what was sent is forgotten.
  private func open(_ options: SimulatedHost.Options = .init()) -> (ScriptedPair, TestSocket) {
    let pair = ScriptedPair(options: options)
    pair.peer.send([.syn, .ece, .cwr], 0) { $0.options.maximumSegmentSize = 1460 }
    pair.peer.send([], 1, ack: 1)
    pair.simulation.trace.keepsNumbers = true
    _ = pair.peer.take()
    guard let socket = pair.server.accept() else { fatalError("not accepted") }
    return (pair, socket)
  }

  private func control(_ pair: ScriptedPair) -> CongestionControl {
    pair.simulation.a.engines[0].engine.connections[ConnectionID(raw: 0)].congestion
  }

  private func marked(_ header: inout OutgoingHeader) { header.trafficClass = 3 }

  // MARK: Negotiation (section 6.1.1)

  /// A SYN with ECE and CWR asks; ECE alone agrees (SHLD-8).
  @Test func accepted() {
    let pair = ScriptedPair()
    pair.peer.send([.syn, .ece, .cwr], 0)
    #expect(pair.peer.take() == ["A> SYN ACK ECE 0 ack 1"])
    pair.peer.send([], 1, ack: 1)
    pair.server.accept()?.send(10)
    pair.simulation.run(for: .microseconds(500))
    #expect(pair.peer.take() == ["A> PSH ACK 1:11 ack 1 ect0"])
  }

  /// Who asks otherwise, or an engine that does not want it, gets an ordinary connection.
  @Test(
    arguments: [
      ([.syn], 0, .accept), ([.syn, .ece], 0, .accept), ([.syn, .cwr], 0, .accept),
      ([.syn, .ece, .cwr], 2, .accept), ([.syn, .ece, .cwr], 0, .off),
    ] as [(TCPFlags, UInt8, ECNPolicy)])
  func notAccepted(flags: TCPFlags, trafficClass: UInt8, policy: ECNPolicy) {
    let pair = ScriptedPair(options: .init(ecn: policy))
    pair.peer.send(flags, 0) { $0.trafficClass = trafficClass }
    #expect(pair.peer.take() == ["A> SYN ACK 0 ack 1"])
    pair.peer.send([], 1, ack: 1)
    pair.server.accept()?.send(10)
    pair.simulation.run(for: .microseconds(500))
    #expect(pair.peer.take() == ["A> PSH ACK 1:11 ack 1"])
  }

  /// The peer has tried with ECN and then, because nothing came back, without (section 6.1.1.1).
  @Test func peerGivesUp() {
    let pair = ScriptedPair()
    pair.peer.send([.syn, .ece, .cwr], 0)
    pair.simulation.trace.keepsNumbers = true
    pair.peer.send([.syn], 0)
    pair.peer.send([], 1, ack: 1)
    #expect(pair.peer.take() == ["A> SYN ACK ECE 0 ack 1", "A> SYN ACK 0 ack 1"])
    pair.server.accept()?.send(10)
    pair.simulation.run(for: .microseconds(500))
    #expect(pair.peer.take() == ["A> PSH ACK 1:11 ack 1"])
  }

  /// The engine asks if it is told to. An answer with both bits is no answer: a box has sent them back.
  @Test(
    arguments: [
      (.ece, true), ([], false), ([.ece, .cwr], false), (.cwr, false),
    ] as [(TCPFlags, Bool)])
  func requested(answer: TCPFlags, isAgreed: Bool) {
    let simulation = Simulation(engines: (1, 0), options: .init(ecn: .request))
    let application = TestApplication(on: simulation.a.engines[0])
    let peer = ScriptedPeer(simulation, port: 80, to: 50_000)
    peer.isServer = true
    let socket = application.connect(to: simulation.b.address, port: 80, localPort: 50_000)
    simulation.run(for: .milliseconds(1))
    #expect(peer.take() == ["A> SYN ECE CWR 0"])
    peer.send(answer.union([.syn, .ack]), 0, ack: 1)
    socket.send(10)
    simulation.run(for: .microseconds(500))
    #expect(
      peer.take() == ["A> ACK 1 ack 1", "A> PSH ACK 1:11 ack 1\(isAgreed ? " ect0" : "")"])
  }

  /// A SYN that is lost goes out again without (section 6.1.1.1): a box may drop what it does not know.
  @Test func requestFallsBack() {
    let simulation = Simulation(engines: (1, 0), options: .init(ecn: .request))
    let application = TestApplication(on: simulation.a.engines[0])
    let peer = ScriptedPeer(simulation, port: 80, to: 50_000)
    application.connect(to: simulation.b.address, port: 80, localPort: 50_000)
    simulation.run(for: .milliseconds(1500))
    #expect(peer.take() == ["A> SYN ECE CWR 0", "A> SYN 0"])
  }

  // MARK: Receiver (section 6.1.3)

  /// After a mark every segment carries ECE until the sender says that it has reduced its window; a
  /// segment that says so and is marked itself begins again.
  @Test func echo() {
    let (pair, socket) = open()
    pair.peer.send([], 1, count: 100, ack: 1, change: marked)
    #expect(pair.peer.take() == ["A> ACK ECE 1 ack 101"])
    for first in [101, 201] { pair.peer.send([], first, count: 100, ack: 1) }
    pair.simulation.run(for: .milliseconds(50))
    let echoes = pair.peer.take()
    #expect(!echoes.isEmpty && echoes.allSatisfy { $0.hasPrefix("A> ACK ECE 1 ack ") })
    socket.send(10)
    pair.simulation.run(for: .microseconds(500))
    #expect(pair.peer.take() == ["A> PSH ACK ECE 1:11 ack 301 ect0"])
    pair.peer.send([.cwr], 301, count: 100, ack: 11)
    #expect(pair.peer.take() == ["A> ACK 11 ack 401"])
    pair.peer.send([.cwr], 401, count: 100, ack: 11, change: marked)
    #expect(pair.peer.take() == ["A> ACK ECE 11 ack 501"])
    let counters = pair.simulation.a.engines[0].engine.statistics().counters
    #expect(counters.congestionMarks == 2)
  }

  /// CWR without data says nothing, and a mark on what is outside the window is ignored
  /// (section 6.1.5).
  @Test func onlyWindowData() {
    let (pair, _) = open()
    pair.peer.send([], 1, count: 100, ack: 1, change: marked)
    pair.peer.send([.cwr], 101, ack: 1)
    pair.peer.send([], 101, count: 10, ack: 1)
    pair.simulation.run(for: .milliseconds(50))
    #expect(pair.peer.take().last == "A> ACK ECE 1 ack 111")
    pair.peer.send([.cwr], 111, count: 10, ack: 1)
    _ = pair.peer.take()
    pair.peer.send([], 1, count: 100, ack: 1, change: marked)
    #expect(pair.peer.take() == ["A> ACK 1 ack 121"])
  }

  // MARK: Sender (section 6.1.2)

  /// One reduction in a round trip, and CWR with the first new data after it.
  @Test func reaction() {
    let (pair, socket) = open()
    socket.send(60_000)
    pair.simulation.run(for: .microseconds(500))
    #expect(pair.peer.take().count == 10)
    pair.peer.send([.ece], 1, ack: 1461)
    // The window grew by a segment before the echo was looked at: to 0.7 * 16060.
    let window = control(pair).window
    #expect(window == 16_060 * 7 / 10 && control(pair).slowStartThreshold == window)
    #expect(pair.peer.take() == [])
    for segment in 2...9 { pair.peer.send([.ece], 1, ack: 1 + 1460 * segment) }
    #expect(control(pair).window == window)
    let sent = pair.peer.take()
    #expect(sent.first == "A> ACK CWR 14601:16061 ack 1 ect0")
    #expect(sent.dropFirst().allSatisfy { !$0.contains("CWR") && $0.hasSuffix("ect0") })
    // The echo of a mark that came before CWR is no news; one beyond it is.
    pair.peer.send([.ece], 1, ack: 14_601)
    #expect(control(pair).window == window)
    pair.peer.send([.ece], 1, ack: 16_061)
    #expect(control(pair).window < window)
    let counters = pair.simulation.a.engines[0].engine.statistics().counters
    #expect(counters.congestionEchoes == 11 && counters.retransmissions == 0)
  }

  /// What is sent again is not ECN-capable (section 6.1.5); the reduction after loss is told, too.
  @Test func loss() {
    let (pair, socket) = open()
    socket.send(30_000)
    pair.simulation.run(for: .milliseconds(230))
    #expect(pair.peer.take().last == "A> ACK 1:1461 ack 1")
    // Not of more than was sent again: the timeout would have been for nothing (RFC 5682).
    pair.peer.send([], 1, ack: 1461)
    let sent = pair.peer.take()
    #expect(sent.first == "A> ACK CWR 14601:16061 ack 1 ect0")
    #expect(sent.filter { $0.contains("CWR") }.count == 1)
  }

  /// Echoes on a connection without ECN are ignored.
  @Test func notNegotiated() {
    let pair = ScriptedPair()
    let socket = pair.open()
    socket.send(10_000)
    pair.simulation.run(for: .microseconds(500))
    pair.peer.send([.ece], 1, ack: 1461)
    pair.peer.send([], 1, count: 10, ack: 1461, change: marked)
    #expect(control(pair).slowStartThreshold == .max)
    pair.simulation.run(for: .milliseconds(50))
    #expect(pair.peer.take().allSatisfy { !$0.contains("ECE") && !$0.contains("ect") })
  }

  /// IP_TOS and IPV6_TCLASS keep their differentiated services code point; its last two bits are not
  /// the application's.
  @Test(arguments: [true, false])
  func differentiatedServices(isIPv4: Bool) {
    let pair = Pair(isIPv4: isIPv4, options: .init(ecn: .request))
    let (server, client) = pair.connect()
    server.setOption(level: isIPv4 ? 0 : 41, name: isIPv4 ? 1 : 67, 0xbb)
    server.send(10)
    pair.simulation.run(for: .milliseconds(100))
    client.read()
    let frames = pair.simulation.trace.entries.filter { $0.sender == "A" }
    #expect(frames.first?.line == "A> PSH ACK 1:11 ack 1 ect0")
    #expect(client.bytesReceived == 10)
  }

  // MARK: DCTCP (RFC 8257)

  /// Each acknowledgement tells of marked or of unmarked bytes: at a change, what came before is
  /// acknowledged first.
  @Test func preciseEcho() {
    let (pair, _) = open(.init(congestion: .dctcp))
    pair.peer.send([], 1, count: 100, ack: 1)
    pair.peer.send([], 101, count: 100, ack: 1, change: marked)
    _ = pair.peer.take()
    pair.peer.send([], 201, count: 100, ack: 1, change: marked)
    pair.peer.send([], 301, count: 100, ack: 1)
    pair.simulation.run(for: .milliseconds(50))
    let lines = pair.peer.take()
    // Of what is acknowledged up to 301 the peer hears with ECE, of the rest without.
    #expect(lines.contains("A> ACK ECE 1 ack 301") && lines.last == "A> ACK 1 ack 401", "\(lines)")
  }

  /// Alpha is the average of the share of marked bytes (section 3.3), and the window falls by half of
  /// it.
  @Test func alpha() {
    var dctcp = DCTCP()
    var sequence = SequenceNumber(0)
    /// Windows of 100 segments, every `period`th segment marked.
    func run(windows: Int, period: Int) {
      for index in 0..<windows * 101 {
        sequence += 1000
        dctcp.observed(
          1000, isMarked: period > 0 && index % period == 0, sendUnacknowledged: sequence,
          sendNext: sequence + 100_000)
      }
    }
    // The first window is a segment longer.
    sequence += 1000
    dctcp.observed(
      1000, isMarked: false, sendUnacknowledged: sequence, sendNext: sequence + 100_000)
    // It begins with 1, and without marks loses a sixteenth in each window.
    for windows in 1...40 {
      run(windows: 1, period: 0)
      let expected = 1024 * pow(15.0 / 16, Double(windows))
      #expect(abs(Double(dctcp.alpha) - expected) < 16, "\(windows): \(dctcp.alpha)")
    }
    run(windows: 100, period: 0)
    #expect(dctcp.alpha == 0 && dctcp.reducedByMarks(window: 1_000_000) == 1_000_000)
    for period in [1, 2, 4, 10] {
      run(windows: 200, period: period)
      let alpha = Double(dctcp.alpha) / 1024
      #expect(abs(alpha - 1 / Double(period)) < 0.02, "\(alpha)")
      let window = Double(dctcp.reducedByMarks(window: 1_000_000))
      #expect(abs(window - 1_000_000 * (1 - alpha / 2)) < 2)
    }
    // Loss is loss (section 3.5).
    #expect(dctcp.reduced(window: 1_000_000, inFlight: 1_000_000) == 500_000)
  }
}
