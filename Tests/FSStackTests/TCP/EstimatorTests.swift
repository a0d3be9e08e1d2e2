import Testing

@testable import FSStack

@Suite struct RoundTripEstimatorTests {
  /// RFC 6298 sections 2 and 5, with the bounds of Linux.
  @Test func timeouts() {
    var estimator = RoundTripEstimator()
    #expect(estimator.current == .seconds(1))
    estimator.sample(.milliseconds(100))
    #expect(estimator.current == .milliseconds(300))
    // A steady round trip must not be mistaken for a loss when it is a little longer once.
    for _ in 0..<100 { estimator.sample(.milliseconds(100)) }
    #expect(estimator.current == .milliseconds(300))
    for _ in 0..<200 { estimator.sample(.microseconds(10)) }
    let shortest = estimator.current
    #expect(shortest >= .milliseconds(200) && shortest < .milliseconds(201))
    for count in 1...12 {
      estimator.expired()
      let doubled = Interval(nanoseconds: shortest.nanoseconds << UInt64(min(count, 10)))
      #expect(estimator.current == min(doubled, .seconds(120)))
    }
    estimator.acknowledged()
    #expect(estimator.current == shortest)
    for _ in 0..<100 { estimator.sample(.seconds(300)) }
    #expect(estimator.current == .seconds(120))
  }

  /// A late spike raises the timeout at once, by four times its surprise.
  @Test func spike() {
    var estimator = RoundTripEstimator()
    for _ in 0..<100 { estimator.sample(.milliseconds(50)) }
    estimator.sample(.milliseconds(850))
    #expect(estimator.current > .milliseconds(900) && estimator.current < .milliseconds(1000))
  }

  @Test func synchronizedAfterLoss() {
    var estimator = RoundTripEstimator()
    estimator.expired()
    estimator.synchronizedAfterLoss()
    #expect(estimator.current == .seconds(3))
  }
}
