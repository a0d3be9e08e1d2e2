import Testing

@testable import FSStack

@Suite struct ReassemblyBuffersTests {
  private func buffers(_ capacity: Int) -> ReassemblyBuffers {
    ReassemblyBuffers(capacity: capacity, queues: 4, secret: Secret(words: (1, 2, 3, 4)))
  }

  private func bytes(_ range: Range<Int>) -> [UInt8] {
    range.map { UInt8(truncatingIfNeeded: $0 &* 7) }
  }

  @discardableResult
  private func insert(
    _ buffers: ReassemblyBuffers, _ range: Range<Int>, fin: Bool = false,
    origin: SequenceNumber = SequenceNumber(0), _ queue: inout ReassemblyQueueID,
    content: ((Int) -> UInt8)? = nil
  ) -> ReassemblyBuffers.Outcome {
    let payload = content.map { range.map($0) } ?? bytes(range)
    return payload.withUnsafeBytes {
      buffers.insert(
        $0, at: origin + UInt32(range.lowerBound), isFinished: fin, into: &queue)
    }
  }

  /// The positions from `start` on that can be taken at once, with their bytes compared.
  private func contiguous(
    _ buffers: ReassemblyBuffers, _ queue: ReassemblyQueueID, _ origin: SequenceNumber,
    from start: Int
  ) -> Int {
    var position = start
    while true {
      let part = buffers.bytes(of: queue, at: origin + UInt32(position))
      if part.isEmpty { return position }
      #expect(part.elementsEqual(bytes(position..<position + part.count)))
      position += part.count
    }
  }

  /// Random pieces in random order, overlapping, across buffers and across the wrap of the sequence
  /// numbers: exactly what came is there, duplicates are seen, and each reported range is queued.
  @Test func isAModelOfASet() {
    var random = SplitMix64(seed: 1)
    for round in 0..<8 {
      let buffers = buffers(64)
      defer { buffers.deallocate() }
      var queue = ReassemblyQueueID.none
      let origin = SequenceNumber(round % 2 == 0 ? 0xffff_f000 : 77)
      var queued = Set<Int>()
      for _ in 0..<80 {
        let start = Int.random(in: 1..<9000, using: &random)
        let range = start..<start + Int.random(in: 1...1500, using: &random)
        let known = range.prefix { queued.contains($0) }.count
        let outcome = insert(buffers, range, origin: origin, &queue)
        #expect(outcome == .init(isComplete: true, duplicate: UInt32(known)))
        queued.formUnion(range)
        checkBlocks(buffers, queue, origin, queued, newest: start)
        let end = contiguous(buffers, queue, origin, from: start)
        #expect(queued.isSuperset(of: start..<end) && !queued.contains(end))
      }
      #expect(buffers.count <= 6)
      takeAll(buffers, &queue, origin, queued)
    }
  }

  private func checkBlocks(
    _ buffers: ReassemblyBuffers, _ queue: ReassemblyQueueID, _ origin: SequenceNumber,
    _ queued: Set<Int>, newest: Int
  ) {
    var blocks = InlineArray<4, SACKBlock>(repeating: SACKBlock())
    let count = buffers.selectiveBlocks(of: queue, after: 0, limit: 4, into: &blocks)
    #expect((1...4).contains(count))
    for index in 0..<count {
      let range = Int(blocks[index].left - origin)..<Int(blocks[index].right - origin)
      #expect(queued.isSuperset(of: range))
      #expect(range.contains(newest) == (index == 0))
    }
  }

  /// Takes everything, skipping the gaps; then nothing is held.
  private func takeAll(
    _ buffers: ReassemblyBuffers, _ queue: inout ReassemblyQueueID, _ origin: SequenceNumber,
    _ queued: Set<Int>
  ) {
    var taken = Set<Int>()
    var position = 0
    while position < 12_000 {
      let end = contiguous(buffers, queue, origin, from: position)
      taken.formUnion(position..<end)
      let next = max(end, position + 1)
      buffers.pass(&queue, from: origin + UInt32(position), to: origin + UInt32(next))
      position = next
    }
    #expect(taken == queued)
    #expect(queue == .none && buffers.count == 0)
  }

  /// What came first stays.
  @Test func conflictingContent() {
    let buffers = buffers(4)
    defer { buffers.deallocate() }
    var queue = ReassemblyQueueID.none
    insert(buffers, 100..<200, &queue)
    insert(buffers, 50..<250, &queue) {
      (100..<200).contains($0) ? 0xff : UInt8(truncatingIfNeeded: $0 &* 7)
    }
    #expect(contiguous(buffers, queue, SequenceNumber(0), from: 50) == 250)
    buffers.removeAll(&queue)
  }

  /// One-byte segments with gaps between them need no more memory than the window they stand in
  /// (CVE-2018-5390).
  @Test func tinySegments() {
    let buffers = buffers(64)
    defer { buffers.deallocate() }
    var queue = ReassemblyQueueID.none
    for position in stride(from: 1, to: 16_000, by: 2) {
      insert(buffers, position..<position + 1, &queue)
    }
    #expect(buffers.count == 8)
    buffers.removeAll(&queue)
    #expect(buffers.count == 0 && queue == .none)
  }

  /// When many connections with tiny segments ahead of gaps have all buffers, one with fewer gets them from those: not
  /// each time, but soon.
  @Test func takesFromWhoHasMany() {
    let buffers = ReassemblyBuffers(
      capacity: 1024, queues: 33, secret: Secret(words: (1, 2, 3, 4)))
    defer { buffers.deallocate() }
    var queues = [ReassemblyQueueID](repeating: .none, count: 33)
    for index in 0..<32 {
      for position in 1...40 {
        insert(buffers, position * 2048..<position * 2048 + 1, &queues[index])
      }
    }
    #expect(buffers.count == 1024)
    var complete = 0
    for position in 1...20 {
      let range = position * 2048..<position * 2048 + 1000
      if insert(buffers, range, &queues[32]).isComplete { complete += 1 }
    }
    #expect(complete >= 10 && buffers.count(of: queues[32]) == complete && buffers.count == 1024)
    // What it took is queued no more, and reported no more; the rest is as it was.
    for index in 0..<32 {
      let kept = (1...40).count {
        contiguous(buffers, queues[index], SequenceNumber(0), from: $0 * 2048) > $0 * 2048
      }
      #expect(kept == buffers.count(of: queues[index]))
    }
    for index in queues.indices { buffers.removeAll(&queues[index]) }
    #expect(buffers.count == 0)
  }

  /// A connection has so many buffers; a segment that is nearer takes the place of the last, and what
  /// was reported is forgotten, because it may be gone.
  @Test func prunesWhatIsFarther() {
    let buffers = buffers(8)
    defer { buffers.deallocate() }
    var queue = ReassemblyQueueID.none
    insert(buffers, 4096..<4100, &queue)
    insert(buffers, 8192..<8200, &queue)
    #expect(!insert(buffers, 12_288..<12_300, &queue).isComplete)
    #expect(insert(buffers, 2048..<2050, &queue).isComplete)
    var blocks = InlineArray<4, SACKBlock>(repeating: SACKBlock())
    #expect(buffers.selectiveBlocks(of: queue, after: 0, limit: 4, into: &blocks) == 1)
    #expect(blocks[0].left == SequenceNumber(2048))
    #expect(buffers.bytes(of: queue, at: SequenceNumber(4096)).count == 4)
    #expect(buffers.bytes(of: queue, at: SequenceNumber(8192)).isEmpty)
    buffers.removeAll(&queue)
  }

  /// The FIN has one number, the first that was told; nothing is queued behind it, and nothing that
  /// was is taken.
  @Test func finEndsTheStream() {
    let buffers = buffers(4)
    defer { buffers.deallocate() }
    var queue = ReassemblyQueueID.none
    insert(buffers, 40..<60, &queue)
    insert(buffers, 20..<30, fin: true, &queue)
    insert(buffers, 30..<50, fin: true, &queue)
    #expect(buffers.fin(of: queue) == SequenceNumber(30))
    #expect(contiguous(buffers, queue, SequenceNumber(0), from: 20) == 30)
    insert(buffers, 10..<20, &queue)
    #expect(contiguous(buffers, queue, SequenceNumber(0), from: 10) == 30)
    buffers.removeAll(&queue)
    #expect(buffers.count == 0)
  }

  /// A FIN alone needs a queue but no buffer.
  @Test func finAlone() {
    let buffers = buffers(4)
    defer { buffers.deallocate() }
    var queue = ReassemblyQueueID.none
    insert(buffers, 20..<20, fin: true, &queue)
    #expect(queue != .none && buffers.count == 0)
    buffers.removeAll(&queue)
    #expect(queue == .none)
  }
}
