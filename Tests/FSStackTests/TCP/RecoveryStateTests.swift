import Testing

@testable import FSStack

@Suite struct ProportionalRateReductionTests {
  /// A window of ten segments goes down to seven in step with what is delivered.
  @Test func reduces() {
    var reduction = ProportionalRateReduction()
    reduction.begin(flight: 10_000)
    var pipe: UInt32 = 8000
    var sent: UInt32 = 0
    for _ in 0..<10 {
      let window = reduction.acknowledged(
        1000, pipe: pipe, threshold: 7000, segmentSize: 1000, isSafe: false)
      while window - pipe >= 1000 {
        reduction.transmitted(1000)
        pipe += 1000
        sent += 1000
      }
      pipe -= 1000
    }
    #expect(sent == 7000 || sent == 8000)
  }

  /// Below the threshold no more is sent than is delivered, and one segment more while all goes well.
  @Test func conservative() {
    var reduction = ProportionalRateReduction()
    reduction.begin(flight: 10_000)
    reduction.transmitted(1000)
    let careful = reduction.acknowledged(
      1000, pipe: 2000, threshold: 5000, segmentSize: 1000, isSafe: false)
    #expect(careful == 3000)
    let safe = reduction.acknowledged(
      1000, pipe: 2000, threshold: 5000, segmentSize: 1000, isSafe: true)
    #expect(safe == 4000)
    let bounded = reduction.acknowledged(
      9000, pipe: 4500, threshold: 5000, segmentSize: 1000, isSafe: true)
    #expect(bounded == 5000)
  }

  /// The first segment goes out whatever is in flight.
  @Test func fastRetransmit() {
    var reduction = ProportionalRateReduction()
    reduction.begin(flight: 100_000)
    let window = reduction.acknowledged(
      100, pipe: 90_000, threshold: 50_000, segmentSize: 1000, isSafe: false)
    #expect(window == 91_000)
  }
}

@Suite struct SelectiveReportTests {
  private func report(_ blocks: [[UInt32]], acknowledgement: UInt32 = 1000) -> SelectiveReport {
    var options = SegmentOptions()
    options.sackCount = blocks.count
    for (index, block) in blocks.enumerated() {
      options.sackBlocks[index] = SACKBlock(
        left: SequenceNumber(block[0]), right: SequenceNumber(block[1]))
    }
    return SelectiveReport(
      options, acknowledgement: SequenceNumber(acknowledgement),
      unacknowledged: SequenceNumber(1000), next: SequenceNumber(5000))
  }

  private func blocks(_ report: SelectiveReport) -> [[UInt32]] {
    (0..<report.count).map { [report.blocks[$0].left.value, report.blocks[$0].right.value] }
  }

  @Test func ascending() {
    let report = report([[4000, 5000], [2000, 3000], [3500, 3600], [1100, 1200]])
    #expect(blocks(report) == [[1100, 1200], [2000, 3000], [3500, 3600], [4000, 5000]])
    #expect(!report.hasDuplicate && report.impossible == 0)
  }

  @Test func impossible() {
    let report = report([[2000, 2000], [3000, 2000], [4000, 5001], [1000, 2000]])
    #expect(report.count == 0 && report.impossible == 4)
  }

  /// RFC 2883: below the acknowledgement, or within the second block.
  @Test func duplicates() {
    let old = report([[500, 900], [2000, 3000]])
    #expect(old.hasDuplicate && old.duplicate.right == SequenceNumber(900))
    #expect(blocks(old) == [[2000, 3000]])
    let inner = report([[2200, 2400], [2000, 3000]])
    #expect(inner.hasDuplicate && blocks(inner) == [[2000, 3000]])
    // Old, but not in the first place: of no meaning, and no harm.
    let late = report([[2000, 3000], [500, 900]])
    #expect(!late.hasDuplicate && late.impossible == 0)
  }

  /// Over the end of the number space.
  @Test func wraps() {
    var options = SegmentOptions()
    options.sackCount = 1
    options.sackBlocks[0] = SACKBlock(
      left: SequenceNumber(0xffff_ff00), right: SequenceNumber(0x100))
    let report = SelectiveReport(
      options, acknowledgement: SequenceNumber(0xffff_f000),
      unacknowledged: SequenceNumber(0xffff_f000), next: SequenceNumber(0x1000))
    #expect(report.count == 1 && report.impossible == 0)
  }
}

@Suite struct RackStateTests {
  private func record(_ milliseconds: UInt64, _ number: UInt32, transmissions: UInt8 = 1)
    -> TransmitRecord
  {
    var record = TransmitRecord(
      sentAt: Instant(nanoseconds: milliseconds * 1_000_000), sequence: SequenceNumber(number),
      end: SequenceNumber(number + 100))
    record.transmissions = transmissions
    return record
  }

  private func deliver(
    _ rack: inout Rack, _ record: TransmitRecord, at milliseconds: UInt64, highest: UInt32 = 0,
    isOriginal: Bool = false
  ) {
    rack.delivered(
      record, isOriginal: isOriginal, highest: SequenceNumber(highest),
      minimumRoundTrip: .milliseconds(10), now: Instant(nanoseconds: milliseconds * 1_000_000))
  }

  /// The segment that was sent last counts; of those sent at once, the one with the highest number.
  @Test func mostRecent() {
    var rack = Rack()
    deliver(&rack, record(5, 100), at: 25)
    deliver(&rack, record(5, 300), at: 25)
    deliver(&rack, record(4, 500), at: 25)
    deliver(&rack, record(5, 200), at: 25)
    #expect(rack.end == SequenceNumber(400) && rack.roundTrip == .milliseconds(20))
  }

  /// An answer that comes sooner than any can, or echoes an older timestamp, is one to the original.
  @Test func retransmissions() {
    var rack = Rack()
    deliver(&rack, record(20, 100, transmissions: 2), at: 25)
    #expect(!rack.isValid)
    deliver(&rack, record(20, 100, transmissions: 2), at: 40, isOriginal: true)
    #expect(!rack.isValid)
    deliver(&rack, record(20, 100, transmissions: 2), at: 40)
    #expect(rack.isValid && !rack.hasReordering)
  }

  /// Nothing is waited for when the path keeps the order and three segments say that one is missing; the
  /// window then grows with duplicates, to a round trip at most.
  @Test func window() {
    var rack = Rack()
    func window(_ segments: UInt32, isRecovering: Bool = false) -> Interval {
      rack.window(
        isRecovering: isRecovering, sackedSegments: segments, smoothed: .milliseconds(50),
        minimum: .milliseconds(40))
    }
    #expect(window(1) == .milliseconds(10) && window(3) == .milliseconds(0))
    #expect(window(1, isRecovering: true) == .milliseconds(0))
    deliver(&rack, record(1, 100), at: 25, highest: 1000)
    #expect(rack.hasReordering && window(3) == .milliseconds(10))
    for round in 1...9 {
      rack.acknowledged(
        SequenceNumber(UInt32(round) * 1000), next: SequenceNumber(UInt32(round) * 1000 + 900),
        hasDuplicate: true)
    }
    #expect(rack.multiplier == 10 && window(3) == .milliseconds(50))
    for _ in 0..<16 { rack.recovered() }
    #expect(window(3) == .milliseconds(10))
  }
}

@Suite struct MinimumRoundTripTests {
  /// It forgets after five minutes.
  @Test func forgets() {
    var minimum = MinimumRoundTrip()
    #expect(minimum.value == .microseconds(0))
    func sample(_ milliseconds: UInt64, at seconds: UInt64) {
      minimum.sample(
        .milliseconds(milliseconds), now: Instant(nanoseconds: seconds * 1_000_000_000))
    }
    sample(5, at: 1000)
    sample(20, at: 1100)
    #expect(minimum.value == .milliseconds(5))
    sample(20, at: 1200)
    #expect(minimum.value == .milliseconds(5))
    sample(20, at: 1360)
    #expect(minimum.value == .milliseconds(20))
  }
}

@Suite struct TransmitRecordsTests {
  /// Connections whose peers acknowledge nothing leave room for others: each has half of what is left.
  @Test func recordsAreShared() {
    let records = TransmitRecords(shared: 128, connections: 8)
    defer { records.deallocate() }
    var counts: [UInt32] = []
    for _ in 0..<8 {
      var flight = Flight()
      while records.mayAppend(to: flight) {
        let sequence = SequenceNumber(flight.count)
        records.append(sequence, to: sequence + 1, flight: &flight, now: Instant(nanoseconds: 0))
      }
      counts.append(flight.count)
    }
    #expect(counts.first == 43 && counts.last == 2, "\(counts)")
  }
}
