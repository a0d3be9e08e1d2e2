import Testing

@testable import FSStack

@Suite struct PathSizeTests {
  private let now = Instant(nanoseconds: 5_000_000_000)

  @Test func table() {
    var table = PathSizeTable(capacity: 3, secret: Secret(words: (1, 2, 3, 4)))
    defer { table.deallocate() }
    func host(_ number: UInt8) -> IPAddress { IPAddress(v4: 10, 0, 0, number) }
    #expect(table.find(host(1), now: now) == nil)
    table.set(host(1), mtu: 1400, now: now)
    table.set(host(2), mtu: 1300, now: now + .seconds(100))
    #expect(table.find(host(1), now: now + .seconds(599))?.mtu == 1400)
    #expect(table.find(host(1), now: now + .seconds(600)) == nil)
    // Said again, it counts anew.
    table.set(host(1), mtu: 1200, now: now + .seconds(200))
    #expect(table.find(host(1), now: now + .seconds(700))?.mtu == 1200)
    // A full table forgets the oldest, which is host 2; what is void makes room by itself.
    table.set(host(3), mtu: 1000, now: now + .seconds(300))
    table.set(host(4), mtu: 1000, now: now + .seconds(400))
    #expect(table.count == 3 && table.find(host(2), now: now + .seconds(400)) == nil)
    table.set(host(5), mtu: 1000, now: now + .seconds(2000))
    #expect(table.count == 1)
  }

  /// The search halves the interval, believes an acknowledged probe, and takes one whose bytes are
  /// sent again for lost.
  @Test func search() {
    for truth: UInt16 in [1024, 1025, 1100, 1337, 1459, 1460] {
      var search = PathSearch(low: 1024, high: 1460, limit: 1460, expiry: now)
      var next = SequenceNumber(0xffff_fe00)
      var probes = 0
      while let size = search.nextSize {
        probes += 1
        search.probeSize = size
        search.probeSequence = next
        search.probeEnd = next + UInt32(size)
        #expect(search.nextSize == nil)
        let (before, after) = (next - UInt32(100), search.probeEnd)
        let touches = (search.sends(before, 100), search.sends(after, 100))
        #expect(touches == (false, false))
        let isEarly = search.acknowledged(search.probeEnd - UInt32(1))
        #expect(!isEarly)
        if size <= truth {
          let isFound = search.acknowledged(search.probeEnd)
          #expect(isFound && search.low == size)
        } else {
          let isLost = search.sends(next + 10, 100)
          #expect(isLost && search.high == size - 1)
        }
        next = after
      }
      #expect(
        probes <= 6 && search.low <= truth && truth - search.low <= 8, "\(truth) \(search.low)")
    }
  }
}
