import Testing

@testable import FSStack

@Suite struct HandshakeTests {
  @Test(arguments: [true, false])
  func opensAndCloses(isIPv4: Bool) {
    let simulation = Simulation(isIPv4: isIPv4)
    let server = TestApplication(on: simulation.a.engines[0])
    let client = TestApplication(on: simulation.b.engines[0])
    server.listen(port: 80, isIPv4: isIPv4, now: simulation.now)
    let socket = client.connect(to: simulation.a.address, port: 80)
    simulation.run(for: .milliseconds(5))
    #expect(simulation.trace.take() == ["B> SYN 0", "A> SYN ACK 0 ack 1", "B> ACK 1 ack 1"])
  }
}
