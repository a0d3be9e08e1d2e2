import FSDevice
import FSStack
import Glibc
import Testing

/// The kernel goes on with everything that is not ours, on the same interface and address.
@Suite(.serialized) struct CoexistenceTests {
  private func exchange(_ network: TestNetwork, port: UInt16) throws -> Bool {
    let listener = try network.host { try KernelSocket.listen(port: port) }
    guard
      let client = try network.peer({
        KernelSocket.connect(to: TestNetwork.hostAddress, port: port)
      }), let server = listener.accept()
    else { return false }
    client.send("hello")
    guard server.receive() == "hello" else { return false }
    server.send("goodbye")
    return client.receive() == "goodbye"
  }

  @Test(arguments: [XDPProgram.AttachPreference.native, .generic])
  func kernelKeepsItsOwn(preference: XDPProgram.AttachPreference) throws {
    let network = try TestNetwork()
    let program = try network.program(preference)
    let socket = try network.socket(program)
    try program.setSocket(queue: 0, descriptor: socket.descriptor)
    try program.setPort(XDPProgram.anyIPv4, 8080, flags: [])
    program.setActiveRange(36864...57343)

    #expect(try network.peer { ping(TestNetwork.hostAddress) })
    #expect(try network.peer { ping(TestNetwork.hostAddress6) })
    #expect(try exchange(network, port: 2222))
    #expect(program.counters().redirectedTCP == 0)
    #expect(socket.receiveBurst(maximum: 64, announce: { _ in }) { _ in } == 0)
  }

  @Test(arguments: [XDPProgram.AttachPreference.native, .generic])
  func aClientOfTheKernelReachesTheSocket(preference: XDPProgram.AttachPreference) throws {
    let network = try TestNetwork()
    let program = try network.program(preference)
    let socket = try network.socket(program)
    try program.setSocket(queue: 0, descriptor: socket.descriptor)
    try program.setPort(XDPProgram.anyIPv4, 8080, flags: [])
    let listener = try network.host { try KernelSocket.listen(port: 8080) }
    // Nobody answers in place of the stack: the kernel, which listens too, never sees the SYN.
    #expect(
      try network.peer { KernelSocket.connect(to: TestNetwork.hostAddress, port: 8080) } == nil)
    var received: [[UInt8]] = []
    _ = socket.receiveBurst(maximum: 64, announce: { _ in }) { received.append(Array($0)) }
    let syn = try #require(received.first)
    #expect(Array(syn[0..<12]) == TestNetwork.hostMAC.bytes + TestNetwork.peerMAC.bytes)
    #expect(Array(syn[36..<38]) == Frame.big(8080) && syn[47] == Frame.syn)
    // The checksum field has the sum of the pseudo-header only, which is why the interface counts
    // as virtual.
    let length = UInt16(syn.count - 34)
    let words = [0x0a4d, 0x0001, 0x0a4d, 0x0002, 6, UInt32(length)].reduce(0, +)
    #expect(Array(syn[50..<52]) == Frame.big(UInt16(words & 0xffff) + UInt16(words >> 16)))
    withExtendedLifetime(listener) {}
  }

  @Test func emptySlotPassesToTheKernel() throws {
    let network = try TestNetwork()
    let program = try network.program()
    try program.setPort(XDPProgram.anyIPv4, 8080, flags: [])
    #expect(try exchange(network, port: 8080))
    #expect(program.counters().passedNoSocket >= 4)

    let socket = try network.socket(program)
    try program.setSocket(queue: 0, descriptor: socket.descriptor)
    program.clearSocket(queue: 0)
    #expect(try exchange(network, port: 8080))
    // Closing a socket empties its slot too.
    try program.setSocket(queue: 0, descriptor: socket.descriptor)
    socket.close()
    #expect(try exchange(network, port: 8080))
    #expect(program.counters().redirectedTCP == 0)
  }

  @Test func connectionsOfTheKernelStayWithIt() throws {
    let network = try TestNetwork()
    let listener = try network.host { try KernelSocket.listen(port: 8080) }
    let connected = try network.peer {
      KernelSocket.connect(to: TestNetwork.hostAddress, port: 8080)
    }
    let client = try #require(connected)
    let server = try #require(listener.accept())
    let count = try network.host { try KernelFlows.count(localPort: 8080) }
    #expect(count.live == 1 && count.listening == 1 && count.timeWait == 0)

    let program = try network.program()
    let socket = try network.socket(program)
    try program.setSocket(queue: 0, descriptor: socket.descriptor)
    try program.setPort(XDPProgram.anyIPv4, 8080, flags: .kernelFlows)
    client.send("old connection")
    #expect(server.receive() == "old connection")
    #expect(program.counters().passedKernelFlow > 0)
    #expect(program.counters().redirectedTCP == 0)

    // A new connection is ours, although the kernel listens.
    let peer = try network.peer { try PacketSocket(on: "fsdev1") }
    let syn = Frame.ethernet(0x0800, Frame.ipv4(Frame.tcp(to: 8080)))
    try peer.send(syn)
    var received: [[UInt8]] = []
    #expect(
      eventually {
        socket.receiveBurst(maximum: 8, announce: { _ in }) { received.append(Array($0)) } > 0
      })
    #expect(received == [syn])

    // An error about the kernel's connection is the kernel's too.
    let errors = program.counters().passedKernelFlow
    let quoted = Frame.ipv4(
      from: TestNetwork.hostAddress, to: TestNetwork.peerAddress,
      Array(Frame.tcp(from: 8080, to: try localPort(client)).prefix(8)))
    try peer.send(Frame.ethernet(0x0800, Frame.ipv4(protocol: 1, Frame.icmp(3, 1, quoted))))
    #expect(eventually { program.counters().passedKernelFlow > errors })
    #expect(program.counters().redirectedICMP == 0)
  }

  @Test func socketsOfTheKernelInTheActiveRange() throws {
    let network = try TestNetwork()
    let program = try network.program()
    let socket = try network.socket(program)
    try program.setSocket(queue: 0, descriptor: socket.descriptor)
    program.setActiveRange(36864...57343, flags: .kernelFlows)
    #expect(try exchange(network, port: 40000))
    let remote = try network.peer { try KernelSocket.listen(port: 9000) }
    let connected = try network.host {
      KernelSocket.connect(to: TestNetwork.peerAddress, port: 9000, from: 41000)
    }
    #expect(connected != nil)
    #expect(remote.accept() != nil)
    #expect(program.counters().redirectedTCP == 0)
    let count = try network.host { try KernelFlows.count(localPorts: 36864...57343) }
    #expect(count.live + count.timeWait >= 1)
  }

  /// A program that listens in the range after the daemon has looked is found by its first SYN.
  @Test func whoListensInTheActiveRangeLater() throws {
    let network = try TestNetwork()
    let program = try network.program()
    let socket = try network.socket(program)
    try program.setSocket(queue: 0, descriptor: socket.descriptor)
    program.setActiveRange(36864...57343)
    #expect(try exchange(network, port: 40000))
    #expect(program.counters().redirectedTCP == 0)
    // Where nobody listens a SYN is the stack's, to answer or because it crosses its own.
    let peer = try network.peer { try PacketSocket(on: "fsdev1") }
    try peer.send(Frame.ethernet(0x0800, Frame.ipv4(Frame.tcp(to: 40002))))
    #expect(eventually { program.counters().redirectedTCP == 1 })
  }

  private func localPort(_ socket: KernelSocket) throws -> UInt16 {
    var address = sockaddr_in()
    var length = socklen_t(MemoryLayout<sockaddr_in>.size)
    let status = withUnsafeMutablePointer(to: &address) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        getsockname(socket.descriptor, $0, &length)
      }
    }
    try #require(status == 0)
    return UInt16(bigEndian: address.sin_port)
  }
}
