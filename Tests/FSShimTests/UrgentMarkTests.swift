import Testing

@Suite struct UrgentMarkTests {
  @Test func aMarkIsNearedReachedAndPassed() {
    var mark = UrgentMark()
    #expect(!mark.isNext)
    let isNews = mark.announce(5)
    #expect(isNews && mark.state == .announced && !mark.isNext)
    mark.consumed(3)
    #expect(mark.distance == 2 && mark.state == .announced)
    mark.consumed(2)
    #expect(mark.isNext, "the byte itself is not yet read")
    mark.consumed(1)
    #expect(mark.state == .none && !mark.isNext)
    mark.consumed(100)
    #expect(mark.state == .none)
  }

  @Test func onlyALaterMarkIsNews() {
    var mark = UrgentMark()
    let answers = [-1, 4, 4, 2].map { mark.announce($0) }
    #expect(answers == [false, true, false, false], "already read, new, the same, nearer")
    #expect(mark.distance == 4)
    mark.state = .read
    let isNews = mark.announce(9)
    #expect(isNews && mark.state == .announced && mark.distance == 9)
  }

  @Test func theByteIsFoundAmongThePieces() {
    let records = UnsafeMutablePointer<ReceivePiece>.allocate(capacity: 4)
    defer { records.deallocate() }
    let pieces = ReceivePieces(records: records, chunkCount: 4, chunkSize: 100)
    var queue = ReceiveQueue()
    #expect(pieces.locate(0, in: queue) == nil)
    let fit = [
      pieces.append(2, offset: 10, length: 5, to: &queue),
      pieces.append(0, offset: 0, length: 7, to: &queue),
    ]
    #expect(fit == [true, true])
    for (position, chunk, offset) in [(0, 2, 10), (4, 2, 14), (5, 0, 0), (11, 0, 6)] {
      let found = pieces.locate(UInt32(position), in: queue)
      #expect(found?.chunk == UInt32(chunk) && found?.offset == offset, "\(position)")
    }
    #expect(pieces.locate(12, in: queue) == nil)
    pieces.dropFirst(5, of: &queue)
    #expect(pieces.locate(0, in: queue)?.chunk == 0)
  }
}
