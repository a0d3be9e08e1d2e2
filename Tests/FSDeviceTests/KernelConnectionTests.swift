import FSStack
import Foundation
import Glibc
import Synchronization
import Testing

@testable import FSDevice

/// The kernel goes on with connections that it has never seen, against its own TCP as the peer.
@Suite(.serialized) struct KernelConnectionTests {
  /// A connection on which the host is the server, with its listener.
  private struct Pair {
    let network: TestNetwork
    let listener: KernelSocket
    let client: KernelSocket
    let server: KernelSocket
    let flow: FlowAddress

    init() throws {
      network = try TestNetwork()
      listener = try network.host { try KernelSocket.listen(port: 8080) }
      let connected = try network.peer {
        KernelSocket.connect(to: TestNetwork.hostAddress, port: 8080)
      }
      client = try #require(connected)
      server = try #require(listener.accept())
      flow = try #require(server.flow)
    }

    func make(
      _ exported: ExportedConnection, isIPv6: Bool = false, user: UInt32 = 0
    ) throws -> KernelSocket {
      KernelSocket(
        descriptor: try network.host {
          try KernelConnection.make(.init(exported, isIPv6: isIPv6, user: user))
        })
    }

    /// What the peer's TCP has counted.
    func counter(_ name: String) throws -> Int {
      let text = try run("ip netns exec \(network.peer.name) nstat -asz \(name)")
      return text.split(separator: "\n").last.flatMap { Int($0.split(separator: " ")[1]) } ?? -1
    }
  }

  /// Beside the listener of its port, and with all bytes: unread, in flight, never sent.
  @Test func goesOn() throws {
    let pair = try Pair()
    pair.client.send("request")
    #expect(eventually { pair.server.readiness & Int32(POLLIN) != 0 })
    let exported = pair.server.dismantle(
      flow: pair.flow, unread: Array("request".utf8), unacknowledged: Array("lost, ".utf8),
      unsent: Array("and unsent".utf8))
    let socket = try pair.make(#require(exported))
    #expect(socket.receive() == "request")
    #expect(socket.flow == pair.flow)
    var answer = ""
    #expect(
      eventually {
        answer += pair.client.receive()
        return answer == "lost, and unsent"
      })
    pair.client.send("more")
    #expect(socket.receive() == "more")
    // Scales, SACK and timestamps are what both sides had agreed upon.
    #expect(socket.information[5] & 7 == 7)
    #expect(
      socket.information[6] == pair.client.information[6] >> 4 | pair.client.information[6] << 4)
    #expect(try pair.counter("TcpExtPAWSEstab") == 0 && pair.counter("TcpEstabResets") == 0)
    // The listener goes on, and another may follow it while the connection is there.
    #expect(
      try pair.network.peer {
        KernelSocket.connect(to: TestNetwork.hostAddress, port: 8080)
      } != nil)
    shutdown(pair.listener.descriptor, Int32(SHUT_RDWR))
    #expect(throws: Never.self) { try pair.network.host { try KernelSocket.listen(port: 8080) } }
  }

  /// Much of everything, more than buffers usually are.
  @Test func muchOfEverything() throws {
    let pair = try Pair()
    let unread = (0..<300_000).map { UInt8(truncatingIfNeeded: $0 &* 31) }
    let sent = (0..<60_000).map { UInt8(truncatingIfNeeded: $0 &* 17) }
    let unsent = (0..<700_000).map { UInt8(truncatingIfNeeded: $0 &* 13) }
    // The peer has sent what is unread: its numbers say so, the bytes themselves are not needed here.
    var exported = try #require(pair.server.dismantle(flow: pair.flow))
    exported.unread = unread
    exported.unacknowledged = sent
    exported.unsent = unsent
    let socket = try pair.make(exported)
    #expect(read(socket, count: unread.count) == unread)
    #expect(read(pair.client, count: sent.count + unsent.count) == sent + unsent)
  }

  private func read(_ socket: KernelSocket, count: Int) -> [UInt8] {
    var bytes: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 65536)
    while bytes.count < count {
      let part = recv(socket.descriptor, &buffer, buffer.count, 0)
      guard part > 0 else { break }
      bytes += buffer[..<part]
    }
    return bytes
  }

  /// The peer has finished: an end behind the bytes, as for every reader of a connection in CLOSE-WAIT,
  /// and an answer that still arrives.
  @Test func peerHasFinished() throws {
    let pair = try Pair()
    pair.client.send("request")
    shutdown(pair.client.descriptor, Int32(SHUT_WR))
    #expect(eventually { pair.server.information[0] == 8 })
    let exported = pair.server.dismantle(
      flow: pair.flow, unread: Array("request".utf8), isReadOver: true)
    let socket = try pair.make(#require(exported))
    #expect(socket.receive() == "request")
    #expect(socket.readiness == Int32(POLLIN | POLLOUT) | 0x2000)
    #expect(socket.receive() == "" && errno != EAGAIN)
    socket.send("response")
    #expect(pair.client.receive() == "response")
    shutdown(socket.descriptor, Int32(SHUT_WR))
    #expect(pair.client.receive() == "")
    #expect(socket.readiness & Int32(POLLHUP) != 0)
    #expect(try pair.counter("TcpEstabResets") == 0)
  }

  /// We have finished: the FIN is sent, or sent again, behind all bytes, and the peer goes on sending.
  @Test(arguments: [false, true])
  func weHaveFinished(wasSent: Bool) throws {
    let pair = try Pair()
    var next: UInt32?
    if wasSent {
      shutdown(pair.server.descriptor, Int32(SHUT_WR))
      #expect(pair.client.receive() == "")
      #expect(eventually { pair.server.information[0] == 5 })
    }
    var exported = try #require(
      pair.server.dismantle(
        flow: pair.flow, unsent: wasSent ? [] : Array("last".utf8), isWriteShut: true))
    // The kernel's own number is behind the FIN.
    if wasSent { exported.sendUnacknowledged &-= 1 }
    next = exported.sendUnacknowledged
    #expect(next != nil)
    let socket = try pair.make(exported)
    if !wasSent { #expect(pair.client.receive() == "last") }
    #expect(pair.client.receive() == "")
    pair.client.send("still here")
    #expect(socket.receive() == "still here")
    #expect(send(socket.descriptor, "x", 1, Int32(MSG_NOSIGNAL)) == -1 && errno == EPIPE)
    #expect(eventually { socket.information[0] == 5 }, "FIN-WAIT-2")
    #expect(try pair.counter("TcpEstabResets") == 0)
  }

  /// A socket of AF_INET6 has the mapped addresses.
  @Test func isOfTheApplicationsFamily() throws {
    let pair = try Pair()
    let exported = try #require(pair.server.dismantle(flow: pair.flow))
    let socket = try pair.make(exported, isIPv6: true, user: 1234)
    var address = sockaddr_in6()
    var length = socklen_t(MemoryLayout<sockaddr_in6>.size)
    let status = withUnsafeMutablePointer(to: &address) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        getpeername(socket.descriptor, $0, &length)
      }
    }
    #expect(status == 0 && Int32(address.sin6_family) == AF_INET6)
    let bytes = withUnsafeBytes(of: address.sin6_addr) { Array($0) }
    #expect(bytes == [UInt8](repeating: 0, count: 10) + [255, 255, 10, 77, 0, 2])
    pair.client.send("hello")
    #expect(socket.receive() == "hello")
    var metadata = stat()
    #expect(fstat(socket.descriptor, &metadata) == 0 && metadata.st_uid == 1234)
  }

  /// Both ends are here: neither sends anything before the other is there.
  @Test func bothEndsWithinTheHost() throws {
    let pair = try Pair()
    var near = try #require(
      pair.server.dismantle(
        flow: FlowAddress(
          local: IPAddress(v4: 127, 0, 0, 1), localPort: 8080, remote: IPAddress(v4: 127, 0, 0, 1),
          remotePort: 45678), unacknowledged: Array("under way".utf8), unsent: Array(", all".utf8)))
    near.receiveNext = 5000
    near.windowUpdateSequence = 4999
    var far = near
    far.address = FlowAddress(
      local: near.address.remote, localPort: 45678, remote: near.address.local, remotePort: 8080)
    far.sendUnacknowledged = 4990
    far.unacknowledged = Array("unread bytes".utf8)
    far.unsent = []
    far.isWriteShut = true
    // Some of it has arrived and was not read.
    near.unread = Array("unread byt".utf8)
    far.receiveNext = near.sendUnacknowledged &+ 5
    far.windowUpdateSequence = near.sendUnacknowledged
    far.unread = Array("under".utf8)
    let numbers = try pair.network.host {
      try KernelConnection.make([
        .init(near, isIPv6: false, user: 0), .init(far, isIPv6: true, user: 0),
      ])
    }
    let sockets = numbers.map(KernelSocket.init(descriptor:))
    #expect(read(sockets[0], count: 12) == Array("unread bytes".utf8))
    #expect(read(sockets[1], count: 14) == Array("under way, all".utf8))
    #expect(sockets[0].receive() == "" && errno != EAGAIN, "the end")
    sockets[0].send("more")
    #expect(sockets[1].receive() == "more")
  }

  /// What the kernel does not take is an error, and no descriptor is left.
  @Test func refusals() throws {
    let pair = try Pair()
    let exported = try #require(pair.server.dismantle(flow: pair.flow))
    var foreign = exported
    foreign.address.local = IPAddress(v4: 192, 0, 2, 7)
    #expect(throws: DeviceError.self) { try pair.make(foreign) }
    let socket = try pair.make(exported)
    // There is such a connection now.
    let error = #expect(throws: DeviceError.self) { try pair.make(exported) }
    #expect(error?.code == EADDRNOTAVAIL)
    pair.client.send("unharmed")
    #expect(socket.receive() == "unharmed")
  }

  /// When it fails late the peer is told.
  @Test func lateFailureResets() throws {
    let pair = try Pair()
    var exported = try #require(pair.server.dismantle(flow: pair.flow))
    // More than any window.
    exported.windowUpdateSequence = exported.receiveNext &+ 0x4000_0000
    #expect(throws: DeviceError.self) { try pair.make(exported) }
    #expect(eventually { pair.client.readiness & Int32(POLLERR | POLLHUP) != 0 })
  }

  /// The peer finishes when the kernel has no more of the connection than a record in FIN-WAIT-2: it is
  /// still the kernel's, until a SYN begins the flow anew.
  @Test func theEndIsTheKernelsToo() throws {
    let pair = try Pair()
    let exported = try #require(pair.server.dismantle(flow: pair.flow))
    let program = try pair.network.program()
    let queue = try pair.network.socket(program)
    try program.setSocket(queue: 0, descriptor: queue.descriptor)
    try program.setPort(XDPProgram.anyIPv4, 8080, flags: .kernelFlows)
    try program.addMovedFlow(pair.flow)
    // No owner any more: its end is the kernel's alone.
    close(
      try pair.network.host { try KernelConnection.make(.init(exported, isIPv6: false, user: 0)) })
    #expect(pair.client.receive() == "")
    usleep(300_000)
    let before = program.counters()
    shutdown(pair.client.descriptor, Int32(SHUT_WR))
    #expect(eventually { pair.client.information[0] == 7 }, "CLOSED: the FIN is acknowledged")
    #expect(program.counters().redirectedTCP == before.redirectedTCP)
    #expect(program.counters().passedKernelFlow > before.passedKernelFlow)

    // The same port again, while the kernel has its record: ours, with all that follows.
    let peer = try pair.network.peer { try PacketSocket(on: "fsdev1") }
    let port = pair.flow.remotePort
    try peer.send(Frame.ethernet(0x0800, Frame.ipv4(Frame.tcp(from: port, to: 8080))))
    #expect(eventually { program.counters().redirectedTCP == before.redirectedTCP + 1 })
    try peer.send(
      Frame.ethernet(0x0800, Frame.ipv4(Frame.tcp(from: port, to: 8080, flags: Frame.ack))))
    #expect(eventually { program.counters().redirectedTCP == before.redirectedTCP + 2 })
  }

  /// What arrives while the socket is being made is dropped, be it the peer's FIN: nothing is answered
  /// with a wrong clock, and nothing stands in the queue before what is older.
  @Test func deafUntilItIsWhole() throws {
    let pair = try Pair()
    // Whole checksums, so that what is sent can be sent again.
    try run("ip netns exec \(pair.network.peer.name) ethtool -K fsdev1 tx off")
    pair.client.send("first, ")
    #expect(eventually { pair.server.readiness & Int32(POLLIN) != 0 })
    let exported = try #require(
      pair.server.dismantle(flow: pair.flow, unread: Array("first, ".utf8)))
    let program = try pair.network.program()
    let queue = try pair.network.socket(program)
    try program.setSocket(queue: 0, descriptor: queue.descriptor)
    try program.setPort(XDPProgram.anyIPv4, 8080, flags: .kernelFlows)
    let cable = try pair.network.peer { try PacketSocket(on: "fsdev1") }
    pair.client.send("last")
    shutdown(pair.client.descriptor, Int32(SHUT_WR))
    #expect(eventually { program.counters().redirectedTCP >= 2 })
    var frames: [[UInt8]] = []
    while let frame = cable.receive() { frames.append(frame) }
    let flood = Flood(cable, frames)
    let socket = Result { try pair.make(exported) }
    flood.stop()
    let answers = try socket.get()
    #expect(read(answers, count: 11) == Array("first, last".utf8))
    errno = 0
    #expect(answers.receive() == "" && errno != EAGAIN, "the end")
    answers.send("answer")
    #expect(pair.client.receive() == "answer")
    #expect(try pair.counter("TcpExtPAWSEstab") == 0 && pair.counter("TcpEstabResets") == 0)
  }

  /// The XDP program lets the kernel have its segments as soon as it asks.
  @Test func segmentsGoToTheKernel() throws {
    let pair = try Pair()
    let exported = try #require(pair.server.dismantle(flow: pair.flow))
    let program = try pair.network.program()
    let queue = try pair.network.socket(program)
    try program.setSocket(queue: 0, descriptor: queue.descriptor)
    try program.setPort(XDPProgram.anyIPv4, 8080, flags: .kernelFlows)
    pair.client.send("for nobody yet")
    #expect(eventually { program.counters().redirectedTCP > 0 })
    let socket = try pair.make(exported)
    #expect(socket.receive() == "for nobody yet", "sent again")
    #expect(program.counters().passedKernelFlow > 0)
  }
}

/// Sends frames again and again, from a thread of its own.
private final class Flood: @unchecked Sendable {
  private let cable: PacketSocket
  private let isOver = Atomic(false)
  private let hasEnded = DispatchSemaphore(value: 0)

  init(_ cable: PacketSocket, _ frames: [[UInt8]]) {
    self.cable = cable
    Thread.detachNewThread { [self] in
      while !isOver.load(ordering: .relaxed) {
        for frame in frames { try? self.cable.send(frame) }
      }
      hasEnded.signal()
    }
  }

  func stop() {
    isOver.store(true, ordering: .relaxed)
    hasEnded.wait()
  }
}
