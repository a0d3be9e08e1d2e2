/// What fs-load reports, as JSON.
public struct LoadReport: Codable, Sendable {
  /// Seconds measured.
  public var seconds = 0.0
  /// Answers in that time, each compared with what it has to be.
  public var answers: UInt64 = 0
  /// Answers and connections from the start to the end, warm-up included.
  public var totalAnswers: UInt64 = 0
  /// Connections opened from the start to the end.
  public var totalOpened: UInt64 = 0
  /// Answers that were something else.
  public var wrong: UInt64 = 0
  /// Connections that were refused, reset or closed too early.
  public var failures: UInt64 = 0
  /// The first of those, in words.
  public var firstFailure: String?
  /// Requests that were due and had not been answered a second after the end.
  public var unanswered: UInt64 = 0
  /// From the moment when a request was due to the last byte of its answer.
  public var latency = LatencySummary()
  /// Connections open at the end of the time.
  public var open: UInt64 = 0

  /// Seconds of the generator's thread with work, and without.
  public var workSeconds = 0.0
  /// Processor seconds that its thread spent on looking for work.
  public var idleSeconds = 0.0
  /// Busy seconds of each core, as /proc/stat has them; with what the generator's thread spent on
  /// looking for work.
  public var busy: [Double] = []
  /// Seconds of each core that the hypervisor gave to others.
  public var stolen: [Double] = []

  /// What its engine and its socket have counted in the time, by name.
  public var counters: [String: UInt64] = [:]
  /// The same from the start to the end.
  public var totalCounters: [String: UInt64] = [:]

  /// Nothing yet.
  public init() {}

  /// Answers per second.
  public var rate: Double { seconds > 0 ? Double(answers) / seconds : 0 }
  /// Share of the time in which the generator had work.
  public var load: Double { seconds > 0 ? workSeconds / seconds : 0 }
}

/// Percentiles of durations, in microseconds.
public struct LatencySummary: Codable, Sendable {
  /// Durations recorded.
  public var count: UInt64 = 0
  /// Half of them are not longer.
  public var p50 = 0.0
  /// 90 %.
  public var p90 = 0.0
  /// 99 %.
  public var p99 = 0.0
  /// 99.9 %.
  public var p999 = 0.0
  /// The longest.
  public var maximum = 0.0
  /// For plots: durations, each with the share of all that are not longer.
  public var steps: [Step] = []

  /// One step of the distribution.
  public struct Step: Codable, Sendable {
    /// Microseconds.
    public var value: Double
    /// Share of all that are not longer.
    public var share: Double
  }

  /// Without durations.
  public init() {}

  /// Summarises a histogram.
  public init(_ histogram: Histogram) {
    func microseconds(_ share: Double) -> Double { Double(histogram.percentile(share)) / 1e3 }
    count = histogram.count
    p50 = microseconds(0.5)
    p90 = microseconds(0.9)
    p99 = microseconds(0.99)
    p999 = microseconds(0.999)
    maximum = microseconds(1)
    steps = histogram.steps.map { Step(value: Double($0.upperBound) / 1e3, share: $0.share) }
  }
}
