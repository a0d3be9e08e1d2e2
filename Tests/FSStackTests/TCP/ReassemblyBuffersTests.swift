import Testing

@testable import FSStack

@Suite struct ReassemblyBuffersTests {
  private func connection() -> Connection {
    let flow = Flow(local: .unspecified, localPort: 1, remote: .unspecified, remotePort: 2)
    return Connection(
      flow: flow, state: .established, flags: [], receiveBuffer: 1 << 20,
      sendUnacknowledged: SequenceNumber(0), sendNext: SequenceNumber(0),
      sendMaximum: SequenceNumber(0), sendQueueEnd: SequenceNumber(0), maximumSegmentSize: 1460,
      sendHeadSequence: SequenceNumber(0), sendCursorSequence: SequenceNumber(0),
      congestion: CongestionControl(segmentSize: 1460), interface: 0, vlan: 0xffff,
      nextHop: MACAddress(), pathSegmentSize: 1460, timestampOffset: 0,
      lastSentAt: Instant(nanoseconds: 0), lastReceivedAt: Instant(nanoseconds: 0))
  }

  /// Random pieces of a stream in random order, overlapping: what is queued is sorted, without
  /// overlap, holds the right bytes, and the reported ranges are those that are there.
  @Test func keepsWhatCameFirst() {
    var random = SplitMix64(seed: 1)
    for round in 0..<12 {
      let buffers = ReassemblyBuffers(capacity: 40)
      defer { buffers.deallocate() }
      var connection = connection()
      let origin = SequenceNumber(UInt32(truncatingIfNeeded: round % 2 == 0 ? 0xffff_fe00 : 77))
      var queued = Set<Int>()
      for _ in 0..<60 {
        let start = Int.random(in: 0..<2000, using: &random)
        let length = Int.random(in: 1...300, using: &random)
        let bytes = (start..<start + length).map { UInt8(truncatingIfNeeded: $0 &* 7) }
        let before = buffers.segments.count
        let fits = bytes.withUnsafeBytes {
          buffers.insert(
            $0, at: origin + UInt32(start), isFinished: false, into: &connection)
        }
        #expect(fits || before == 40)
        if fits { queued.formUnion(check(buffers, connection, origin)) }
        // Nothing that was there is lost.
        #expect(queued == check(buffers, connection, origin), "round \(round)")
        guard queued.contains(start) || !fits else {
          Issue.record("round \(round): byte \(start) was not queued")
          return
        }
      }
      checkRanges(buffers, &connection, origin, queued)
      buffers.removeAll(of: &connection)
      #expect(buffers.segments.count == 0 && connection.reassemblyHead == .none)
    }
  }

  /// The positions queued; fails when they are out of order or hold the wrong bytes.
  private func check(
    _ buffers: ReassemblyBuffers, _ connection: Connection, _ origin: SequenceNumber
  ) -> Set<Int> {
    var positions = Set<Int>()
    var id = connection.reassemblyHead
    var end = Int.min
    while id != .none {
      let segment = buffers.segments[id]
      let start = Int(segment.sequence - origin)
      #expect(start >= end)
      end = start + Int(segment.length)
      for (index, byte) in buffers.bytes(id).enumerated() {
        if byte != UInt8(truncatingIfNeeded: (start + index) &* 7) {
          Issue.record("wrong byte at \(start + index)")
        }
      }
      positions.formUnion(start..<end)
      id = segment.next
    }
    return positions
  }

  private func checkRanges(
    _ buffers: ReassemblyBuffers, _ connection: inout Connection, _ origin: SequenceNumber,
    _ queued: Set<Int>
  ) {
    var blocks = InlineArray<4, SACKBlock>(repeating: SACKBlock())
    for limit in 1...4 {
      let count = buffers.selectiveBlocks(of: &connection, limit: limit, into: &blocks)
      #expect(count >= 1 && count <= limit)
      let newest = Int(connection.reassemblyNewest - origin)
      for index in 0..<count {
        let range = Int(blocks[index].left - origin)..<Int(blocks[index].right - origin)
        #expect(queued.isSuperset(of: range), "\(range)")
        #expect(!queued.contains(range.lowerBound - 1) && !queued.contains(range.upperBound))
        #expect(range.contains(newest) == (index == 0))
      }
    }
  }

  /// A FIN behind the last byte, and nothing beyond it.
  @Test func finEndsTheStream() {
    let buffers = ReassemblyBuffers(capacity: 4)
    defer { buffers.deallocate() }
    var connection = connection()
    let bytes = [UInt8](repeating: 1, count: 10)
    bytes.withUnsafeBytes { bytes in
      #expect(buffers.insert(bytes, at: SequenceNumber(20), isFinished: true, into: &connection))
      #expect(buffers.insert(bytes, at: SequenceNumber(35), isFinished: false, into: &connection))
    }
    #expect(buffers.segments.count == 1)
  }
}
