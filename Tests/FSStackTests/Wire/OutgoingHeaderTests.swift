import Testing

@testable import FSStack

@Suite struct OutgoingHeaderTests {
  @Test(arguments: GoldenFrame.all)
  func writesGoldenFrames(_ golden: GoldenFrame) {
    #expect(golden.header.frame(golden.payload) == golden.frame, "\(golden.name)")
  }

  /// What is written is what is read, for random fields and all combinations of options.
  @Test func parsedAgain() {
    var random = SplitMix64(seed: 1)
    let memory = GuardedBuffer()
    for round in 0..<5000 {
      let (header, payload) = Self.randomHeader(&random)
      // Short frames arrive padded.
      let frame = header.frame(payload)
      let padding = [UInt8](repeating: 0xee, count: max(0, 60 - frame.count))
      let (result, segment) = parsed(frame + padding, in: memory)
      guard result == .segment, Self.agree(header, payload, segment, frame) else {
        Issue.record("round \(round): \(result)\n\(header)\n\(segment)")
        return
      }
    }
  }

  /// A connection never sends more than its own fields: the length is what the options need.
  @Test func lengthCountsOptions() {
    var options = OutgoingOptions()
    #expect(options.length == 0)
    options.sackPermitted = true
    #expect(options.length == 4)
    options.hasTimestamp = true
    #expect(options.length == 12)
    options.maximumSegmentSize = 536
    options.windowScale = 0
    #expect(options.length == 20)
    options = OutgoingOptions()
    options.sackCount = 4
    #expect(options.length == 36)
  }

  private static func randomHeader(_ random: inout SplitMix64) -> (OutgoingHeader, [UInt8]) {
    var header = OutgoingHeader()
    header.sourceMAC = MACAddress(2, 1, 3, 4, 5, UInt8.random(in: 0...255, using: &random))
    header.destinationMAC = MACAddress(6, 1, 3, 4, UInt8.random(in: 0...255, using: &random), 0)
    if Bool.random(using: &random) { header.vlan = UInt16.random(in: 0..<0xffff, using: &random) }
    if Bool.random(using: &random) {
      header.source = IPAddress(v4: 10, 0, 1, UInt8.random(in: 0...255, using: &random))
      header.destination = IPAddress(v4: 203, 0, UInt8.random(in: 0...255, using: &random), 9)
    } else {
      header.source = IPAddress(high: UInt64(0x2001).byteSwapped >> 48, low: random.next())
      header.destination = IPAddress(high: UInt64(0x2002).byteSwapped >> 48, low: random.next())
    }
    header.sourcePort = UInt16.random(in: 0...65535, using: &random)
    header.destinationPort = UInt16.random(in: 0...65535, using: &random)
    header.hopLimit = UInt8.random(in: 1...255, using: &random)
    header.trafficClass = UInt8.random(in: 0...255, using: &random)
    let isSYN = Bool.random(using: &random)
    header.flags = isSYN ? .syn : [.ack, .psh, .ece]
    header.window = UInt16.random(in: 0...65535, using: &random)
    header.sequence = SequenceNumber(UInt32(truncatingIfNeeded: random.next()))
    header.acknowledgement = SequenceNumber(UInt32(truncatingIfNeeded: random.next()))
    header.options.hasTimestamp = Bool.random(using: &random)
    header.options.timestampValue = UInt32(truncatingIfNeeded: random.next())
    header.options.timestampEcho = UInt32(truncatingIfNeeded: random.next())
    if isSYN {
      header.options.sackPermitted = Bool.random(using: &random)
      if Bool.random(using: &random) {
        header.options.windowScale = UInt8.random(in: 0...14, using: &random)
      }
      header.options.maximumSegmentSize = [0, 1460, 65535].randomElement(using: &random) ?? 0
    } else {
      let most = header.options.hasTimestamp ? 3 : 4
      header.options.sackCount = Int.random(in: 0...most, using: &random)
      for index in 0..<4 {
        header.options.sackBlocks[index].left = SequenceNumber(
          UInt32.random(in: 0...9, using: &random))
        header.options.sackBlocks[index].right = SequenceNumber(.max - UInt32(index))
      }
    }
    return (header, random.bytes(Int.random(in: 0...1400, using: &random)))
  }

  private static func agree(
    _ header: OutgoingHeader, _ payload: [UInt8], _ segment: Segment, _ frame: [UInt8]
  ) -> Bool {
    let sent = header.options
    let got = segment.options
    let options =
      sent.maximumSegmentSize == got.maximumSegmentSize && sent.windowScale == got.windowScale
      && sent.sackPermitted == got.sackPermitted && sent.hasTimestamp == got.hasTimestamp
      && (!sent.hasTimestamp || sent.timestampValue == got.timestampValue)
      && (!sent.hasTimestamp || sent.timestampEcho == got.timestampEcho)
      && sent.sackCount == got.sackCount && !got.malformed
      && (0..<sent.sackCount).allSatisfy { sent.sackBlocks[$0] == got.sackBlocks[$0] }
    return options && header.sourceMAC == segment.sourceMAC
      && header.destinationMAC == segment.destinationMAC && header.vlan == segment.vlan
      && header.source == segment.source && header.destination == segment.destination
      && header.sourcePort == segment.sourcePort
      && header.destinationPort == segment.destinationPort
      && header.sequence == segment.sequence
      && header.acknowledgement == segment.acknowledgement
      && header.flags == segment.flags && header.window == segment.window
      && segment.ecn.bits == header.trafficClass & 3
      && !segment.checksumWasPartial && segment.payloadLength == payload.count
      && segment.payloadOffset == header.length
      && Array(frame[segment.payloadOffset...]) == payload
  }
}
