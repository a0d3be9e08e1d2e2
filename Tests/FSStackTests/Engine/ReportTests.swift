import FSRing
import Testing

@testable import FSStack

/// TCP_INFO: what the engine tells of a connection is what happened to it.
@Suite struct ReportTests {
  private func report(_ socket: TestSocket, _ simulation: Simulation) -> ConnectionReport {
    let answer = socket.inquire()
    #expect(answer() == nil)
    simulation.run(for: .microseconds(1))
    guard let report = answer() else {
      Issue.record("no answer")
      return ConnectionReport()
    }
    return report
  }

  @Test func ofAnIdleConnection() {
    let pair = Pair()
    let (server, _) = pair.connect()
    let report = report(server, pair.simulation)
    #expect(report.state == 1 && report.congestionState == 0 && report.retransmits == 0)
    // Timestamps, SACK, window scale.
    #expect(report.options == 7 && report.windowScales == 0x55)
    #expect(report.sendSegmentSize == 1448 && report.advertisedSegmentSize == 1448)
    #expect(report.pathMTU == 1500 && report.congestionWindow == 10)
    #expect(report.sendSlowStartThreshold == 0x7fff_ffff)
    #expect(report.unacknowledged == 0 && report.unsentBytes == 0)
    #expect(report.roundTrip > 0 && report.retransmissionTimeout >= 200_000)
    #expect(report.segmentsIn == 1 && report.segmentsOut == 1)
  }

  @Test func countsBytesAndSegments() {
    let pair = Pair()
    let (server, client) = pair.connect()
    client.send(3000)
    pair.simulation.run(for: .milliseconds(100))
    server.send(100)
    pair.simulation.run(for: .milliseconds(100))
    let receiver = report(server, pair.simulation)
    #expect(receiver.bytesReceived == 3000 && receiver.dataSegmentsIn == 3)
    #expect(receiver.bytesSent == 100 && receiver.bytesAcknowledged == 100)
    #expect(receiver.dataSegmentsOut == 1 && receiver.totalRetransmitted == 0)
    #expect((100...101).contains(receiver.lastDataSent))
    #expect((199...201).contains(receiver.lastDataReceived))
    let sender = report(client, pair.simulation)
    #expect(sender.bytesSent == 3000 && sender.bytesAcknowledged == 3000)
    #expect(sender.dataSegmentsOut == 3 && sender.bytesReceived == 100)
  }

  /// A peer that acknowledges nothing: backoff, retransmissions, and what has not been sent.
  @Test func ofAStalledConnection() {
    let pair = ScriptedPair()
    pair.peer.window = 500
    let socket = pair.open()
    socket.send(3000)
    pair.simulation.run(for: .seconds(4))
    let report = report(socket, pair.simulation)
    #expect(report.unacknowledged == 1 && report.unsentBytes == 2500 && report.sendWindow == 500)
    #expect(report.retransmits == report.backoff && report.retransmits > 0)
    #expect(report.totalRetransmitted == UInt32(report.retransmits))
    #expect(report.bytesRetransmitted == 500 * UInt64(report.retransmits))
    #expect(report.bytesSent == 500 + report.bytesRetransmitted)
    #expect(report.congestionState == 4 && report.options == 0)
  }

  @Test func ofADeadConnection() {
    let pair = ScriptedPair()
    let socket = pair.open()
    pair.peer.send(.rst, 1)
    #expect(report(socket, pair.simulation).state == 7)
  }

  /// Each place has its own report, and there are only so many.
  @Test func places() {
    let pair = ScriptedPair()
    let socket = pair.open()
    let answers = (0..<ChannelHeader.reportCount).map { socket.inquire(place: $0) }
    pair.simulation.run(for: .microseconds(1))
    #expect(answers.allSatisfy { $0()?.state == 1 })
    _ = socket.inquire(place: ChannelHeader.reportCount)
    pair.simulation.run(for: .microseconds(1))
    #expect(pair.simulation.a.engines[0].violations.map(\.1) == [.reportOutOfRange])
  }

  /// TCP_NOTSENT_LOWAT: the application hears when less than half of the mark is unsent.
  @Test func unsentLowWater() {
    let pair = ScriptedPair()
    pair.peer.window = 1000
    let socket = pair.open()
    socket.setOption(level: 6, name: 25, 2000)
    pair.simulation.run(for: .milliseconds(1))
    // That the option is set is no news to wake anybody for.
    pair.server.run()
    let before = pair.server.eventCount
    socket.send(4000)
    socket.application.wantSpace()
    pair.simulation.run(for: .milliseconds(1))
    #expect(pair.server.eventCount == before && socket.inFlight == 0)
    // All but 80 bytes are out, none is acknowledged.
    pair.peer.window = 3920
    pair.peer.send([], 1, ack: 1)
    #expect(pair.server.eventCount == before + 1 && socket.inFlight == 3920)
  }
}
