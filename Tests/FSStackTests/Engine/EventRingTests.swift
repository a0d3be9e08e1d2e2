import FSRing
import Testing

@testable import FSStack

/// A ring of events that is full: nothing is lost, and nobody waits for ever.
@Suite struct EventRingTests {
  /// An application that was away takes what is in the ring, and what had no room in it comes then,
  /// though nothing else wakes the engine.
  @Test func restFollows() {
    let pair = ScriptedPair()
    let socket = pair.open()
    pair.server.isStopped = true
    for index in 0..<100 { pair.peer.send(.psh, 1 + index, count: 1, ack: 1) }
    pair.simulation.run(for: .seconds(1))
    pair.server.isStopped = false
    pair.server.run()
    #expect(socket.unread == 64)
    pair.simulation.run(for: .milliseconds(1))
    #expect(socket.unread == 100)
    #expect(pair.server.leftovers() == ["slot 0 in use, open"])
  }

  /// Acknowledgements wake nobody, and may fill the ring: what comes behind them must wake the
  /// application for it to make room.
  @Test func ringFullOfTrifles() {
    let geometry = ChannelGeometry(
      commandCapacity: 64, eventCapacity: 64, receiveChunkCount: 64, sendChunkCount: 128,
      slotCount: 16)
    let pair = ScriptedPair(geometry: geometry)
    let socket = pair.open()
    socket.setOption(level: 6, name: 1, 1)
    for index in 0..<64 {
      socket.send(1)
      pair.simulation.run(for: .milliseconds(1))
      pair.peer.send([], 1, ack: 2 + index)
    }
    pair.peer.send(.psh, 1, count: 10, ack: 65)
    pair.simulation.run(for: .milliseconds(1))
    #expect(socket.unread == 10 && socket.isDrained)
  }

  /// An application that never reads what it is told has more acknowledged than its chunks hold.
  @Test func moreAcknowledgedThanCanBeTold() throws {
    let pair = ScriptedPair()
    _ = pair.open()
    pair.simulation.a.engines[0].control { engine in
      let id = ConnectionID(raw: 0)
      engine.connections[id].unreportedAcknowledged = .max - 1
      engine.returnBytes(id, 4096)
      #expect(engine.connections[id].unreportedAcknowledged == .max)
      engine.connections[id].unreportedAcknowledged = 0
    }
  }
}
