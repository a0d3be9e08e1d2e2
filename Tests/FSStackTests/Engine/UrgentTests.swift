import FSRing
import Testing

@testable import FSStack

/// RFC 9293 section 3.8.5 and RFC 6093, with Linux's reading of the pointer.
@Suite struct UrgentTests {
  /// A segment with URG and any pointer.
  private func send(_ pair: ScriptedPair, _ sequence: Int, count: Int, pointer: UInt16) {
    pair.peer.send([.psh, .urg], sequence, count: count, ack: 1) { $0.urgentPointer = pointer }
  }

  /// The mark is told once, also when it comes before its byte, and again when it advances
  /// (MUST-30, MUST-32, MUST-33, MUST-62); all bytes stay in the stream.
  @Test func marksArrive() {
    let pair = ScriptedPair()
    let socket = pair.open()
    send(pair, 1, count: 10, pointer: 10)
    #expect(socket.urgentMarks == [9] && socket.unread == 10)
    // Three bytes beyond the segment's end; then the same mark again.
    send(pair, 11, count: 10, pointer: 13)
    send(pair, 21, count: 2, pointer: 3)
    #expect(socket.urgentMarks == [9, 22])
    send(pair, 23, count: 10, pointer: 10)
    #expect(socket.urgentMarks == [9, 22, 31])
    socket.read()
    #expect(socket.bytesReceived == 32 && socket.firstWrongByte == nil)
    #expect(pair.server.leftovers().allSatisfy { $0.contains("in use") })
  }

  /// A mark that has been passed is old news, whatever repeats it.
  @Test func oldMarks() {
    let pair = ScriptedPair()
    let socket = pair.open()
    send(pair, 1, count: 10, pointer: 5)
    send(pair, 1, count: 10, pointer: 5)
    send(pair, 5, count: 16, pointer: 1)
    #expect(socket.urgentMarks == [4] && socket.unread == 20)
  }

  /// No pointer is an index: 0, and 65535 in a segment of ten bytes (CVE-2019-12255).
  @Test(arguments: [UInt16(0), 1, 11, 65535])
  func pointersAreNoIndices(pointer: UInt16) {
    let pair = ScriptedPair()
    let socket = pair.open()
    for number in 0..<20 { send(pair, 1 + 10 * number, count: 10, pointer: pointer) }
    socket.read()
    #expect(socket.bytesReceived == 200 && socket.firstWrongByte == nil)
    #expect(socket.urgentMarks.count == 20)
    #expect(socket.urgentMarks.first == max(Int(pointer) - 1, 0))
  }

  /// With FIN in the same segment, and in data ahead of a gap.
  @Test func withFinAndAheadOfAGap() {
    let pair = ScriptedPair()
    let socket = pair.open()
    send(pair, 11, count: 10, pointer: 10)
    #expect(socket.urgentMarks == [19] && socket.unread == 0)
    pair.peer.send([.psh], 1, count: 10, ack: 1)
    #expect(socket.urgentMarks == [19] && socket.unread == 20)
    pair.peer.send([.fin, .urg], 21, count: 5, ack: 1) { $0.urgentPointer = 5 }
    #expect(socket.urgentMarks == [19, 24] && socket.unread == 25 && socket.peerFinished)
  }

  /// The receiver's window is closed: URG counts all the same (MUST-66).
  @Test func zeroWindow() {
    let pair = ScriptedPair(options: .init(receiveBuffer: 4096))
    let socket = pair.open()
    for number in 0..<4 { pair.peer.send([], 1 + 1024 * number, count: 1024, ack: 1) }
    pair.simulation.run(for: .milliseconds(100))
    #expect(pair.peer.take().last?.contains("win 0") == true)
    send(pair, 4097, count: 0, pointer: 1)
    #expect(socket.urgentMarks == [4096])
  }

  /// Before the connection is given to an application.
  @Test func beforeAccept() {
    let pair = ScriptedPair()
    pair.server.pause(1, true)
    pair.peer.open()
    send(pair, 1, count: 10, pointer: 10)
    pair.server.pause(1, false)
    pair.simulation.run(for: .milliseconds(1))
    guard let socket = pair.server.accept() else {
      Issue.record("not accepted")
      return
    }
    #expect(socket.urgentMarks == [9] && socket.unread == 10)
  }

  /// Every segment before the mark has URG and a pointer to one past it, retransmissions too; after
  /// it none has.
  @Test func marksAreSent() {
    let pair = ScriptedPair()
    let socket = pair.open()
    socket.send(1500, urgent: true)
    pair.simulation.run(for: .milliseconds(1))
    #expect(
      pair.peer.take() == [
        "A> ACK URG 1:1461 ack 1 urg 1500", "A> PSH ACK URG 1461:1501 ack 1 urg 40",
      ])
    pair.peer.send([], 1, ack: 1461)
    pair.simulation.run(for: .milliseconds(400))
    #expect(pair.peer.take().contains("A> PSH ACK URG 1461:1501 ack 1 urg 40"))
    pair.peer.send([], 1, ack: 1501)
    socket.send(10)
    pair.simulation.run(for: .milliseconds(1))
    #expect(pair.peer.take() == ["A> PSH ACK 1501:1511 ack 1"])
  }

  /// Urgent data does not wait for Nagle's algorithm, and advances as often as one likes (MUST-31).
  @Test func advances() {
    let pair = ScriptedPair()
    let socket = pair.open()
    for _ in 0..<3 {
      socket.send(10, urgent: true)
      pair.simulation.run(for: .milliseconds(1))
    }
    #expect(
      pair.peer.take() == [
        "A> PSH ACK URG 1:11 ack 1 urg 10", "A> PSH ACK URG 11:21 ack 1 urg 10",
        "A> PSH ACK URG 21:31 ack 1 urg 10",
      ])
  }

  /// A peer whose window is closed is told that urgent data waits, at once and with each probe.
  @Test func closedWindow() {
    let pair = ScriptedPair()
    let socket = pair.open()
    pair.peer.window = 0
    pair.peer.send([], 1, ack: 1)
    socket.send(10, urgent: true)
    pair.simulation.run(for: .milliseconds(1))
    #expect(pair.peer.take() == ["A> ACK URG 1 ack 1 urg 10"])
    pair.simulation.run(for: .milliseconds(1100))
    #expect(
      pair.peer.take().prefix(2) == ["A> ACK URG 1 ack 1 urg 10", "A> ACK URG 0 ack 1 urg 11"])
    pair.peer.window = 1000
    pair.peer.send([], 1, ack: 1)
    #expect(pair.peer.take().last == "A> PSH ACK URG 1:11 ack 1 urg 10")
  }

  /// Beyond 64 KB the field says as much as it can.
  @Test func farMark() {
    let pair = ScriptedPair()
    let socket = pair.open()
    socket.sendBuffer = 100_000
    socket.send(80_000, urgent: true)
    pair.simulation.run(for: .milliseconds(1))
    #expect(pair.peer.take().first == "A> ACK URG 1:1461 ack 1 urg 65535")
  }

  /// Between two engines: the mark is where the sender's byte was, through loss.
  @Test func betweenEngines() {
    let pair = Pair()
    let (server, client) = pair.connect()
    var count = 0
    pair.simulation.loses = { sender, segment in
      guard sender == "B", segment.payloadLength > 0 else { return false }
      count += 1
      return count == 2
    }
    client.send(5000, urgent: true)
    client.send(1000)
    pair.simulation.run(for: .seconds(2))
    server.read()
    #expect(server.bytesReceived == 6000 && server.firstWrongByte == nil)
    #expect(server.urgentMarks == [4999])
  }
}
