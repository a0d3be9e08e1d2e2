import CLinux
import FSRing
import FSStack
import Foundation

/// What is measured, from the command line.
struct EngineBenchmark {
  private enum Kind: String { case short, keepalive, seldom, idle, timewait }

  struct Misuse: Error, CustomStringConvertible {
    let description: String
  }

  private let kind: Kind
  private let count: Int
  private let connections: Int
  private let concurrency = 64
  private let requestSize = 64
  private let responseSize = 64

  /// Reads `short|keepalive|seldom|idle|timewait COUNT [CONNECTIONS]`.
  init(arguments: [String]) throws {
    guard let first = arguments.first, let kind = Kind(rawValue: first), arguments.count <= 3 else {
      throw Misuse(
        description: "usage: fs-engine short|keepalive|seldom|idle|timewait COUNT [CONNECTIONS]")
    }
    let numbers = arguments.dropFirst().compactMap { Int($0) }
    guard numbers.count == arguments.count - 1, let count = numbers.first, count > 0 else {
      throw Misuse(description: "counts are positive numbers")
    }
    self.kind = kind
    self.count = count
    connections = numbers.count > 1 ? numbers[1] : 64
  }

  func run() throws {
    var pair = BackToBack(
      connections: max(kind == .idle ? count : connections, concurrency), requestSize: requestSize,
      responseSize: responseSize, closes: kind == .short || kind == .timewait)
    switch kind {
    case .short:
      pair.runShort(20_000, concurrency: concurrency)
      measure(&pair, "short connection") { pair, count in
        pair.runShort(count, concurrency: concurrency)
      }
    case .keepalive:
      pair.open(connections, concurrency: 1024)
      pair.runRequests(min(20_000, count), concurrency: concurrency)
      measure(&pair, "request") { pair, count in
        pair.runRequests(count, concurrency: concurrency)
      }
    case .seldom:
      pair.open(connections, concurrency: 1024)
      measure(&pair, "request, each acknowledged by itself") { pair, count in
        pair.runSeldomRequests(count, concurrency: concurrency)
      }
    case .idle:
      let before = Self.residentBytes()
      pair.open(count, concurrency: 1024)
      let bytes = Double(Self.residentBytes() - before) / Double(count) / 2
      print("idle connection: \(Int(bytes)) bytes at each end, programs included")
    case .timewait:
      pair.runShort(20_000, concurrency: concurrency)
      let before = Self.residentBytes()
      pair.runShort(count, concurrency: concurrency)
      print("TIME-WAIT: \((Self.residentBytes() - before) / count) bytes for a connection")
    }
  }

  /// What one slice of a run has cost for each operation: time-stamp counts and frames.
  private struct Cost {
    var everything: Double
    var server: Double
    var client: Double
    var framesFromServer: Double
    var framesFromClient: Double
  }

  /// Runs the operations in slices. Other guests of the machine disturb some of them: the median says
  /// what it costs here and now, the least what the code costs.
  private func measure(
    _ pair: inout BackToBack, _ name: String, _ body: (inout BackToBack, Int) -> Void
  ) {
    let slice = max(count / Self.sliceCount, 1)
    var costs: [Cost] = []
    for _ in 0..<Self.sliceCount {
      let before = (
        pair.server.cycles, pair.client.cycles, pair.server.framesSent, pair.client.framesSent
      )
      let begin = fs_cycles()
      body(&pair, slice)
      let spent = fs_cycles() - begin
      func per(_ total: UInt64) -> Double { Double(total) / Double(slice) }
      costs.append(
        Cost(
          everything: per(spent), server: per(pair.server.cycles - before.0),
          client: per(pair.client.cycles - before.1),
          framesFromServer: per(pair.server.framesSent - before.2),
          framesFromClient: per(pair.client.framesSent - before.3)))
    }
    print(
      "\(name), cycles of the time-stamp counter, median (least) of \(costs.count) slices of \(slice):"
    )
    print("  both engines and programs \(summary(costs.map(\.everything)))")
    print(
      "  server's engine \(summary(costs.map(\.server))), \(rounded(costs[0].framesFromServer)) frames sent"
    )
    print(
      "  client's engine \(summary(costs.map(\.client))), \(rounded(costs[0].framesFromClient)) frames sent"
    )
  }

  private static let sliceCount = 25

  private func summary(_ values: [Double]) -> String {
    let sorted = values.sorted()
    return "\(Int(sorted[sorted.count / 2])) (\(Int(sorted[0])))"
  }

  private func rounded(_ value: Double) -> String { String(format: "%.2f", value) }

  /// Memory of this process that is in use, bytes.
  private static func residentBytes() -> Int {
    guard let text = try? String(contentsOfFile: "/proc/self/statm", encoding: .utf8) else {
      return 0
    }
    let fields = text.split(separator: " ")
    return (fields.count > 1 ? Int(fields[1]) ?? 0 : 0) * 4096
  }
}
