/// The number of a TIME-WAIT record.
struct TimeWaitID: SlabIndex, BitwiseCopyable {
  var raw: UInt32
}

/// What remains of a connection for two maximum segment lifetimes after we closed first: 56 bytes. It is only
/// ever answered, so the way back is that of the segment that comes.
struct TimeWaitRecord: BitwiseCopyable {
  var flow: Flow
  var sendNext: SequenceNumber
  var receiveNext: SequenceNumber
  var recentTimestamp: UInt32
  /// The window field of our acknowledgements, scaled.
  var windowField: UInt16
  /// When the wait ends, in the table's ticks modulo 2^16.
  fileprivate(set) var expiry: UInt16 = 0
  /// When a segment was last answered, likewise.
  fileprivate(set) var answered: UInt16 = 0
  var hasTimestamps: Bool

  init(
    flow: Flow, sendNext: SequenceNumber, receiveNext: SequenceNumber, recentTimestamp: UInt32,
    windowField: UInt16, hasTimestamps: Bool
  ) {
    self.flow = flow
    self.sendNext = sendNext
    self.receiveNext = receiveNext
    self.recentTimestamp = recentTimestamp
    self.windowField = windowField
    self.hasTimestamps = hasTimestamps
  }

  /// The initial sequence number of the flow's next incarnation: above everything that the last one
  /// can have sent, as in Linux.
  var nextInitialSequence: SequenceNumber { sendNext + (65535 + 2) }
}

/// Connections in TIME-WAIT. All wait equally long, so a list in order of entry is their timer; when
/// the table is full the oldest leaves early.
@safe
struct TimeWaitTable {
  /// Two maximum segment lifetimes: 60 s, as in Linux (MUST-13).
  static let duration = Interval.seconds(60)
  /// Two acknowledgements of a record are at least so far apart, as those of a connection
  /// (`Engine.challenge`).
  static let answerInterval = Interval.milliseconds(500)
  /// A tick is 1/64 s; modulo 2^16 they tell 1024 s apart.
  private static let tick: UInt64 = 15_625_000

  private let flows: FlowTable
  private let links: LinkTable<TimeWaitID>
  private var order = ListHead<TimeWaitID>()
  /// The tick at which the last wait of the list ends.
  private var latestExpiry: UInt64 = 0
  private let secret: Secret

  /// The records are among `flows`.
  init(_ flows: FlowTable, secret: Secret) {
    self.flows = flows
    links = LinkTable(capacity: Int(flows.timeWait.capacity))
    self.secret = secret
  }

  /// Frees its own memory.
  func deallocate() { links.deallocate() }

  var records: Slab<TimeWaitID, TimeWaitRecord> { flows.timeWait }

  /// Enters a flow that is not known.
  mutating func insert(_ record: TimeWaitRecord, now: Instant) {
    if records.isFull { removeFirst() }
    guard let id = records.allocate(record) else { return }
    flows.insert(.timeWait(id), hash: secret.hash(record.flow))
    append(id, now: now)
    records[id].answered = Self.ticks(now) &- Self.answerTicks
  }

  /// Ends the oldest wait, and looks ahead to the next: nobody has looked for their flows for long.
  private mutating func removeFirst() {
    remove(order.first)
    if order.first != .none { flows.prefetch(secret.hash(records[order.first].flow)) }
  }

  /// Ends a wait.
  mutating func remove(_ id: TimeWaitID) {
    links.remove(id, from: &order)
    flows.remove(.timeWait(id), hash: secret.hash(records[id].flow))
    records.free(id)
  }

  /// A segment came that makes the wait begin anew.
  mutating func restart(_ id: TimeWaitID, now: Instant) {
    links.remove(id, from: &order)
    append(id, now: now)
  }

  private mutating func append(_ id: TimeWaitID, now: Instant) {
    links.append(id, to: &order)
    let end = (now + Self.duration).nanoseconds
    latestExpiry = end / Self.tick + (end % Self.tick == 0 ? 0 : 1)
    records[id].expiry = UInt16(truncatingIfNeeded: latestExpiry)
  }

  /// Ends the waits that are over.
  mutating func expire(now: Instant) {
    while let deadline = nextDeadline, deadline <= now { removeFirst() }
  }

  /// When the next wait ends.
  var nextDeadline: Instant? { order.first == .none ? nil : expiry(order.first) }

  private func expiry(_ id: TimeWaitID) -> Instant {
    let distance = UInt16(truncatingIfNeeded: latestExpiry) &- records[id].expiry
    return Instant(nanoseconds: (latestExpiry - UInt64(distance)) * Self.tick)
  }

  /// Whether an active open may take a record's flow: the peer tells the new connection from the old
  /// by its timestamps, of which the last is at least a second old (Linux's tcp_tw_reuse).
  func isReusable(_ id: TimeWaitID, now: Instant) -> Bool {
    records[id].hasTimestamps && expiry(id) + .seconds(1) <= now + Self.duration
  }

  /// Whether a segment for a record may be answered now; then it is. Two sides in TIME-WAIT must not
  /// answer each other's answers for ever.
  func mayAnswer(_ id: TimeWaitID, now: Instant) -> Bool {
    let current = Self.ticks(now)
    guard current &- records[id].answered >= Self.answerTicks else { return false }
    records[id].answered = current
    return true
  }

  private static func ticks(_ instant: Instant) -> UInt16 {
    UInt16(truncatingIfNeeded: instant.nanoseconds / tick)
  }

  private static var answerTicks: UInt16 { UInt16(answerInterval.nanoseconds / tick) }
}
