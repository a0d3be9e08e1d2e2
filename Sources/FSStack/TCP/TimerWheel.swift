/// The timers of all connections: one node each, in a wheel of three levels of 256 places, with
/// ticks of one millisecond (level spans: 256 ms, 65 s, 4.6 h).
///
/// A node is due at or after the earliest deadline of its connection. When a deadline moves later
/// the node may stay where it is: it fires early, the owner looks, and arms again. So an acknowledgement,
/// which moves the retransmission timer, costs nothing here. Or it moves at once: that is a few stores,
/// and less than to look at a connection that is not in the cache.
@safe
struct TimerWheel {
  private static var levelCount: Int { 3 }
  private static var placeCount: Int { 256 }

  private struct Node {
    private let value: UInt64

    /// `tick` takes less than 48 bits: a clock of 64 bits in nanoseconds has no more.
    init(tick: UInt64, place: Int) { value = tick << 16 | UInt64(place) }

    /// The tick at which it is due; zero when it is not armed.
    var tick: UInt64 { value >> 16 }
    var place: Int { Int(value & 0xffff) }
  }

  private let nodes: UnsafeMutablePointer<Node>
  private let links: LinkTable<ConnectionID>
  private let rows: LinkRows<ConnectionID>
  private let places: UnsafeMutablePointer<ListHead<ConnectionID>>
  /// One bit per place that is not empty.
  private let occupied: UnsafeMutablePointer<UInt64>
  /// The tick up to which everything has fired.
  private var current: UInt64

  /// Keeps its nodes in the last two columns of `rows`, which are the owner's to free.
  init(rows: LinkRows<ConnectionID>, now: Instant) {
    self.rows = rows
    unsafe nodes = rows.column(3)
    links = LinkTable(column: 2, of: rows)
    let placeCount = Self.levelCount * Self.placeCount
    unsafe places = .allocate(capacity: placeCount)
    unsafe places.initialize(repeating: ListHead(), count: placeCount)
    unsafe occupied = .allocate(capacity: placeCount / 64)
    unsafe occupied.initialize(repeating: 0, count: placeCount / 64)
    current = Self.tick(now)
  }

  /// Frees the memory.
  func deallocate() {
    unsafe places.deallocate()
    unsafe occupied.deallocate()
  }

  private static func tick(_ instant: Instant) -> UInt64 { instant.nanoseconds / 1_000_000 }

  @inline(__always)
  private func node(_ id: ConnectionID) -> UnsafeMutablePointer<Node> {
    unsafe nodes + Int(id.raw) &<< LinkRows<ConnectionID>.shift
  }

  /// Makes sure that the connection fires by `deadline`, rounded up to a tick; if it `movesAtOnce`, not
  /// earlier either, and if that is never, not at all.
  mutating func arm(_ id: ConnectionID, at deadline: Instant, movesAtOnce: Bool) {
    guard deadline != .never else {
      if movesAtOnce { disarm(id) }
      return
    }
    let wanted = max(Self.tick(deadline) + 1, current + 1)
    let armed = unsafe node(id).pointee.tick
    if armed != 0 {
      if movesAtOnce ? armed == wanted : armed <= wanted { return }
      unlink(id)
    }
    link(id, at: wanted)
  }

  /// The connection has no timer any more.
  mutating func disarm(_ id: ConnectionID) {
    if unsafe node(id).pointee.tick != 0 { unlink(id) }
  }

  private mutating func link(_ id: ConnectionID, at tick: UInt64) {
    let distance = tick - current
    var level = 0
    while level < Self.levelCount - 1 && distance >= UInt64(1) << UInt64(8 * (level + 1)) {
      level += 1
    }
    // Beyond the last level it fires early and is armed again.
    let placed = min(tick, current + (1 << 24) - 1)
    let place = level * Self.placeCount + Int(placed >> UInt64(8 * level)) & 255
    unsafe node(id).pointee = Node(tick: tick, place: place)
    unsafe links.append(id, to: &places[place])
    unsafe occupied[place / 64] |= 1 << UInt64(place % 64)
  }

  private mutating func unlink(_ id: ConnectionID) {
    let place = unsafe node(id).pointee.place
    unsafe links.remove(id, from: &places[place])
    if unsafe places[place].isEmpty { unsafe occupied[place / 64] &= ~(1 << UInt64(place % 64)) }
    unsafe node(id).pointee = Node(tick: 0, place: 0)
  }

  /// The next connection due by `now`, or nil when there is none. The caller arms it again.
  mutating func next(by now: Instant) -> ConnectionID? {
    let target = Self.tick(now)
    while true {
      let place = Int(current & 255)
      if let id = popFirst(of: place) { return id }
      guard current < target else { return nil }
      current = min(target, nextStop() ?? target)
      cascade()
    }
  }

  /// The next tick at which anything can happen: an occupied place of the first level, or the moment
  /// at which an occupied place of a higher level is spread anew. Nil when nothing is armed.
  private func nextStop() -> UInt64? {
    for level in 0..<Self.levelCount {
      let shift = UInt64(8 * level)
      let position = current >> shift
      let index = Int(position & 255)
      if let place = firstOccupied(of: level, from: index + 1) {
        return (position + UInt64(place - index)) << shift
      }
      guard let place = firstOccupied(of: level, from: 0) else { continue }
      // It lies in the next round of this level, at whose beginning the level above is spread, too.
      if level < Self.levelCount - 1 { return ((position | 255) + 1) << shift }
      return (position + UInt64(Self.placeCount - index + place)) << shift
    }
    return nil
  }

  /// The first occupied place of a level at or after `start`.
  private func firstOccupied(of level: Int, from start: Int) -> Int? {
    var candidate = start
    while candidate < Self.placeCount {
      let place = level * Self.placeCount + candidate
      let word = unsafe occupied[place / 64] >> UInt64(place % 64)
      if word != 0 { return candidate + word.trailingZeroBitCount }
      candidate = (candidate / 64 + 1) * 64
    }
    return nil
  }

  /// At the end of a round the places of the next level that begin now are spread anew.
  private mutating func cascade() {
    var level = 1
    while level < Self.levelCount && current & ((1 << UInt64(8 * level)) - 1) == 0 {
      let place = level * Self.placeCount + Int(current >> UInt64(8 * level)) & 255
      while unsafe !places[place].isEmpty {
        let id = unsafe places[place].first
        let tick = unsafe node(id).pointee.tick
        unlink(id)
        prefetchSecond(of: place)
        link(id, at: max(tick, current))
      }
      level += 1
    }
  }

  private mutating func popFirst(of place: Int) -> ConnectionID? {
    let id = unsafe places[place].first
    guard id != .none else { return nil }
    unlink(id)
    prefetchSecond(of: place)
    return id
  }

  /// The second of a place: the first has just become so, which has brought its row into the cache.
  private func second(of place: Int) -> ConnectionID {
    let first = unsafe places[place].first
    return first == .none ? .none : links.next(after: first)
  }

  @inline(__always)
  private func prefetchSecond(of place: Int) {
    let id = second(of: place)
    if id != .none { rows.prefetch(id) }
  }

  /// A timer that `next` will return soon, after one other; none if there is none, or nobody knows.
  var upcoming: ConnectionID { second(of: Int(current & 255)) }

  /// A moment before which nothing is due; nil when no timer is armed. It may be early, never late.
  func nextDeadline() -> Instant? {
    nextStop().map { Instant(nanoseconds: $0 * 1_000_000) }
  }
}
