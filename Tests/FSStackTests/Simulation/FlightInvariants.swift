@testable import FSStack

/// What must be true of the records of a connection's segments in flight.
struct FlightInvariants {
  private(set) var problems: [String] = []
  private var bytes: [TransmitRecord.State: UInt32] = [:]
  private var counts: [TransmitRecord.State: UInt32] = [:]
  private var records: Set<UInt32> = []

  /// Looks at one connection; `problems` then holds what is wrong.
  init(_ connection: Connection, _ engine: borrowing Engine) {
    let slab = engine.records.slab
    walk(connection, slab)
    let recovery = connection.recovery == .none ? nil : engine.recoveries[connection.recovery]
    expect(
      connection.flight.bytes == bytes[.inFlight, default: 0],
      "\(connection.flight.bytes) bytes in flight counted")
    checkList(connection.flight.sent, .inFlight, slab)
    guard let recovery else {
      expect(counts.keys.allSatisfy { $0 == .inFlight }, "lost or reported without recovery")
      return
    }
    checkScoreboard(recovery.scoreboard, connection)
    checkList(recovery.lost, .lost, slab)
    checkList(recovery.lostAgain, .lostAgain, slab)
    let lost = bytes[.lost, default: 0] + bytes[.lostAgain, default: 0]
    expect(recovery.lostBytes == lost, "\(recovery.lostBytes) lost counted")
    expect(
      recovery.sackedBytes == bytes[.sacked, default: 0]
        && recovery.sackedSegments == counts[.sacked, default: 0],
      "\(recovery.sackedSegments) reported counted")
    expect(
      connection.flags.contains(.retransmit) == (lost > 0), "\(lost) lost, but not to be sent again"
    )
    expect(!recovery.isRecovering || connection.hasOutstanding, "recovery of nothing")
  }

  private mutating func expect(_ condition: Bool, _ problem: String) {
    if !condition { problems.append(problem + " \(bytes) \(counts)") }
  }

  /// The records follow each other without gaps from SND.UNA to SND.NXT.
  private mutating func walk(
    _ connection: Connection, _ slab: Slab<TransmitRecordID, TransmitRecord>
  ) {
    var sequence = connection.sendUnacknowledged
    var previous = TransmitRecordID.none
    var id = connection.flight.first
    var count: UInt32 = 0
    while id != .none, count <= connection.flight.count {
      let record = slab[id]
      expect(record.previous == previous, "records are not linked both ways")
      expect(record.sequence == sequence, "a gap between records")
      expect(record.end > record.sequence, "an empty record")
      bytes[record.state, default: 0] += record.length
      counts[record.state, default: 0] += 1
      records.insert(id.raw)
      sequence = record.end
      previous = id
      id = record.next
      count += 1
    }
    expect(count == connection.flight.count, "\(count) records, not \(connection.flight.count)")
    expect(connection.flight.last == previous, "the last record is another")
    guard connection.state >= .established else {
      expect(count == 0, "records before the connection is established")
      return
    }
    expect(sequence == connection.sendNext, "records end \(connection.sendNext - sequence) early")
  }

  /// What it remembers are records of this connection, not ones that others have by now.
  private mutating func checkScoreboard(_ scoreboard: Scoreboard, _ connection: Connection) {
    let cursor = scoreboard.cursor
    expect(cursor == .none || records.contains(cursor.raw), "the cursor is at a record of others")
    expect(
      scoreboard.runCount == 0 || counts[.sacked, default: 0] > 0, "runs of nothing reported")
    for index in 0..<scoreboard.runCount {
      let run = scoreboard.runs[index]
      guard run.right > connection.sendUnacknowledged else { continue }
      expect(records.contains(run.last.raw), "a run ends at a record of others")
    }
  }

  private mutating func checkList(
    _ list: ListHead<TransmitRecordID>, _ state: TransmitRecord.State,
    _ slab: Slab<TransmitRecordID, TransmitRecord>
  ) {
    var previous = TransmitRecordID.none
    var id = list.first
    var count: UInt32 = 0
    while id != .none, count <= counts[state, default: 0] {
      expect(slab[id].state == state, "a record in the list of another state")
      expect(slab[id].previousInState == previous, "a list of states is not linked both ways")
      previous = id
      id = slab[id].nextInState
      count += 1
    }
    expect(
      count == counts[state, default: 0] && list.last == previous,
      "\(count) in the list of \(state)")
  }
}
