import FSRing
import Testing

@testable import FSStack

/// Connections that are handed over to the kernel.
@Suite struct ExportTests {
  private func export(
    _ pair: ScriptedPair, _ socket: TestSocket, before: Instant = .never
  ) -> Result<ExportedConnection, Engine.ExportRefusal> {
    let claim = Engine.ExportClaim(channel: pair.server.channel, before: before)
    return pair.simulation.a.engines[0].control {
      $0.exportConnection(socket.flowAddress, claims: [claim], now: pair.simulation.now)
    }
  }

  /// The numbers, windows, options and bytes are those of the connection.
  @Test func description() throws {
    let pair = ScriptedPair()
    let socket = pair.open {
      $0.options.maximumSegmentSize = 1000
      $0.options.windowScale = 3
      $0.options.sackPermitted = true
    }
    pair.peer.window = 500
    pair.peer.send([], 1, count: 300, ack: 1)
    socket.read(100)
    socket.consume()
    socket.send(6000)
    pair.simulation.run(for: .milliseconds(1))
    pair.peer.send([], 301, ack: 1001)
    let exported = try export(pair, socket).get()
    let initial = pair.peer.otherInitial
    #expect(exported.address == socket.flowAddress && exported.listener == 1)
    #expect(exported.sendUnacknowledged == (initial + 1001).value)
    #expect(exported.receiveNext == (pair.peer.initial + 301).value)
    #expect(exported.windowUpdateSequence == exported.receiveNext)
    #expect(exported.sendWindow == 4000 && exported.largestSendWindow >= 4000)
    #expect(exported.sendScale == 3 && exported.maximumSegmentSize == 1000)
    #expect(exported.permitsSelectiveAcknowledgements && exported.timestamp == nil)
    #expect(!exported.isReadOver && !exported.isWriteShut)
    #expect(exported.unread.count == 200 && exported.unacknowledged.count == 4000)
    #expect(exported.unsent.count == 1000)
    #expect(socket.matches(exported.unread, from: 100, isSent: false))
    #expect(
      socket.matches(exported.unacknowledged + exported.unsent, from: 1000, isSent: true))
    // The application has all its chunks back, and closes the slot.
    _ = pair.peer.take()
    pair.simulation.run(for: .milliseconds(1))
    #expect(socket.hasMoved && socket.isDrained && socket.error == nil)
    socket.close()
    pair.simulation.run(for: .milliseconds(1))
    #expect(pair.peer.take() == [])
    #expect(pair.simulation.leftovers() == [])
    #expect(pair.simulation.a.engines[0].engine.statistics().counters.exported == 1)
  }

  /// Timestamps go on from what the connection has last sent.
  @Test func timestamps() throws {
    let pair = ScriptedPair()
    let socket = pair.open {
      $0.options.hasTimestamp = true
      $0.options.timestampValue = 7
    }
    pair.peer.send([], 1, count: 10, ack: 1) {
      $0.options.hasTimestamp = true
      $0.options.timestampValue = 8
    }
    pair.simulation.run(for: .milliseconds(60))
    let last = try #require(pair.simulation.trace.entries.last?.segment.options.timestampValue)
    let exported = try export(pair, socket).get()
    let value = try #require(exported.timestamp)
    #expect((0...100).contains(Int32(bitPattern: value &- last)))
  }

  /// Whatever has been shut down stays so: the ends of the streams are described, in every state.
  @Test(arguments: [
    TCPState.closeWait, .finWait1, .finWait2, .closing, .lastAck,
  ])
  func shutDown(_ state: TCPState) throws {
    let pair = ScriptedPair()
    let socket = pair.open()
    if state == .closeWait || state == .lastAck { pair.peer.send(.fin, 1, count: 5, ack: 1) }
    if state != .closeWait {
      socket.send(10)
      socket.shutdown()
      pair.simulation.run(for: .milliseconds(1))
    }
    if state == .finWait2 { pair.peer.send([], 1, ack: 12) }
    if state == .closing { pair.peer.send(.fin, 1, count: 5, ack: 1) }
    #expect(pair.simulation.a.engines[0].engine.statistics().connections[state] == 1)
    let exported = try export(pair, socket).get()
    let isReadOver = state != .finWait1 && state != .finWait2
    #expect(exported.isReadOver == isReadOver && exported.isWriteShut == (state != .closeWait))
    #expect(exported.unread.count == (isReadOver ? 5 : 0))
    #expect(exported.receiveNext == (pair.peer.initial + (isReadOver ? 7 : 1)).value)
    let isAcknowledged = state == .finWait2 || state == .closeWait
    #expect(exported.unacknowledged.count == (isAcknowledged ? 0 : 10))
    // The FIN is none of the bytes: it will be sent again.
    let una: UInt32 = state == .finWait2 ? 11 : 1
    #expect(exported.sendUnacknowledged == (pair.peer.otherInitial + una).value)
  }

  /// What still arrives is dropped for a second, unanswered, and then is nobody's.
  @Test func stragglers() throws {
    let pair = ScriptedPair()
    let socket = pair.open()
    _ = try export(pair, socket).get()
    pair.simulation.run(for: .milliseconds(1))
    _ = pair.peer.take()
    pair.peer.send([], 1, count: 100, ack: 1)
    pair.peer.send(.syn, 1)
    pair.peer.send(.rst, 1)
    #expect(pair.peer.take() == [] && pair.drops(.movedToKernel) == 3)
    pair.simulation.run(for: .seconds(1))
    pair.peer.send([], 1, count: 100, ack: 1)
    #expect(pair.peer.take() == ["A> RST 1"] && pair.drops(.movedToKernel) == 3)
    socket.close()
  }

  /// Only the owner's, and only what it had in time.
  @Test func claims() throws {
    let pair = ScriptedPair()
    let before = pair.simulation.now
    pair.simulation.run(for: .milliseconds(1))
    let socket = pair.open()
    let other = TestApplication(on: pair.simulation.a.engines[0])
    let engine = pair.simulation.a.engines[0]
    let foreign = engine.control {
      $0.exportConnection(
        socket.flowAddress, claims: [.init(channel: other.channel)], now: pair.simulation.now)
    }
    #expect(foreign == .failure(.unknown))
    #expect(export(pair, socket, before: before) == .failure(.unknown))
    #expect(
      engine.engine.exportableConnections(.init(channel: pair.server.channel, before: before))
        == [])
    #expect(
      engine.engine.exportableConnections(.init(channel: pair.server.channel))
        == [socket.flowAddress])
    var unknown = socket.flowAddress
    unknown.remotePort += 1
    let none = engine.control {
      $0.exportConnection(
        unknown, claims: [.init(channel: pair.server.channel)], now: pair.simulation.now)
    }
    #expect(none == .failure(.unknown))
    // A command that the engine has not seen yet counts: the application has closed it.
    socket.close()
    #expect(export(pair, socket) == .failure(.unknown))
    pair.peer.send([], 1, ack: 1)
    #expect(pair.peer.take().first == "A> FIN ACK 1 ack 1")
  }

  /// A connection that is being opened stays.
  @Test func opening() {
    let simulation = Simulation(engines: (1, 0))
    let client = TestApplication(on: simulation.a.engines[0])
    let socket = client.connect(to: simulation.b.address, port: 80, localPort: 40000)
    simulation.run(for: .milliseconds(1))
    let flow = FlowAddress(
      local: simulation.a.address, localPort: 40000, remote: simulation.b.address, remotePort: 80)
    let result = simulation.a.engines[0].control {
      $0.exportConnection(
        flow, claims: [.init(channel: client.channel)], now: simulation.now)
    }
    #expect(result == .failure(.opening))
    #expect(
      simulation.a.engines[0].engine.exportableConnections(.init(channel: client.channel)) == [])
    socket.close()
  }

  /// What the application sends before it knows is not taken, and its chunks come back at the close.
  @Test func lateBytes() throws {
    let pair = ScriptedPair()
    let socket = pair.open()
    pair.server.latency = .milliseconds(10)
    _ = try export(pair, socket).get()
    pair.simulation.run(for: .milliseconds(1))
    socket.send(5000)
    pair.simulation.run(for: .milliseconds(1))
    #expect(!socket.isDrained)
    pair.simulation.run(for: .milliseconds(20))
    #expect(socket.hasMoved && socket.bytesAcknowledged == 0 && !socket.isDrained)
    socket.read()
    socket.close()
    pair.simulation.run(for: .milliseconds(20))
    #expect(pair.simulation.leftovers() == [])
    _ = pair.peer.take()
  }

  /// What the application reads before it knows is no violation.
  @Test func lateReading() throws {
    let pair = ScriptedPair()
    let socket = pair.open()
    pair.peer.send([], 1, count: 1000, ack: 1)
    pair.server.latency = .milliseconds(10)
    let exported = try export(pair, socket).get()
    #expect(exported.unread.count == 1000)
    pair.simulation.run(for: .milliseconds(1))
    socket.read()
    socket.close()
    pair.simulation.run(for: .milliseconds(20))
    #expect(pair.simulation.leftovers() == [])
  }
}
