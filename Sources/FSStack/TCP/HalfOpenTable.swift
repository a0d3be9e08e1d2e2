/// The number of a half-open connection.
struct HalfOpenID: SlabIndex, BitwiseCopyable {
  var raw: UInt32
}

/// A passive open whose handshake is not complete: 80 bytes instead of a whole connection, because
/// anyone can make us remember it.
struct HalfOpen: BitwiseCopyable {
  var flow: Flow
  var offer: SynchronizeOffer
  /// When the SYN-ACK goes out again, or the record is given up.
  fileprivate(set) var deadline = Instant.never
  /// Our initial sequence number.
  var initial: SequenceNumber
  var endpoint: EndpointID
  var nextHop: MACAddress
  var vlan: UInt16
  /// Milliseconds, modulo 2^32, at which an unacceptable segment or another SYN was last answered.
  fileprivate(set) var answeredAt: UInt32 = 0
  var interface: UInt8
  /// Expiries of the timer.
  fileprivate(set) var attempts: UInt8 = 0
  /// The SYN-ACK was sent more than once: its round trip cannot be measured.
  var isRetransmitted = false
  /// The third acknowledgement has come, but TCP_DEFER_ACCEPT waits for data, or the accept queue
  /// was full.
  var isAcknowledged = false

  init(
    flow: Flow, offer: SynchronizeOffer, initial: SequenceNumber, endpoint: EndpointID,
    nextHop: MACAddress, vlan: UInt16, interface: UInt8
  ) {
    self.flow = flow
    self.offer = offer
    self.initial = initial
    self.endpoint = endpoint
    self.nextHop = nextHop
    self.vlan = vlan
    self.interface = interface
  }

  /// When the first SYN-ACK was sent; true while there was no other.
  var sentAt: Instant {
    let timeout = HalfOpenTable.timeout(attempts)
    return Instant(nanoseconds: deadline.nanoseconds - timeout.nanoseconds)
  }
}

/// The SYN cache (RFC 4987 section 3.5): passive opens between SYN and third acknowledgement.
///
/// After the same number of expiries all wait equally long, so one list for each number is their
/// timer, and nothing is ever searched.
@safe
struct HalfOpenTable {
  /// Lists; those with more expiries wait no longer than those in the last.
  private static var queueCount: Int { 8 }
  /// Unacceptable segments of one record are answered at most so often.
  private static var answerInterval: UInt32 { 500 }

  private let flows: FlowTable
  private let links: LinkTable<HalfOpenID>
  private var queues = InlineArray<8, ListHead<HalfOpenID>>(repeating: ListHead())
  private let secret: Secret

  /// The records are among `flows`.
  init(_ flows: FlowTable, secret: Secret) {
    self.flows = flows
    links = LinkTable(capacity: Int(flows.halfOpen.capacity))
    self.secret = secret
  }

  /// Frees its own memory.
  func deallocate() { links.deallocate() }

  var records: Slab<HalfOpenID, HalfOpen> { flows.halfOpen }
  var isFull: Bool { records.isFull }

  /// How long a record waits after so many expiries: 1 s, doubled each time, at most 120 s.
  static func timeout(_ attempts: UInt8) -> Interval {
    .seconds(attempts < 7 ? 1 << UInt64(attempts) : 120)
  }

  /// Enters a flow that is not known; nil when there is no room.
  mutating func insert(_ record: HalfOpen, hash: UInt64, now: Instant) -> HalfOpenID? {
    guard let id = records.allocate(record) else { return nil }
    flows.insert(.halfOpen(id), hash: hash)
    records[id].answeredAt = Self.milliseconds(now) &- Self.answerInterval
    append(id, now: now)
    return id
  }

  /// Forgets a record.
  mutating func remove(_ id: HalfOpenID) {
    links.remove(id, from: &queues[queue(of: id)])
    flows.remove(.halfOpen(id), hash: secret.hash(records[id].flow))
    records.free(id)
  }

  /// The next record whose timer is due by `now`; the caller removes it or lets it wait again.
  func due(by now: Instant) -> HalfOpenID? {
    for queue in 0..<Self.queueCount {
      let first = queues[queue].first
      if first != .none, records[first].deadline <= now { return first }
    }
    return nil
  }

  /// A record whose timer has expired waits again, longer.
  mutating func waitAgain(_ id: HalfOpenID, now: Instant) {
    links.remove(id, from: &queues[queue(of: id)])
    records[id].attempts = min(records[id].attempts + 1, 254)
    append(id, now: now)
  }

  private mutating func append(_ id: HalfOpenID, now: Instant) {
    records[id].deadline = now + Self.timeout(records[id].attempts)
    links.append(id, to: &queues[queue(of: id)])
  }

  private func queue(of id: HalfOpenID) -> Int {
    min(Int(records[id].attempts), Self.queueCount - 1)
  }

  /// When the next timer is due.
  var nextDeadline: Instant? {
    var earliest = Instant.never
    for queue in 0..<Self.queueCount where !queues[queue].isEmpty {
      earliest = min(earliest, records[queues[queue].first].deadline)
    }
    return earliest == .never ? nil : earliest
  }

  /// Whether a segment that proves nothing may be answered now; then it is (RFC 5961 section 10).
  func mayAnswer(_ id: HalfOpenID, now: Instant) -> Bool {
    let current = Self.milliseconds(now)
    guard current &- records[id].answeredAt >= Self.answerInterval else { return false }
    records[id].answeredAt = current
    return true
  }

  private static func milliseconds(_ instant: Instant) -> UInt32 {
    UInt32(truncatingIfNeeded: instant.nanoseconds / 1_000_000)
  }
}
