/// Where in the records of a connection the blocks of its peer lie.
///
/// Blocks come again with every acknowledgement, the newest a little longer. What is remembered of
/// them makes the work for an acknowledgement that of the segments it newly reports; for a peer that
/// sends other blocks each time it is bounded by `searchLimit` (CVE-2019-11478).
struct Scoreboard: BitwiseCopyable {
  /// Records in a row that are marked.
  struct Run: BitwiseCopyable {
    var left = SequenceNumber(0)
    var right = SequenceNumber(0)
    var first = TransmitRecordID.none
    var last = TransmitRecordID.none
  }

  /// Where the last search ended.
  var cursor = TransmitRecordID.none
  /// The highest number that is known to be delivered, plus one: RACK.fack of RFC 8985.
  var highest = SequenceNumber(0)
  /// The first `runCount`: those of the last acknowledgement.
  fileprivate(set) var runs = InlineArray<4, Run>(repeating: Run())
  fileprivate(set) var runCount = 0

  /// Records that an acknowledgement may pass by without marking them.
  static var searchLimit: Int { 256 }

  /// What has been reported is not to be trusted any more, or the records may go without being asked after
  /// here.
  mutating func forget() {
    forgetRuns()
    cursor = .none
  }

  /// All that has been reported is acknowledged. The numbers of the records are used anew, and sequence
  /// numbers come again.
  mutating func forgetRuns() { runCount = 0 }

  /// A remembered run of which the end still is in flight and that touches the block.
  fileprivate func run(touching block: SACKBlock, unacknowledged: SequenceNumber) -> Run? {
    for index in 0..<runCount {
      let run = runs[index]
      if run.right > unacknowledged, run.left <= block.right, block.left <= run.right {
        return run
      }
    }
    return nil
  }
}

extension TransmitRecords {
  /// Marks the segments that the blocks cover completely. `body` is given each, before it is marked.
  func mark(
    _ report: SelectiveReport, unacknowledged: SequenceNumber, flight: inout Flight,
    recovery: inout LossRecovery, _ body: (TransmitRecord) -> Void
  ) {
    var budget = Scoreboard.searchLimit
    var found = Scoreboard()
    for index in 0..<report.count {
      let block = report.blocks[index]
      var run = recovery.scoreboard.run(touching: block, unacknowledged: unacknowledged)
      if run == nil {
        let first = find(block.left, flight, &recovery.scoreboard, &budget)
        run = begin(first, block, &flight, &recovery, body)
      }
      guard var run else { continue }
      extend(&run, to: block, unacknowledged, &flight, &recovery, &budget, body)
      found.runs[found.runCount] = run
      found.runCount += 1
      recovery.scoreboard.cursor = run.last
    }
    recovery.scoreboard.runs = found.runs
    recovery.scoreboard.runCount = found.runCount
  }

  /// The first record that does not begin before `sequence`, or none: not within what may be searched.
  /// The next search then goes on from there.
  private func find(
    _ sequence: SequenceNumber, _ flight: Flight, _ scoreboard: inout Scoreboard,
    _ budget: inout Int
  ) -> TransmitRecordID {
    var id = flight.first
    for candidate in [scoreboard.cursor, flight.last] where candidate != .none {
      let distance = abs(Int(slab[candidate].sequence - sequence))
      if distance < abs(Int(slab[id].sequence - sequence)) { id = candidate }
    }
    guard id != .none else { return .none }
    while slab[id].sequence < sequence {
      let next = slab[id].next
      guard next != .none, budget > 0 else {
        scoreboard.cursor = id
        return .none
      }
      budget -= 1
      id = next
    }
    while true {
      let previous = slab[id].previous
      guard previous != .none, slab[previous].sequence >= sequence else { return id }
      guard budget > 0 else {
        scoreboard.cursor = id
        return .none
      }
      budget -= 1
      id = previous
    }
  }

  /// A run of the first record within a block; nil if it covers none completely.
  private func begin(
    _ id: TransmitRecordID, _ block: SACKBlock, _ flight: inout Flight,
    _ recovery: inout LossRecovery, _ body: (TransmitRecord) -> Void
  ) -> Scoreboard.Run? {
    guard id != .none, slab[id].end <= block.right else { return nil }
    mark(id, &flight, &recovery, body)
    return Scoreboard.Run(left: slab[id].sequence, right: slab[id].end, first: id, last: id)
  }

  /// Marks what a block covers on both sides of a run.
  private func extend(
    _ run: inout Scoreboard.Run, to block: SACKBlock, _ unacknowledged: SequenceNumber,
    _ flight: inout Flight, _ recovery: inout LossRecovery, _ budget: inout Int,
    _ body: (TransmitRecord) -> Void
  ) {
    while budget > 0 {
      let next = slab[run.last].next
      guard next != .none, slab[next].end <= block.right else { break }
      if !mark(next, &flight, &recovery, body) { budget -= 1 }
      run.last = next
      run.right = slab[next].end
    }
    // The run's first record is gone when a part of it is acknowledged.
    guard run.left >= unacknowledged else { return }
    while budget > 0 {
      let previous = slab[run.first].previous
      guard previous != .none, slab[previous].sequence >= block.left else { break }
      if !mark(previous, &flight, &recovery, body) { budget -= 1 }
      run.first = previous
      run.left = slab[previous].sequence
    }
  }

  /// Marks one record. False: it was marked before.
  @discardableResult
  private func mark(
    _ id: TransmitRecordID, _ flight: inout Flight, _ recovery: inout LossRecovery,
    _ body: (TransmitRecord) -> Void
  ) -> Bool {
    guard slab[id].state != .sacked else { return false }
    body(slab[id])
    markSacked(id, flight: &flight, recovery: &recovery)
    return true
  }
}
