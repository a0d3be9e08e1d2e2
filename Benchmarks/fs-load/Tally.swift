import Laboratory

/// What the load has seen.
struct Tally {
  var opened: UInt64 = 0
  /// Connections that a proxy has opened.
  var served: UInt64 = 0
  /// Answers from the start on.
  var answers: UInt64 = 0
  var wrong: UInt64 = 0
  var failures: UInt64 = 0
  var firstFailure: String?
  var latency = Histogram()
  /// Latencies count of requests that were due from here on, and before `end`.
  var begin = UInt64.max
  var end = UInt64.max

  mutating func record(began: UInt64, now: UInt64) {
    guard began >= begin, began < end else { return }
    latency.record(nanoseconds: now > began ? now - began : 0)
  }

  mutating func fail(_ reason: @autoclosure () -> String) {
    failures += 1
    if firstFailure == nil { firstFailure = reason() }
  }
}
