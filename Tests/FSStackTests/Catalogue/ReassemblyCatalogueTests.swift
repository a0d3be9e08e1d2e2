import Testing

@testable import FSStack

/// Bugs that others had with segments and fragments out of order (docs/bug-catalogue.md).
@Suite struct ReassemblyCatalogueTests {
  private func segments(_ pair: ScriptedPair) -> Int {
    pair.simulation.a.engines[0].engine.statistics().reassemblySegments
  }

  /// CVE-2018-5390 (SegmentSmack), CVE-2018-6922: single bytes with gaps between, in the worst orders.
  /// The queue is bounded, and the stream is right in the end.
  @Test(arguments: ["ascending", "descending", "random"])
  func singleBytes(order: String) {
    let pair = ScriptedPair()
    let socket = pair.open()
    var random = SplitMix64(seed: 5390)
    var places = Array(stride(from: 2, to: 8000, by: 2))
    if order == "descending" { places.reverse() }
    if order == "random" { places.shuffle(using: &random) }
    for place in places {
      let byte = StreamPattern.byte(place - 1, port: 80, toServer: true)
      pair.simulation.send(pair.peer.header([], place, ack: 1).frame([byte]), from: 1)
    }
    pair.simulation.run(for: .milliseconds(10))
    #expect(segments(pair) <= 256 && socket.unread == 0)
    for sequence in stride(from: 1, to: 8001, by: 1000) {
      pair.peer.send([], sequence, count: 1000, ack: 1)
    }
    pair.simulation.run(for: .milliseconds(300))
    #expect(socket.read() == 8000 && socket.firstWrongByte == nil && segments(pair) == 0)
  }

  /// Segments that overlap in every way: each byte is delivered once, in its place.
  @Test func overlaps() {
    for seed: UInt64 in 1...60 {
      let pair = ScriptedPair()
      let socket = pair.open()
      var random = SplitMix64(seed: seed)
      for _ in 0..<80 {
        let start = Int.random(in: -200...9000, using: &random)
        let count = Int.random(in: 1...1400, using: &random)
        let first = max(start, 1)
        if start + count > first {
          pair.peer.send([], first, count: start + count - first, ack: 1)
        }
      }
      for sequence in stride(from: 1, to: 10_400, by: 1300) {
        pair.peer.send([], sequence, count: 1300, ack: 1)
      }
      pair.simulation.run(for: .milliseconds(300))
      socket.read()
      #expect(socket.bytesReceived == 10_400 && socket.firstWrongByte == nil, "seed \(seed)")
      #expect(segments(pair) == 0)
    }
  }

  /// Two contents for the same bytes: one of them is delivered, and not a mixture that neither sent
  /// twice.
  @Test func conflictingContents() {
    let pair = ScriptedPair()
    let socket = pair.open()
    let right = (0..<300).map { StreamPattern.byte($0, port: 80, toServer: true) }
    pair.peer.send([], 101, count: 100, ack: 1)
    let wrong = [UInt8](repeating: 0, count: 300)
    pair.peer.send(pair.peer.header([], 101, ack: 1).frame(Array(wrong[..<100])))
    pair.peer.send(pair.peer.header([], 1, ack: 1).frame(Array(right[..<100])))
    #expect(socket.unread == 200)
    pair.peer.send([], 201, count: 100, ack: 1)
    #expect(socket.read() == 300 && socket.firstWrongByte == nil)
  }

  /// CVE-2018-5391 (FragmentSmack), CVE-1999-0015 (teardrop), the ping of death, and fragments of
  /// IPv6 (RFC 5722, RFC 8200 section 4.5): none of them is put together, none leaves anything behind.
  @Test(arguments: [0x2000, 0x2001, 0x0001, 0x1fff, 0x3fff, 0x6000])
  func fragments(field: UInt16) {
    let pair = ScriptedPair()
    let socket = pair.open()
    let payload = (0..<100).map { StreamPattern.byte($0, port: 80, toServer: true) }
    var frame = pair.peer.header([], 1, ack: 1).frame(payload)
    frame.put16(field, at: 20)
    for _ in 0..<100 { pair.peer.send(resized: frame) }
    #expect(pair.drops(.fragment) == 100 && socket.unread == 0 && pair.peer.take() == [])
    let six = ScriptedPair(isIPv4: false)
    let other = six.open()
    var plain = six.peer.header([], 1, ack: 1).frame(payload)
    plain[20] = 44
    plain.insert(contentsOf: [6, 0, UInt8(field >> 8), UInt8(field & 255), 0, 0, 0, 1], at: 54)
    plain.put16(UInt16(plain.count - 54), at: 18)
    for _ in 0..<100 { six.peer.send(plain) }
    #expect(six.drops(.fragment) == 100 && other.unread == 0 && six.peer.take() == [])
  }
}
