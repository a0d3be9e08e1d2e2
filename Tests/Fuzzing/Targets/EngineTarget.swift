import FSRing

@testable import FSStack

/// A whole engine with one application. The input is a list of steps: a byte that says what happens,
/// and the bytes that it needs.
enum EngineTarget {
  private static let stepLimit = 64

  static func run(_ bytes: UnsafeRawBufferPointer) {
    var input = FuzzInput(bytes)
    let host = FuzzHost()
    let application = host.addApplication(port: 80)
    var steps = 0
    while !input.isEmpty, steps < stepLimit {
      steps += 1
      step(host, application, &input)
    }
    check(
      !application.isViolated, "a correct application was refused: \(application.violation as Any)")
    host.end()
  }

  private static func step(
    _ host: FuzzHost, _ application: FuzzApplication, _ input: inout FuzzInput
  ) {
    let choice = input.byte()
    switch choice & 15 {
    case 0...5: segment(host, &input, isExpected: choice & 0x80 != 0)
    case 6: handshake(host, &input)
    case 7: host.pass(.milliseconds(UInt64(input.byte()) << UInt64(choice >> 4)))
    case 8: error(host, &input)
    case 9: frame(host, &input)
    case 10:
      application.connect(to: host.peers[5].address, port: 2000, localPort: 40_000)
      host.burst()
    default:
      command(host, application, choice, &input)
    }
  }

  /// A segment whose numbers are the expected ones, moved by a little or by a lot.
  private static func segment(_ host: FuzzHost, _ input: inout FuzzInput, isExpected: Bool) {
    let peer = host.peers[Int(input.byte()) % host.peers.count]
    var header = peer.header(to: host)
    header.flags = TCPFlags(rawValue: input.byte())
    if isExpected {
      header.flags.formUnion(.ack)
    } else {
      header.sequence += UInt32(bitPattern: distance(&input))
      header.acknowledgement += UInt32(bitPattern: distance(&input))
      header.window = input.word()
      options(&header, peer, &input)
    }
    let count = Int(input.word()) % 1449
    let payload = [UInt8](repeating: UInt8(truncatingIfNeeded: count), count: count)
    // What commands make of themselves is no answer.
    if header.flags.contains(.rst) { host.burst() }
    _ = host.takeSent()
    host.receive(header.fuzzFrame(payload))
    host.burst()
    if header.flags.contains(.rst) {
      // RFC 9293 section 3.10.7: a RST is never answered with one.
      let answers = host.takeSent().filter {
        $0.destinationPort == peer.port && $0.flags.contains(.rst)
      }
      check(answers.isEmpty, "RST answered with RST")
    }
  }

  private static func distance(_ input: inout FuzzInput) -> Int32 {
    let kind = input.byte()
    let value = Int32(kind >> 2) - 32
    switch kind & 3 {
    case 0: return 0
    case 1: return value
    case 2: return value * 1448
    default: return Int32(bitPattern: input.number())
    }
  }

  private static func options(
    _ header: inout OutgoingHeader, _ peer: FuzzPeer, _ input: inout FuzzInput
  ) {
    let choice = input.byte()
    if choice & 1 != 0 {
      header.options.hasTimestamp = true
      header.options.timestampValue = UInt32(bitPattern: distance(&input)) &+ 1000
      header.options.timestampEcho = peer.timestamp &+ UInt32(bitPattern: distance(&input))
    }
    if choice & 2 != 0 { header.options.maximumSegmentSize = input.word() }
    if choice & 4 != 0 { header.options.windowScale = input.byte() }
    if choice & 8 != 0 { header.options.sackPermitted = true }
    let blocks = min(Int(choice >> 6), header.options.hasTimestamp ? 3 : 3)
    guard !header.flags.contains(.syn) else { return }
    header.options.sackCount = blocks
    for index in 0..<blocks {
      let left = header.acknowledgement + UInt32(bitPattern: distance(&input))
      let right = left + UInt32(bitPattern: distance(&input))
      header.options.sackBlocks[index] = SACKBlock(left: left, right: right)
    }
  }

  /// SYN and the acknowledgement of what comes back: deep states are a step away.
  private static func handshake(_ host: FuzzHost, _ input: inout FuzzInput) {
    let index = Int(input.byte()) % (host.peers.count - 1)
    var header = host.peers[index].header(to: host)
    header.flags = .syn
    header.sequence += 100_000
    header.options.maximumSegmentSize = 1460
    let choice = input.byte()
    header.options.hasTimestamp = choice & 1 != 0
    header.options.timestampValue = 1000
    header.options.sackPermitted = choice & 2 != 0
    if choice & 4 != 0 { header.options.windowScale = choice >> 4 }
    host.receive(header.fuzzFrame())
    host.burst()
    var answer = host.peers[index].header(to: host)
    answer.flags = .ack
    answer.options.hasTimestamp = header.options.hasTimestamp
    answer.options.timestampValue = 1000
    answer.options.timestampEcho = host.peers[index].timestamp
    host.receive(answer.fuzzFrame())
    host.burst()
  }

  /// An ICMP error that quotes the flow.
  private static func error(_ host: FuzzHost, _ input: inout FuzzInput) {
    let peer = host.peers[Int(input.byte()) % host.peers.count]
    var quoted = OutgoingHeader()
    quoted.source = peer.isIPv4 ? host.address : host.address6
    quoted.destination = peer.address
    quoted.sourcePort = peer.localPort
    quoted.destinationPort = peer.port
    quoted.sequence = peer.acknowledgement + UInt32(bitPattern: distance(&input))
    quoted.flags = .ack
    let type = input.byte()
    let code = input.byte() & 15
    let mtu = input.word()
    var packet = Array(quoted.fuzzFrame().dropFirst(14))
    packet = [type, code, 0, 0, 0, 0, UInt8(mtu >> 8), UInt8(mtu & 255)] + packet
    var frame: [UInt8] = [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2]
    if peer.isIPv4 {
      let length = 20 + packet.count
      frame += [8, 0, 0x45, 0, UInt8(length >> 8), UInt8(length & 255), 0, 0, 0, 0, 64, 1, 0, 0]
      frame += [10, 0, 0, 2, 10, 0, 0, 1]
    } else {
      frame += [0x86, 0xdd, 0x60, 0, 0, 0, 0, UInt8(packet.count), 58, 64]
      for address in [peer.address, host.address6] {
        withUnsafeBytes(of: (address.high, address.low)) { frame += Array($0) }
      }
    }
    FrameTarget.rightChecksums(&frame, appending: packet)
    host.receive(frame)
    host.burst()
  }

  /// Any frame, with its checksums put right.
  private static func frame(_ host: FuzzHost, _ input: inout FuzzInput) {
    var frame = input.bytes(Int(input.byte()))
    FrameTarget.rightChecksums(&frame)
    host.receive(frame)
    host.burst()
  }

  /// The application does something.
  private static func command(
    _ host: FuzzHost, _ application: FuzzApplication, _ choice: UInt8, _ input: inout FuzzInput
  ) {
    let open = application.openSlots
    guard !open.isEmpty else { return }
    let slot = open[Int(input.byte()) % open.count]
    switch choice & 15 {
    case 11: application.send(slot, UInt32(input.word()) % 4097, flags: choice >> 7)
    case 12: application.consume(slot, UInt32(input.word()))
    case 13:
      let flags = input.byte() & (CommandFlags.shutRead | CommandFlags.shutWrite)
      application.shutdown(slot, flags)
    case 14: application.close(slot, resets: choice & 0x80 != 0)
    default:
      var option = Command(.option, slot: slot)
      option.length = [1, 6, 0, 41][Int(choice >> 6)] << 16 | UInt32(input.byte())
      option.value = Int32(bitPattern: input.number())
      application.submit(option)
    }
    // Commands of one burst come together as often as not.
    if choice & 0x40 == 0 { host.burst() }
  }
}
