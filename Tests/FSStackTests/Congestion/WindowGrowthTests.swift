import FSRing
import Testing

@testable import FSStack

@Suite struct WindowGrowthTests {
  private static let algorithms: [CongestionAlgorithm] = [.cubic, .newReno, .dctcp]

  /// When the first reduction was for nothing, slow start goes on without a threshold, by the same
  /// algorithm, and later congestion is one like any other.
  @Test(arguments: algorithms) func firstReductionIsUndone(algorithm: CongestionAlgorithm) {
    var clock = AcknowledgementClock(algorithm, roundTrip: .milliseconds(50))
    clock.grow(to: 40)
    clock.control.enterRecovery(inFlight: 40_000, segmentSize: 1000, now: clock.now)
    #expect(clock.control.window < 40_000 && clock.control.slowStartThreshold < 40_000)
    clock.control.undo()
    #expect(clock.control.window == 40_000 && clock.control.slowStartThreshold == .max)
    #expect(clock.control.algorithm == algorithm && clock.control.isInSlowStart)
    clock.acknowledge(1000)
    #expect(clock.control.window == 41_000)
    clock.lose()
    #expect(!clock.control.isInSlowStart && clock.control.algorithm == algorithm)
    let window = clock.control.window
    for _ in 0..<10 { clock.round() }
    #expect(clock.control.window > window)
  }

  /// TCP_CONGESTION: another algorithm goes on from the same window, before and after congestion.
  @Test(arguments: algorithms, algorithms)
  func anotherGoesOn(first: CongestionAlgorithm, second: CongestionAlgorithm) {
    var clock = AcknowledgementClock(first, roundTrip: .milliseconds(50))
    clock.grow(to: 20)
    clock.control.select(second)
    #expect(clock.control.window == 20_000 && clock.control.algorithm == second)
    clock.acknowledge(1000)
    #expect(clock.control.window == 21_000)
    clock.lose()
    clock.control.select(first)
    let window = clock.control.window
    #expect(clock.control.algorithm == first && !clock.control.isInSlowStart)
    for _ in 0..<10 { clock.round() }
    #expect(clock.control.window > window)
  }

  /// Slow start that HyStart++ has begun to end goes on to its end with another algorithm: the round
  /// trips that were measured count.
  @Test func delayIsRemembered() {
    func rounds(selecting second: CongestionAlgorithm?) -> Int {
      var clock = AcknowledgementClock(.cubic, roundTrip: .milliseconds(20))
      clock.measures = true
      for _ in 0..<2 { clock.round() }
      if let second { clock.control.select(second) }
      clock.roundTrip = .milliseconds(40)
      var count = 0
      while clock.control.slowStartThreshold == .max, count < 20 {
        clock.round()
        count += 1
      }
      return count
    }
    let same = rounds(selecting: nil)
    #expect(same < 10)
    #expect(rounds(selecting: .newReno) == same && rounds(selecting: .dctcp) == same)
  }
}
