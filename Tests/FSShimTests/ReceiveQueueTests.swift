import Testing

/// Pieces of receive chunks, in memory of the test.
private final class Pieces {
  let pieces: ReceivePieces
  var queue = ReceiveQueue()

  init(chunks: UInt32 = 8, size: UInt32 = 100) {
    pieces = ReceivePieces(
      records: .allocate(capacity: Int(chunks)), chunkCount: chunks, chunkSize: size)
  }

  deinit { pieces.records.deallocate() }

  func append(_ chunk: UInt32, _ offset: UInt16, _ length: UInt16) -> Bool {
    pieces.append(chunk, offset: offset, length: length, to: &queue)
  }

  /// Chunk, offset and length of the first piece.
  var first: [UInt32] {
    let record = pieces.records[Int(queue.head)]
    return [queue.head, UInt32(record.offset), UInt32(record.length)]
  }
}

@Suite struct ReceiveQueueTests {
  @Test func piecesComeInOrderAndAdjacentOnesAreOne() {
    let test = Pieces()
    #expect(test.append(3, 0, 40) && test.append(3, 40, 60) && test.append(0, 0, 10))
    #expect(test.queue.count == 110)
    #expect(test.first == [3, 0, 100])
    test.pieces.dropFirst(30, of: &test.queue)
    #expect(test.first == [3, 30, 70])
    test.pieces.dropFirst(70, of: &test.queue)
    #expect(test.first == [0, 0, 10])
    test.pieces.dropFirst(10, of: &test.queue)
    #expect(test.queue.count == 0 && test.queue.head == .max && test.queue.tail == .max)
    // The chunk is the engine's again, and may come anew, further back.
    #expect(test.append(0, 10, 5))
    #expect(test.first == [0, 10, 5])
  }

  /// What no engine announces is refused, and changes nothing.
  @Test func impossiblePiecesAreRefused() {
    let test = Pieces()
    #expect(test.append(1, 0, 10))
    #expect(!test.append(8, 0, 1), "no such chunk")
    #expect(!test.append(2, 0, 0), "nothing")
    #expect(!test.append(2, 90, 11), "beyond the chunk")
    #expect(!test.append(2, .max, .max), "beyond the chunk")
    #expect(!test.append(1, 11, 1), "a hole in the chunk")
    #expect(!test.append(1, 0, 10), "the same bytes again")
    #expect(test.queue.count == 10)
    #expect(test.first == [1, 0, 10])
  }
}
