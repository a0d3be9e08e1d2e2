/// The number of a remembered path size.
struct PathSizeID: SlabIndex, BitwiseCopyable {
  var raw: UInt32
}

/// What routers have said of the paths to hosts (RFC 1191 section 6.2, RFC 8201 section 5.2): the largest
/// packet, for connections that begin later. It is forgotten after ten minutes, as in Linux, so that
/// a path that has become wider is found out; a full table forgets the oldest.
@safe
struct PathSizeTable {
  private struct Record {
    var destination: IPAddress
    var expiry: Instant
    var mtu: UInt16
  }

  /// How long what a router has said counts.
  static let lifetime = Interval.seconds(600)

  private let records: IndexedSlab<PathSizeID, Record>
  private var order = ListHead<PathSizeID>()
  private let secret: Secret

  init(capacity: Int, secret: Secret) {
    records = IndexedSlab(capacity: capacity)
    self.secret = secret
  }

  /// Frees the memory.
  func deallocate() { records.deallocate() }

  var count: Int { Int(records.count) }

  /// The largest packet to a destination, and until when that counts; nil when nothing is known.
  @inline(__always)
  func find(_ destination: IPAddress, now: Instant) -> (mtu: UInt16, expiry: Instant)? {
    if order.isEmpty { return nil }
    guard let id = findID(destination), records[id].expiry > now else { return nil }
    return (records[id].mtu, records[id].expiry)
  }

  private func findID(_ destination: IPAddress) -> PathSizeID? {
    records.find(secret.hash(destination)) { records[$0].destination == destination }
  }

  /// Remembers the largest packet to a destination.
  mutating func set(_ destination: IPAddress, mtu: UInt16, now: Instant) {
    while !order.isEmpty, records[order.first].expiry <= now { remove(order.first) }
    if let old = findID(destination) { remove(old) }
    if records.isFull { remove(order.first) }
    let record = Record(destination: destination, expiry: now + Self.lifetime, mtu: mtu)
    guard let id = records.insert(record, hash: secret.hash(destination)) else { return }
    records.links.append(id, to: &order)
  }

  private mutating func remove(_ id: PathSizeID) {
    records.links.remove(id, from: &order)
    records.remove(id, hash: secret.hash(records[id].destination))
  }
}
