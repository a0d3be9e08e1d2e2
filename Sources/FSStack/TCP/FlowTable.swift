/// What an engine has of a flow: it is in one of three states, each with records of its own size.
enum FlowRecord: Equatable, BitwiseCopyable {
  case connection(ConnectionID)
  case halfOpen(HalfOpenID)
  case timeWait(TimeWaitID)
}

/// All flows of an engine: the local established table, the SYN cache and TIME-WAIT, under one index. A
/// segment of an unknown flow then waits for one cache line and not for three, and a flow that goes from
/// one to the next finds its place in the cache.
///
/// A handle: copies share the records.
@safe
struct FlowTable {
  let connections: Slab<ConnectionID, Connection>
  let halfOpen: Slab<HalfOpenID, HalfOpen>
  let timeWait: Slab<TimeWaitID, TimeWaitRecord>
  private let index: HashIndex

  /// Room for so many flows of each kind.
  init(connections: Int, halfOpen: Int, timeWait: Int) {
    precondition(max(connections, halfOpen, timeWait) < 1 << 29)
    self.connections = Slab(capacity: connections)
    self.halfOpen = Slab(capacity: halfOpen)
    self.timeWait = Slab(capacity: timeWait)
    index = HashIndex(capacity: connections + halfOpen + timeWait)
  }

  /// Frees the memory; the handle and its copies are void afterwards.
  func deallocate() {
    connections.deallocate()
    halfOpen.deallocate()
    timeWait.deallocate()
    index.deallocate()
  }

  /// What there is of a flow.
  @inline(__always)
  func find(_ flow: Flow, hash: UInt64) -> FlowRecord? {
    index.find(hash) { number in
      switch Self.record(number) {
      case .connection(let id): connections[id].flow == flow
      case .halfOpen(let id): halfOpen[id].flow == flow
      case .timeWait(let id): timeWait[id].flow == flow
      }
    }.map(Self.record)
  }

  /// What there probably is of a flow with this hash: no record is looked at.
  @inline(__always)
  func candidate(_ hash: UInt64) -> FlowRecord? {
    index.find(hash) { _ in true }.map(Self.record)
  }

  /// Asks for the place of a hash in the cache.
  @inline(__always)
  func prefetch(_ hash: UInt64) { index.prefetch(hash) }

  /// Enters a record under the hash of its flow, of which there is no other.
  func insert(_ record: FlowRecord, hash: UInt64) { index.insert(hash, Self.number(record)) }

  /// A record that was entered under this hash is found no longer.
  func remove(_ record: FlowRecord, hash: UInt64) { index.remove(hash, Self.number(record)) }

  /// The lowest two bits say of which kind a record is.
  @inline(__always)
  private static func number(_ record: FlowRecord) -> UInt32 {
    switch record {
    case .connection(let id): id.raw << 2
    case .halfOpen(let id): id.raw << 2 | 1
    case .timeWait(let id): id.raw << 2 | 2
    }
  }

  @inline(__always)
  private static func record(_ number: UInt32) -> FlowRecord {
    switch number & 3 {
    case 0: .connection(ConnectionID(raw: number >> 2))
    case 1: .halfOpen(HalfOpenID(raw: number >> 2))
    default: .timeWait(TimeWaitID(raw: number >> 2))
    }
  }
}
