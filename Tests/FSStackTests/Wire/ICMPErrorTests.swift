import Testing

@testable import FSStack

@Suite struct ICMPErrorTests {
  struct Case: Sendable {
    var name: String
    var isIPv4 = true
    var type: UInt8
    var code: UInt8 = 0
    /// The second word of the message.
    var word: UInt32 = 0
    var kind: ICMPError.Kind?
    var quoted = 28
    var change: @Sendable (inout [UInt8]) -> Void = { _ in }
  }

  private static let messages: [Case] = [
    Case(name: "port unreachable", type: 3, code: 3, kind: .destinationUnreachable(code: 3)),
    Case(name: "too big", type: 3, code: 4, word: 1400, kind: .packetTooBig(mtu: 1400)),
    Case(name: "too big, old router", type: 3, code: 4, kind: .packetTooBig(mtu: 0)),
    Case(name: "time exceeded", type: 11, kind: .timeExceeded),
    Case(name: "parameter problem", type: 12, kind: .parameterProblem),
    Case(name: "long quote", type: 11, kind: .timeExceeded, quoted: 57),
    Case(name: "source quench", type: 4, kind: nil),
    Case(name: "redirect", type: 5, kind: nil),
    Case(name: "echo", type: 8, kind: nil),
    Case(name: "7 bytes of TCP", type: 11, kind: nil, quoted: 27),
    Case(name: "quotes UDP", type: 11, kind: nil) { $0[9] = 17 },
    Case(name: "quotes IPv6", type: 11, kind: nil) { $0[0] = 0x65 },
    Case(name: "IHL 4", type: 11, kind: nil) { $0[0] = 0x44 },
    Case(name: "IHL beyond the quote", type: 11, kind: nil) { $0[0] = 0x4f },
    Case(name: "later fragment", type: 11, kind: nil) { $0[7] = 1 },
    Case(
      name: "v6 unreachable", isIPv4: false, type: 1, code: 4,
      kind: .destinationUnreachable(code: 4), quoted: 48),
    Case(
      name: "v6 too big", isIPv4: false, type: 2, word: 1280, kind: .packetTooBig(mtu: 1280),
      quoted: 48),
    Case(name: "v6 time exceeded", isIPv4: false, type: 3, kind: .timeExceeded, quoted: 74),
    Case(name: "v6 parameter problem", isIPv4: false, type: 4, kind: .parameterProblem, quoted: 48),
    Case(name: "v6 redirect", isIPv4: false, type: 137, kind: nil, quoted: 48),
    Case(name: "v6, 7 bytes of TCP", isIPv4: false, type: 3, kind: nil, quoted: 47),
    Case(name: "v6 quotes UDP", isIPv4: false, type: 3, kind: nil, quoted: 48) { $0[6] = 17 },
    Case(name: "v6 quotes IPv4", isIPv4: false, type: 3, kind: nil, quoted: 48) { $0[0] = 0x45 },
  ]

  @Test(arguments: messages)
  func parses(_ test: Case) throws {
    let golden = test.isIPv4 ? GoldenFrame.data4 : .sack6
    let frame = Self.message(test, quoting: golden)
    let memory = GuardedBuffer()
    #expect(parsed(frame, in: memory).0 == .icmpError)
    let error = ICMPError.parse(memory.place(frame))
    #expect(error?.kind == test.kind, "\(test.name)")
    guard let error else { return }
    #expect(error.source == golden.header.source && error.destination == golden.header.destination)
    #expect(error.sourcePort == golden.header.sourcePort)
    #expect(error.destinationPort == golden.header.destinationPort)
    #expect(error.sequence == golden.header.sequence)
    // A wrong checksum, and every truncation.
    var broken = frame
    broken[frame.count - 1] ^= 1
    #expect(ICMPError.parse(memory.place(broken)) == nil, "\(test.name)")
    for count in 0..<frame.count {
      _ = ICMPError.parse(memory.place(frame[..<count]))
    }
  }

  /// An ICMP message of a router to the sender of a golden frame.
  private static func message(_ test: Case, quoting golden: GoldenFrame) -> [UInt8] {
    var quoted = Array(golden.frame[14..<(14 + test.quoted)])
    test.change(&quoted)
    let word = (0..<4).map { UInt8(test.word >> UInt32(24 - $0 * 8) & 255) }
    let message = [test.type, test.code, 0, 0] + word + quoted
    var frame = Array(golden.frame[..<14])
    if test.isIPv4 {
      frame += bytes("4500 0000 0000 0000 4001 0000 c0000201") + golden.frame[26..<30] + message
      frame.put16(UInt16(20 + message.count), at: 16)
      frame.fixIPv4Checksum()
      frame.put16(referenceChecksum(message), at: 36)
    } else {
      frame += bytes("60000000 0000 3a40 20010db8000000000000000000000099")
      frame += golden.frame[22..<38] + message
      frame.put16(UInt16(message.count), at: 18)
      frame.fixTransportChecksum(at: 54, field: 2, protocol: 58)
    }
    return frame
  }
}
