import Testing

@Suite struct SendChunksTests {
  private static let count: UInt32 = 8

  private static func withChunks(_ body: (inout SendChunks) -> Void) {
    let records = UnsafeMutablePointer<SendChunks.Record>.allocate(capacity: Int(count))
    defer { records.deallocate() }
    var chunks = SendChunks(records: records, count: count)
    body(&chunks)
  }

  @Test func everyChunkIsTakenOnceAndTheWarmestFirst() {
    Self.withChunks { chunks in
      var taken: [UInt32] = []
      while let chunk = chunks.take() { taken.append(chunk) }
      #expect(taken.sorted() == Array(0..<Self.count) && chunks.free == 0)
      chunks.giveBack(5)
      chunks.giveBack(2)
      #expect(chunks.take() == 2 && chunks.take() == 5 && chunks.take() == nil)
    }
  }

  @Test func acknowledgementsFreeTheChunksTheyCover() {
    Self.withChunks { chunks in
      var queue = SendQueue()
      for length: UInt32 in [100, 50, 200] {
        guard let chunk = chunks.take() else { return #expect(Bool(false), "a chunk is free") }
        chunks.sent(chunk, length: length, on: &queue)
      }
      #expect(queue.bytes == 350 && queue.chunks == 3 && chunks.free == 5)
      #expect(chunks.acknowledged(99, on: &queue) && chunks.free == 5)
      #expect(chunks.acknowledged(51, on: &queue) && chunks.free == 7)
      #expect(queue.bytes == 200 && queue.chunks == 1)
      #expect(!chunks.acknowledged(201, on: &queue), "more than was sent")
      #expect(queue.bytes == 200)
      chunks.freeAll(on: &queue)
      #expect(queue.bytes == 0 && queue.chunks == 0 && chunks.free == Self.count)
    }
  }

  /// Many connections in turn, against a plain count.
  @Test func nothingIsLostOverManyRounds() {
    Self.withChunks { chunks in
      var queues = [SendQueue](repeating: SendQueue(), count: 3)
      var state: UInt64 = 42
      for _ in 0..<10_000 {
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        let which = Int(state >> 60) % 3
        if state >> 40 & 1 == 0 {
          guard let chunk = chunks.take() else { continue }
          chunks.sent(chunk, length: UInt32(state >> 33 & 63) + 1, on: &queues[which])
        } else if queues[which].bytes > 0 {
          let count = UInt32(state >> 33) % queues[which].bytes + 1
          #expect(chunks.acknowledged(count, on: &queues[which]))
        }
        #expect(chunks.free + queues.reduce(0) { $0 + $1.chunks } == Self.count)
      }
    }
  }

  @Test func oneConnectionLeavesSomethingToOthers() {
    Self.withChunks { chunks in
      var held: UInt32 = 0
      while held < chunks.allowance, chunks.take() != nil { held += 1 }
      #expect(held < Self.count && chunks.free > 0)
    }
  }
}
