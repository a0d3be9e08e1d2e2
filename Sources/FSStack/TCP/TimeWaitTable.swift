/// The number of a TIME-WAIT record.
struct TimeWaitID: SlabIndex, BitwiseCopyable {
  var raw: UInt32
}

/// What remains of a connection for two maximum segment lifetimes after we closed first.
struct TimeWaitRecord: BitwiseCopyable {
  var flow: Flow
  var sendNext: SequenceNumber
  var receiveNext: SequenceNumber
  var recentTimestamp: UInt32
  var timestampOffset: UInt32
  var expiry: Instant
  var nextHop: MACAddress
  var vlan: UInt16
  var interface: UInt8
  var hasTimestamps: Bool
  /// The window field of our acknowledgements, scaled.
  var windowField: UInt16
}

/// Connections in TIME-WAIT. All wait equally long, so a list in order of entry is their timer; when
/// the table is full the oldest leaves early.
@safe
struct TimeWaitTable {
  /// Two maximum segment lifetimes: 60 s, as in Linux.
  static let duration = Interval.seconds(60)

  let records: Slab<TimeWaitID, TimeWaitRecord>
  private let index: HashIndex
  private let links: LinkTable<TimeWaitID>
  private var order = ListHead<TimeWaitID>()
  private let secret: Secret

  init(capacity: Int, secret: Secret) {
    records = Slab(capacity: capacity)
    index = HashIndex(capacity: capacity)
    links = LinkTable(capacity: capacity)
    self.secret = secret
  }

  /// Frees the memory.
  func deallocate() {
    records.deallocate()
    index.deallocate()
    links.deallocate()
  }

  /// The record of a flow.
  func find(_ flow: Flow, hash: UInt64) -> TimeWaitID? {
    index.find(hash) { records[TimeWaitID(raw: $0)].flow == flow }.map(TimeWaitID.init(raw:))
  }

  /// Enters a flow that is not in the table.
  mutating func insert(_ record: TimeWaitRecord) {
    if records.count == records.capacity { remove(order.first) }
    guard let id = records.allocate(record) else { return }
    index.insert(secret.hash(record.flow), id.raw)
    links.append(id, to: &order)
  }

  /// Ends a wait.
  mutating func remove(_ id: TimeWaitID) {
    index.remove(secret.hash(records[id].flow), id.raw)
    links.remove(id, from: &order)
    records.free(id)
  }

  /// A segment came that makes the wait begin anew.
  mutating func restart(_ id: TimeWaitID, now: Instant) {
    records[id].expiry = now + Self.duration
    links.remove(id, from: &order)
    links.append(id, to: &order)
  }

  /// Ends the waits that are over.
  mutating func expire(now: Instant) {
    while order.first != .none, records[order.first].expiry <= now { remove(order.first) }
  }

  /// When the next wait ends.
  var nextDeadline: Instant? {
    order.first == .none ? nil : records[order.first].expiry
  }
}
