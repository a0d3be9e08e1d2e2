/// The engine's transmit records. Each connection has a list of them in sequence order while it has
/// something in flight, and lists by state; all steps are constant time, but for those that a timer or an
/// undo asks for.
struct TransmitRecords {
  /// Records that one connection may have: as many segments may be in flight.
  static let perConnection: UInt32 = 16_384

  let slab: Slab<TransmitRecordID, TransmitRecord>
  /// Records that connections share: each may have half as many as are left, so that a few whose peers
  /// acknowledge nothing do not take all. What is beyond is one for each connection, so that none must wait
  /// for others to be acknowledged.
  private let shared: UInt32

  init(shared: Int, connections: Int) {
    self.shared = UInt32(shared)
    slab = Slab(capacity: shared + connections)
  }

  /// Frees the memory.
  func deallocate() { slab.deallocate() }

  // MARK: Sending

  /// Whether one more segment may be in flight. With none in flight always.
  @inline(__always)
  func mayAppend(to flight: Flight) -> Bool {
    flight.count == 0
      || flight.count < min(Self.perConnection, (shared &- min(shared, slab.count)) / 2)
  }

  /// A segment was sent that follows all others. Asked for with `mayAppend`.
  @inline(__always)
  func append(
    _ sequence: SequenceNumber, to end: SequenceNumber, flight: inout Flight, now: Instant
  ) {
    var record = TransmitRecord(sentAt: now, sequence: sequence, end: end)
    record.previous = flight.last
    record.previousInState = flight.sent.last
    guard let id = slab.allocate(record) else { preconditionFailure("not asked for") }
    if flight.last == .none { flight.first = id } else { slab[flight.last].next = id }
    flight.last = id
    if flight.sent.last == .none {
      flight.sent.first = id
    } else {
      slab[flight.sent.last].nextInState = id
    }
    flight.sent.last = id
    flight.bytes += record.length
    flight.count += 1
  }

  /// A lost segment, or one in flight (a probe), was sent again.
  func retransmitted(
    _ id: TransmitRecordID, flight: inout Flight, recovery: inout LossRecovery, now: Instant
  ) {
    leaveState(id, flight: &flight, recovery: &recovery)
    slab[id].state = .inFlight
    slab[id].sentAt = now
    slab[id].transmissions = min(slab[id].transmissions, 254) + 1
    flight.bytes += slab[id].length
    join(id, &flight.sent)
  }

  // MARK: Acknowledgement

  /// Everything before `acknowledgement` is acknowledged, on a connection on which nothing is missing:
  /// all records are in flight.
  @inline(__always)
  func acknowledgeInOrder(_ acknowledgement: SequenceNumber, flight: inout Flight) -> Delivery {
    var delivery = Delivery()
    while flight.first != .none {
      let id = flight.first
      let record = slab[id]
      guard record.end <= acknowledgement else { break }
      delivery.take(record, isSelective: false)
      flight.first = record.next
      leave(id, &flight.sent)
      flight.count -= 1
      slab.free(id)
    }
    if flight.first == .none {
      flight = Flight()
    } else {
      slab[flight.first].previous = .none
      flight.bytes -= delivery.bytes
      delivery.bytes += trimFirst(acknowledgement, flight: &flight)
    }
    return delivery
  }

  /// The acknowledgement may end within a segment. Returns the bytes, which were in flight.
  private func trimFirst(_ acknowledgement: SequenceNumber, flight: inout Flight) -> UInt32 {
    let part = acknowledgement - slab[flight.first].sequence
    guard part > 0 else { return 0 }
    slab[flight.first].sequence = acknowledgement
    flight.bytes -= UInt32(part)
    return UInt32(part)
  }

  /// Everything before `acknowledgement` is acknowledged. `body` is given each record that was not
  /// known to be delivered.
  func acknowledge(
    _ acknowledgement: SequenceNumber, flight: inout Flight, recovery: inout LossRecovery,
    _ body: (TransmitRecord) -> Void
  ) -> UInt32 {
    while flight.first != .none, slab[flight.first].end <= acknowledgement {
      let id = flight.first
      if slab[id].state != .sacked { body(slab[id]) }
      remove(id, flight: &flight, recovery: &recovery)
    }
    guard flight.first != .none else { return 0 }
    let part = acknowledgement - slab[flight.first].sequence
    guard part > 0 else { return 0 }
    let bytes = UInt32(part)
    slab[flight.first].sequence = acknowledgement
    switch slab[flight.first].state {
    case .inFlight: flight.bytes -= bytes
    case .lost, .lostAgain: recovery.lostBytes -= bytes
    case .sacked:
      recovery.sackedBytes -= bytes
      return 0
    }
    return bytes
  }

  // MARK: States

  /// The peer has reported a segment.
  func markSacked(
    _ id: TransmitRecordID, flight: inout Flight, recovery: inout LossRecovery
  ) {
    leaveState(id, flight: &flight, recovery: &recovery)
    slab[id].state = .sacked
    recovery.sackedBytes += slab[id].length
    recovery.sackedSegments += 1
  }

  /// A segment in flight is lost.
  func markLost(_ id: TransmitRecordID, flight: inout Flight, recovery: inout LossRecovery) {
    leaveState(id, flight: &flight, recovery: &recovery)
    recovery.lostBytes += slab[id].length
    // Both lists are in the order of sending, and so nearly in that of the numbers.
    if slab[id].isRetransmitted {
      slab[id].state = .lostAgain
      join(id, &recovery.lostAgain)
    } else {
      slab[id].state = .lost
      join(id, &recovery.lost)
    }
  }

  /// After a timeout nothing is taken for granted: all segments for which `isLost` is true are lost,
  /// in the order of their numbers. If the peer has reneged, what it has reported is, too. A walk over
  /// all records, once in a timeout.
  func markAllLost(
    flight: inout Flight, recovery: inout LossRecovery, reneges: Bool,
    _ isLost: (TransmitRecord) -> Bool
  ) {
    if reneges {
      recovery.sackedBytes = 0
      recovery.sackedSegments = 0
    }
    recovery.lost = ListHead()
    recovery.lostAgain = ListHead()
    recovery.lostBytes = 0
    var id = flight.first
    while id != .none {
      let record = slab[id]
      switch record.state {
      case .sacked where !reneges: break
      case .inFlight where !isLost(record): break
      case .inFlight:
        leave(id, &flight.sent)
        flight.bytes -= record.length
        fallthrough
      case .lost, .lostAgain, .sacked:
        slab[id].state = .lost
        recovery.lostBytes += record.length
        join(id, &recovery.lost)
      }
      id = record.next
    }
  }

  /// Nothing was lost: what waits to be sent again is in flight, as it was.
  func unmarkLost(flight: inout Flight, recovery: inout LossRecovery) {
    // Lost segments were sent before those in flight.
    var sent = recovery.lost
    concatenate(recovery.lostAgain, to: &sent)
    var id = sent.first
    while id != .none {
      slab[id].state = .inFlight
      flight.bytes += slab[id].length
      id = slab[id].nextInState
    }
    concatenate(flight.sent, to: &sent)
    flight.sent = sent
    recovery.lost = ListHead()
    recovery.lostAgain = ListHead()
    recovery.lostBytes = 0
  }

  /// The lost segment to be sent next, or none.
  func nextLost(_ recovery: LossRecovery) -> TransmitRecordID {
    let (once, again) = (recovery.lost.first, recovery.lostAgain.first)
    guard again != .none else { return once }
    guard once != .none else { return again }
    return slab[again].sequence < slab[once].sequence ? again : once
  }

  // MARK: Segmentation

  /// Makes a segment that is about to be sent again as long as its path permits: it may have become
  /// narrower, and lost segments behind it may have room in the same frame.
  func fit(
    _ id: TransmitRecordID, _ size: UInt32, flight: inout Flight, recovery: inout LossRecovery
  ) {
    while slab[id].isLost, slab[id].length < size {
      let next = slab[id].next
      guard next != .none, slab[next].isLost else { return }
      let count = min(size - slab[id].length, slab[next].length)
      slab[id].end += count
      recovery.lostBytes += count
      if count == slab[next].length {
        remove(next, flight: &flight, recovery: &recovery)
      } else {
        slab[next].sequence += count
        recovery.lostBytes -= count
      }
    }
    guard slab[id].length > size else { return }
    let next = slab[id].next
    if slab[id].isLost, next != .none, slab[next].isLost {
      // No other record is needed for the rest.
      slab[id].end = slab[id].sequence + size
      slab[next].sequence = slab[id].end
    } else {
      split(id, at: slab[id].sequence + size, flight: &flight, recovery: &recovery)
    }
  }

  /// Divides a segment. Without room for another record it stays as it is, and goes out in pieces.
  private func split(
    _ id: TransmitRecordID, at sequence: SequenceNumber, flight: inout Flight,
    recovery: inout LossRecovery
  ) {
    guard mayAppend(to: flight) else { return }
    var rest = slab[id]
    rest.sequence = sequence
    rest.previous = id
    guard let other = slab.allocate(rest) else { return }
    if rest.next == .none { flight.last = other } else { slab[rest.next].previous = other }
    slab[id].next = other
    slab[id].end = sequence
    flight.count += 1
    switch rest.state {
    case .inFlight: insert(other, after: id, &flight.sent)
    case .lost: insert(other, after: id, &recovery.lost)
    case .lostAgain: insert(other, after: id, &recovery.lostAgain)
    case .sacked: recovery.sackedSegments += 1
    }
  }

  // MARK: The end

  /// The connection is over.
  func removeAll(_ flight: inout Flight) {
    var id = flight.first
    while id != .none {
      let next = slab[id].next
      slab.free(id)
      id = next
    }
    flight = Flight()
  }

  // MARK: Lists

  /// Takes a record out of the list of its state, and its bytes out of the sum.
  private func leaveState(
    _ id: TransmitRecordID, flight: inout Flight, recovery: inout LossRecovery
  ) {
    let length = slab[id].length
    switch slab[id].state {
    case .inFlight:
      leave(id, &flight.sent)
      flight.bytes -= length
    case .lost:
      leave(id, &recovery.lost)
      recovery.lostBytes -= length
    case .lostAgain:
      leave(id, &recovery.lostAgain)
      recovery.lostBytes -= length
    case .sacked:
      recovery.sackedBytes -= length
      recovery.sackedSegments -= 1
    }
  }

  private func remove(
    _ id: TransmitRecordID, flight: inout Flight, recovery: inout LossRecovery
  ) {
    leaveState(id, flight: &flight, recovery: &recovery)
    let record = slab[id]
    if record.previous == .none {
      flight.first = record.next
    } else {
      slab[record.previous].next = record.next
    }
    if record.next == .none {
      flight.last = record.previous
    } else {
      slab[record.next].previous = record.previous
    }
    if recovery.scoreboard.cursor == id { recovery.scoreboard.cursor = .none }
    flight.count -= 1
    slab.free(id)
  }

  private func join(_ id: TransmitRecordID, _ list: inout ListHead<TransmitRecordID>) {
    slab[id].previousInState = list.last
    slab[id].nextInState = .none
    if list.last == .none { list.first = id } else { slab[list.last].nextInState = id }
    list.last = id
  }

  private func insert(
    _ id: TransmitRecordID, after other: TransmitRecordID,
    _ list: inout ListHead<TransmitRecordID>
  ) {
    let next = slab[other].nextInState
    slab[id].previousInState = other
    slab[id].nextInState = next
    slab[other].nextInState = id
    if next == .none { list.last = id } else { slab[next].previousInState = id }
  }

  private func leave(_ id: TransmitRecordID, _ list: inout ListHead<TransmitRecordID>) {
    let (previous, next) = (slab[id].previousInState, slab[id].nextInState)
    if previous == .none { list.first = next } else { slab[previous].nextInState = next }
    if next == .none { list.last = previous } else { slab[next].previousInState = previous }
  }

  private func concatenate(
    _ tail: ListHead<TransmitRecordID>, to list: inout ListHead<TransmitRecordID>
  ) {
    guard !tail.isEmpty else { return }
    guard !list.isEmpty else {
      list = tail
      return
    }
    slab[list.last].nextInState = tail.first
    slab[tail.first].previousInState = list.last
    list.last = tail.last
  }
}
