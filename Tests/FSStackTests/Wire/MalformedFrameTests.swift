import Testing

@testable import FSStack

/// Frames that no one would send: none may read outside its memory or lie about its payload.
@Suite struct MalformedFrameTests {
  @Test(arguments: GoldenFrame.all)
  func everyTruncation(_ golden: GoldenFrame) {
    let memory = GuardedBuffer()
    for count in 0..<golden.frame.count {
      let (result, _) = parsed(golden.frame[..<count], in: memory)
      guard case .drop = result else {
        Issue.record("\(golden.name): \(count) bytes are \(result)")
        continue
      }
    }
  }

  @Test func randomMutations() {
    var random = SplitMix64(seed: 6)
    let memory = GuardedBuffer()
    var counts: [String: Int] = [:]
    for round in 0..<200_000 {
      var frame = (GoldenFrame.all.randomElement(using: &random) ?? .data4).frame
      Self.mutate(&frame, &random)
      let place = memory.place(frame)
      var segment = Segment()
      let result = segment.parse(place, acceptPartialChecksum: round % 2 == 0)
      counts["\(result)", default: 0] += 1
      if result == .segment {
        guard segment.payloadOffset + segment.payloadLength <= frame.count,
          segment.payloadLength >= 0, (0...4).contains(segment.options.sackCount),
          segment.flags.isPossible
        else {
          Issue.record("round \(round): \(frame)")
          return
        }
      }
      _ = ICMPError.parse(place)
    }
    // The mutations are such that all the code is reached.
    #expect(counts.count > 12, "\(counts)")
    #expect(counts["segment", default: 0] > 10_000, "\(counts)")
  }

  /// Changes a few bytes or the length, and mostly rights the checksums to get past them.
  private static func mutate(_ frame: inout [UInt8], _ random: inout SplitMix64) {
    for _ in 0..<Int.random(in: 1...4, using: &random) {
      let index = Int.random(in: 0..<frame.count, using: &random)
      switch Int.random(in: 0..<8, using: &random) {
      case 0: frame[index] = 0
      case 1: frame[index] = 255
      case 2: frame[index] ^= 1 << UInt8.random(in: 0..<8, using: &random)
      case 3: frame.removeLast(min(frame.count - 40, Int.random(in: 0..<20, using: &random)))
      case 4: frame += random.bytes(Int.random(in: 0..<20, using: &random))
      // Where headers and options are, twice as often as by chance.
      case 5:
        frame[min(frame.count - 1, Int.random(in: 12..<24, using: &random))] = UInt8(
          random.next() & 255)
      case 6:
        frame[min(frame.count - 1, Int.random(in: 46..<74, using: &random))] = UInt8(
          random.next() & 255)
      default: frame[index] = UInt8.random(in: 0...255, using: &random)
      }
      if frame.count < 41 { return }
    }
    guard frame.count >= 80 || frame[14] >> 4 == 4, random.chance(0.9) else { return }
    if random.chance(0.5), frame[14] >> 4 == 4 { frame.put16(UInt16(frame.count - 14), at: 16) }
    let header = frame[14] >> 4 == 4 ? Int(frame[14] & 15) * 4 : 40
    if 14 + header + 20 <= frame.count { frame.fixTransportChecksum(at: 14 + header) }
    if frame[14] >> 4 == 4, 14 + header <= frame.count, header >= 20 { frame.fixIPv4Checksum() }
  }
}

@Suite struct DropReasonTests {
  /// Statistics show the names: they must differ.
  @Test func namesDiffer() {
    #expect(Set(DropReason.allCases.map(\.name)).count == DropReason.allCases.count)
    #expect(DropReason.tcpChecksum.name == "tcpChecksum")
  }
}
