import Testing

@testable import FSStack

@Suite struct AnnounceTests {
  /// What is looked up beforehand is what the parser finds, or nothing.
  @Test(arguments: GoldenFrame.all)
  func findsTheFlowOfPlainFrames(_ golden: GoldenFrame) {
    let buffer = GuardedBuffer()
    let flow = Flow(ofPlain: buffer.place(golden.frame))
    let (result, segment) = parsed(golden.frame)
    #expect(result == .segment)
    let isPlain = golden.header.source.isIPv4 && golden.header.vlan == NetworkLayer.untagged
    #expect(flow == (isPlain ? Flow(segment) : nil))
    guard isPlain else { return }
    #expect(Flow.opens(plain: buffer.place(golden.frame)) == segment.flags.contains(.syn))
  }

  /// Not a byte behind the end of a frame is read, however short it is.
  @Test(arguments: GoldenFrame.all)
  func readsNothingBehindTheEnd(_ golden: GoldenFrame) {
    let buffer = GuardedBuffer()
    for length in 0...golden.frame.count {
      let frame = buffer.place(golden.frame[..<length])
      let flow = Flow(ofPlain: frame)
      let opens = Flow.opens(plain: frame)
      if length < 38 { #expect(flow == nil) }
      if length < 48 { #expect(!opens) }
    }
  }

  /// What is announced comes out in order, once, and makes room for the next burst; what is more than a
  /// burst is left out.
  @Test func burstsFollowEachOther() {
    var announced = AnnouncedFlows()
    for burst: UInt64 in 0..<5 {
      #expect(announced.isEmpty)
      let count: UInt64 = [1, 63, 64, 65, 200][Int(burst)]
      for number in 0..<count { announced.append(burst << 32 | number) }
      for number in 0..<min(count, 64) {
        #expect(!announced.isEmpty && announced.isFresh == (number == 0))
        #expect(announced.next() == burst << 32 | number)
      }
    }
    #expect(announced.isEmpty)
  }
}
