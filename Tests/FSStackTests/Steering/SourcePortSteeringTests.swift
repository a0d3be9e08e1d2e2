import FSRing
import Testing

@testable import FSStack

/// Which source ports an engine looks at.
@Suite struct SourcePortSteeringTests {
  /// From any port it goes straight to the next one of its own, for every number of engines: as many steps
  /// as asking each port would take.
  @Test func goesFromOwnPortToOwnPort() {
    let flow = Flow(
      local: IPAddress(v4: 192, 0, 2, 1), localPort: 0, remote: IPAddress(v4: 198, 51, 100, 7),
      remotePort: 80)
    for count in 1...65 {
      let ownership = FlowOwnership(
        EngineConfiguration(engineIndex: 0, engineCount: count, secret: (1, 2, 3, 4)))
      defer { ownership.deallocate() }
      for engine in Set([0, 1, count / 2, count - 1]) where engine < count {
        let steering = SourcePortSteering(
          flow, engine: engine, engineCount: count, ownership, arrivals: nil)
        for port: UInt16 in 36864..<37120 {
          let next = (port...).first {
            Engine.engine(ofActivePort: $0, engineCount: count) == engine
          }
          #expect(next == port + UInt16(steering.portsOfOthers(from: port)))
        }
      }
    }
  }
}
