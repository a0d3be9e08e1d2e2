/// Flows that have been exported a moment ago: what still arrives for them is neither ours nor
/// nobody's.
@safe
struct MovedFlows {
  /// The number of a record.
  struct ID: SlabIndex, BitwiseCopyable {
    var raw: UInt32
  }

  private struct Record: BitwiseCopyable {
    var flow: Flow
    var hash: UInt64
    var expiry: Instant
  }

  /// Frames wait no longer in rings and queues before an engine looks at them, and the peer's first
  /// retransmissions find the kernel's socket.
  static let duration = Interval.seconds(1)
  /// Flows remembered at a time; beyond, the oldest is forgotten early.
  static let capacity = 4096

  private let records = IndexedSlab<ID, Record>(capacity: MovedFlows.capacity)
  private var order = ListHead<ID>()

  /// Frees the memory.
  func deallocate() { records.deallocate() }

  /// Whether there is none.
  @inline(__always)
  var isEmpty: Bool { order.isEmpty }

  /// Whether a flow has just been exported.
  func contains(_ flow: Flow, hash: UInt64) -> Bool { find(flow, hash) != nil }

  private func find(_ flow: Flow, _ hash: UInt64) -> ID? {
    records.find(hash) { records[$0].flow == flow }
  }

  /// Remembers a flow.
  mutating func insert(_ flow: Flow, hash: UInt64, now: Instant) {
    if let id = find(flow, hash) { remove(id) }
    if records.isFull { remove(order.first) }
    let record = Record(flow: flow, hash: hash, expiry: now + Self.duration)
    guard let id = records.insert(record, hash: hash) else { return }
    records.links.append(id, to: &order)
  }

  private mutating func remove(_ id: ID) {
    records.links.remove(id, from: &order)
    records.remove(id, hash: records[id].hash)
  }

  /// When the next is forgotten.
  var nextDeadline: Instant? { order.isEmpty ? nil : records[order.first].expiry }

  /// Forgets those whose time is over.
  mutating func expire(now: Instant) {
    while let deadline = nextDeadline, deadline <= now { remove(order.first) }
  }
}
