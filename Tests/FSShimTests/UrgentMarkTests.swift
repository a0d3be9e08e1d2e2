import Testing

@Suite struct UrgentMarkTests {
  @Test func aMarkIsNearedReachedAndPassed() {
    var mark = UrgentMark()
    #expect(!mark.isNext)
    #expect(mark.announce(5) && mark.state == .announced && !mark.isNext)
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
    #expect(!mark.announce(-1), "already read")
    #expect(mark.announce(4))
    #expect(!mark.announce(4) && !mark.announce(2) && mark.distance == 4)
    mark.state = .read
    #expect(mark.announce(9) && mark.state == .announced && mark.distance == 9)
  }

  @Test func theByteIsFoundAmongThePieces() {
    let records = UnsafeMutablePointer<ReceivePiece>.allocate(capacity: 4)
    defer { records.deallocate() }
    let pieces = ReceivePieces(records: records, chunkCount: 4, chunkSize: 100)
    var queue = ReceiveQueue()
    #expect(pieces.locate(0, in: queue) == nil)
    #expect(pieces.append(2, offset: 10, length: 5, to: &queue))
    #expect(pieces.append(0, offset: 0, length: 7, to: &queue))
    for (position, place) in [(0, (2, 10)), (4, (2, 14)), (5, (0, 0)), (11, (0, 6))] {
      let found = pieces.locate(UInt32(position), in: queue)
      #expect(found?.chunk == UInt32(place.0) && found?.offset == place.1, "\(position)")
    }
    #expect(pieces.locate(12, in: queue) == nil)
    pieces.dropFirst(5, of: &queue)
    #expect(pieces.locate(0, in: queue)?.chunk == 0)
  }
}
