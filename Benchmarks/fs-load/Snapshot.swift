import FSDevice
import FSStack
import Laboratory

/// Everything counted, at one moment.
struct Snapshot {
  var time: UInt64 = 0
  var machine = MachineTime()
  var threadSeconds = 0.0
  var workNanoseconds: UInt64 = 0
  var answers: UInt64 = 0
  var counters: [String: UInt64] = [:]

  mutating func take(_ statistics: EngineStatistics) {
    let totals = statistics.counters
    counters["framesReceived"] = totals.framesReceived
    counters["framesSent"] = totals.framesSent
    counters["pureAcknowledgements"] = totals.pureAcknowledgements
    counters["retransmissions"] = totals.retransmissions
    counters["timeouts"] = totals.timeouts
    counters["outOfOrder"] = totals.outOfOrder
    counters["resetsReceived"] = totals.resetsReceived
    counters["resetsSent"] = totals.resetsSent
    counters["partialChecksums"] = totals.partialChecksums
    for (reason, count) in statistics.drops where count > 0 { counters["drop \(reason)"] = count }
  }

  mutating func take(_ socket: XDPSocket) {
    for (name, value) in socket.counters.entries { counters[name] = value }
    for (name, value) in socket.statistics()?.entries ?? [] { counters[name] = value }
  }

  /// What has been counted since `earlier`.
  func counters(since earlier: Snapshot) -> [String: UInt64] {
    var difference: [String: UInt64] = [:]
    for (name, value) in counters { difference[name] = value - (earlier.counters[name] ?? 0) }
    return difference
  }

  /// What has been done since `earlier`.
  func fill(_ report: inout LoadReport, since earlier: Snapshot) {
    report.seconds = Double(time - earlier.time) / 1e9
    report.answers = answers - earlier.answers
    report.workSeconds = Double(workNanoseconds - earlier.workNanoseconds) / 1e9
    report.idleSeconds = max(0, threadSeconds - earlier.threadSeconds - report.workSeconds)
    let spent = machine.since(earlier.machine)
    report.busy = spent.busy
    report.stolen = spent.stolen
    report.counters = counters(since: earlier)
  }
}
