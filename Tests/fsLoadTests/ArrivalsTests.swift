import Testing

@testable import fs_load

/// When requests are due.
struct ArrivalsTests {
  @Test(
    "the rate is the one that was ordered, and half of the gaps are shorter than ln 2 of the mean")
  func rate() {
    var arrivals = Arrivals(rate: 20_000, from: 1_000_000_000)
    var previous: UInt64 = 1_000_000_000
    var short = 0
    let count = 100_000
    for _ in 0..<count {
      #expect(arrivals.next >= previous)
      if Double(arrivals.next - previous) < 50_000 * 0.6931 { short += 1 }
      previous = arrivals.next
      arrivals.advance()
    }
    let seconds = Double(previous - 1_000_000_000) / 1e9
    #expect(abs(Double(count) / seconds / 20_000 - 1) < 0.02)
    #expect(abs(Double(short) / Double(count) - 0.5) < 0.01)
  }

  @Test("every run has the same moments")
  func same() {
    var first = Arrivals(rate: 1_000, from: 5)
    var second = Arrivals(rate: 1_000, from: 1_005)
    for _ in 0..<1_000 {
      #expect((999...1_001).contains(second.next - first.next))
      first.advance()
      second.advance()
    }
  }
}
