import FSDevice
import FSStack
import Glibc
import Testing

/// Sockets, frames and rings.
@Suite(.serialized) struct XDPSocketTests {
  @Test(arguments: [XDPProgram.AttachPreference.native, .generic])
  func receivesManyTimesItsFrames(preference: XDPProgram.AttachPreference) throws {
    let network = try TestNetwork()
    let program = try network.program(preference)
    let socket = try network.socket(program) { $0.receiveFrames = 128 }
    #expect(socket.mode == (preference == .native ? .copy : .generic))
    #expect(socket.frameSize == 2048)
    try program.setSocket(queue: 0, descriptor: socket.descriptor)
    try program.setPort(XDPProgram.anyIPv4, 8080, flags: [])
    let peer = try network.peer { try PacketSocket(on: "fsdev1") }

    var bytes: UInt64 = 0
    for round in 0..<50 {
      let sent = (0..<60).map { number in
        let payload = [UInt8](repeating: UInt8(number), count: (round * 60 + number) % 1400)
        return Frame.ethernet(0x0800, Frame.ipv4(Frame.tcp(to: 8080, payload: payload)))
      }
      for frame in sent { try peer.send(frame) }
      var received: [[UInt8]] = []
      let complete = eventually {
        _ = socket.receiveBurst(maximum: 16, announce: { _ in }) { received.append(Array($0)) }
        return received.count >= sent.count
      }
      try #require(complete && received == sent, "round \(round)")
      bytes += UInt64(sent.reduce(0) { $0 + $1.count })
    }
    #expect(socket.counters.receivedPackets == 3000)
    #expect(socket.counters.receivedBytes == bytes)
    #expect(!socket.hasReceived)
    #expect(socket.statistics() == XDPStatistics(), "nothing was dropped")
  }

  @Test func aBurstOfAThousandArrivesWhole() throws {
    let network = try TestNetwork()
    let program = try network.program()
    let socket = try network.socket(program) { $0.outstandingLimit = nil }
    let peer = try network.peer { try PacketSocket(on: "fsdev1") }
    let offsets = socket.transmitFrames
    #expect(offsets.count == 1024)
    #expect(Set(offsets).count == 1024)
    #expect(socket.kick(), "nothing to send is no failure")
    #expect(socket.counters.kicks == 0)

    for round in 0..<3 {
      var sent: [[UInt8]] = []
      for number in 0..<1000 {
        var frame = TestNetwork.peerMAC.bytes + TestNetwork.hostMAC.bytes + [0x88, 0xb5]
        frame += [UInt8(round), UInt8(number >> 8), UInt8(number & 255)]
        frame += [UInt8](repeating: UInt8(truncatingIfNeeded: number), count: 43 + number)
        frame = Array(frame.prefix(1514))
        sent.append(frame)
        let target = socket.base + Int(offsets[number])
        target.copyMemory(from: frame, byteCount: frame.count)
        try #require(socket.enqueue(offsets[number], length: frame.count))
      }
      #expect(socket.outstanding == 1000)
      #expect(socket.needsKick)
      #expect(eventually { socket.kick() })
      #expect(!socket.needsKick)

      var received: [[UInt8]] = []
      let complete = eventually {
        while let frame = peer.receive() {
          if frame[12] == 0x88, frame[13] == 0xb5 { received.append(frame) }
        }
        return received.count >= sent.count
      }
      #expect(complete)
      #expect(received == sent)
      var completed: [UInt64] = []
      #expect(
        eventually {
          _ = socket.reapCompletions { completed.append($0) }
          return socket.outstanding == 0
        })
      #expect(completed.sorted() == Array(offsets.prefix(1000)))
    }
    #expect(socket.counters.transmittedPackets == 3000)
    #expect(socket.counters.kickDropped == 0 && socket.counters.kickFailed == 0)
    #expect(socket.statistics()?.transmitInvalid == 0)
  }

  @Test func neverMoreOutstandingThanCompletionsFit() throws {
    let network = try TestNetwork()
    let program = try network.program()
    let socket = try network.socket(program) { $0.transmitFrames = 64 }
    let offsets = socket.transmitFrames
    for offset in offsets { #expect(socket.enqueue(offset, length: 60)) }
    #expect(!socket.enqueue(offsets[0], length: 60))
    #expect(eventually { socket.kick() })
    // Sent, and yet outstanding until the completions are taken.
    #expect(!socket.enqueue(offsets[0], length: 60))
    #expect(
      eventually {
        _ = socket.reapCompletions { _ in }
        return socket.outstanding == 0
      })
    #expect(socket.enqueue(offsets[0], length: 60))
  }

  /// A veth drops what exceeds its 256 entries.
  @Test func aVirtualLinkIsNotOverfilled() throws {
    let network = try TestNetwork()
    let program = try network.program()
    let socket = try network.socket(program)
    var frames = socket.transmitFrames[...]
    func fill() -> Int {
      let before = frames.count
      while let offset = frames.first, socket.enqueue(offset, length: 60) { frames.removeFirst() }
      return before - frames.count
    }
    #expect(socket.hasRoom(for: frames.count))
    #expect(fill() == 224)
    #expect(!socket.hasRoom(for: 1))
    #expect(eventually { socket.kick() })
    #expect(!socket.hasRoom(for: 1), "what is sent has room again when it is completed")
    #expect(
      eventually {
        _ = socket.reapCompletions { _ in }
        return socket.outstanding == 0
      })
    #expect(fill() == 224)
    #expect(eventually { socket.kick() })
    #expect(socket.counters.kickDropped == 0)
  }

  /// A few frames wait until there is room for a burst, unless they are all.
  @Test func roomIsForAllOrForABurst() throws {
    let network = try TestNetwork()
    let program = try network.program()
    let socket = try network.socket(program) { $0.outstandingLimit = 48 }
    for offset in socket.transmitFrames.prefix(17) {
      #expect(socket.hasRoom(for: 1000))
      #expect(socket.enqueue(offset, length: 60))
    }
    #expect(socket.hasRoom(for: 31))
    #expect(!socket.hasRoom(for: 32))
  }

  @Test func transmissionWaitsForTheInterface() throws {
    let network = try TestNetwork()
    let program = try network.program()
    let socket = try network.socket(program)
    try network.ip("link set fsdev0 down")
    #expect(socket.enqueue(socket.transmitFrames[0], length: 60))
    #expect(!socket.kick())
    #expect(socket.needsKick)
    #expect(socket.counters.kickFailed == 1)
    try network.ip("link set fsdev0 up")
    #expect(eventually { socket.kick() })
    #expect(!socket.needsKick)
  }

  @Test func aQueueTakesOneSocket() throws {
    let network = try TestNetwork(queues: 2)
    let interface = try network.interface()
    #expect(interface.queueCount == 2)
    let program = try network.program()
    let first = try network.socket(program, queue: 0)
    #expect(throws: DeviceError.queueBusy(interface: "fsdev0", queue: 0)) {
      try network.socket(program, queue: 0)
    }
    let second = try network.socket(program, queue: 1)
    #expect(second.queue == 1)
    first.close()
    _ = try network.socket(program, queue: 0)
    #expect(throws: DeviceError.self) { try network.socket(program, queue: 2) }
  }

  @Test func largePacketsGetLargeFrames() throws {
    #expect(XDPSocket.Configuration(mtu: 1500).frameSize == 2048)
    #expect(XDPSocket.Configuration(mtu: 1774).frameSize == 2048)
    #expect(XDPSocket.Configuration(mtu: 1775).frameSize == 4096)
    #expect(XDPSocket.Configuration(mtu: 3498).frameSize == 4096)

    let network = try TestNetwork()
    for namespace in [network.host, network.peer] {
      let name = namespace.name == network.host.name ? "fsdev0" : "fsdev1"
      try run("ip -n \(namespace.name) link set \(name) mtu 3823")
    }
    // Too large for the driver's XDP, and by one byte for a frame.
    let program = try network.program()
    #expect(program.attachMode == .generic && program.nativeRefusal != nil)
    let sentence =
      "the MTU of fsdev0, 3823, is too large for AF_XDP; at most 3822 is possible"
    #expect(throws: DeviceError.unsupported(sentence)) {
      try network.socket(program) { $0.frameSize = 4096 }
    }
    try network.ip("link set fsdev0 mtu 3822")
    #expect(try network.socket(program) { $0.frameSize = 4096 }.frameSize == 4096)
  }
}
