import FSRing

@testable import FSStack

/// Two applications: the input writes the commands and the indices of the first; the second must
/// not notice.
enum CommandTarget {
  private static let stepLimit = 64

  static func run(_ bytes: UnsafeRawBufferPointer) {
    var input = FuzzInput(bytes)
    let host = FuzzHost()
    let culprit = host.addApplication(port: 80)
    culprit.keepsRules = false
    let bystander = host.addApplication(port: 81)
    host.peers.append(FuzzPeer(port: 1000, localPort: 81, isIPv4: true))
    open(host, host.peers.count - 1)
    open(host, 0)
    open(host, 1)
    var steps = 0
    while !input.isEmpty, steps < stepLimit {
      steps += 1
      step(host, culprit, &input)
    }
    check(!bystander.isViolated, "the bystander was refused")
    prove(host, bystander)
    host.end()
  }

  private static func step(
    _ host: FuzzHost, _ culprit: FuzzApplication, _ input: inout FuzzInput
  ) {
    let choice = input.byte()
    switch choice & 7 {
    case 0...3: culprit.submit(command(choice, &input))
    case 4:
      let indices = [culprit.header.commandTail, culprit.header.eventHead]
      indices[Int(choice >> 7)].pointee.store(input.number(), ordering: .releasing)
    case 5: exchange(host, &input)
    case 6: host.pass(.milliseconds(UInt64(input.byte()) << UInt64(choice >> 4)))
    default: break
    }
    if choice & 8 == 0 { host.burst() }
  }

  /// A command of any content; small numbers, which are in range, more often than large ones.
  private static func command(_ choice: UInt8, _ input: inout FuzzInput) -> Command {
    var command = Command(.send, slot: number(&input), flags: input.byte())
    command.kind = choice & 0x80 != 0 ? input.byte() : input.byte() % 12
    command.chunk = number(&input)
    command.length = number(&input)
    command.offset = UInt16(truncatingIfNeeded: number(&input))
    command.value = Int32(bitPattern: number(&input))
    command.localPort = input.byte() & 1 == 0 ? 40_000 : input.word()
    command.remotePort = input.word()
    let address = IPAddress(v4: 10, 0, 0, input.byte())
    (command.remoteHigh, command.remoteLow) = (address.high, address.low)
    if input.byte() & 1 != 0 {
      command.localHigh = UInt64(input.number())
      command.localLow = UInt64(input.number()) << 32
    }
    return command
  }

  private static func number(_ input: inout FuzzInput) -> UInt32 {
    let byte = input.byte()
    return byte < 0xe0 ? UInt32(byte & 31) : input.number()
  }

  /// A segment for the culprit, so that there is something to read and to answer.
  private static func exchange(_ host: FuzzHost, _ input: inout FuzzInput) {
    let peer = host.peers[Int(input.byte() & 1)]
    var header = peer.header(to: host)
    header.flags = input.byte() & 0xf0 == 0 ? [.ack, .fin] : .ack
    let count = Int(input.word()) % 1449
    host.receive(header.fuzzFrame([UInt8](repeating: 7, count: count)))
  }

  private static func open(_ host: FuzzHost, _ index: Int) {
    var header = host.peers[index].header(to: host)
    header.flags = .syn
    host.receive(header.fuzzFrame())
    host.burst()
    header = host.peers[index].header(to: host)
    header.flags = .ack
    host.receive(header.fuzzFrame())
    host.burst()
  }

  /// The bystander's connection works.
  private static func prove(_ host: FuzzHost, _ bystander: FuzzApplication) {
    let index = host.peers.count - 1
    guard let slot = bystander.openSlots.first else {
      fatalError("the bystander has lost its connection")
    }
    var header = host.peers[index].header(to: host)
    header.flags = [.ack, .psh]
    _ = host.takeSent()
    let before = bystander.received
    host.receive(header.fuzzFrame([1, 2, 3]))
    host.burst()
    check(bystander.received == before + 3, "the bystander receives nothing")
    bystander.consume(slot, 3)
    bystander.send(slot, 10, flags: 0)
    host.burst()
    let port = host.peers[index].localPort
    check(
      host.takeSent().contains { $0.sourcePort == port && $0.payloadLength == 10 },
      "the bystander cannot send")
  }
}
