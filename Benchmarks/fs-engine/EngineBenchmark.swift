import CLinux
import FSRing
import FSStack
import Foundation

/// What is measured, from the command line.
struct EngineBenchmark {
  private enum Kind: String { case short, keepalive, memory }

  struct Misuse: Error, CustomStringConvertible {
    let description: String
  }

  private let kind: Kind
  private let count: Int
  private let connections: Int
  private let concurrency = 64
  private let requestSize = 64
  private let responseSize = 64

  /// Reads `short|keepalive|memory COUNT [CONNECTIONS]`.
  init(arguments: [String]) throws {
    guard let first = arguments.first, let kind = Kind(rawValue: first), arguments.count <= 3 else {
      throw Misuse(description: "usage: fs-engine short|keepalive|memory COUNT [CONNECTIONS]")
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
      connections: max(connections, concurrency), requestSize: requestSize,
      responseSize: responseSize, closes: kind == .short)
    switch kind {
    case .short:
      pair.runShort(20_000, concurrency: concurrency)
      measure(&pair, "short connection") { pair in pair.runShort(count, concurrency: concurrency) }
    case .keepalive:
      pair.open(connections, concurrency: 1024)
      pair.runRequests(min(20_000, count), concurrency: concurrency)
      measure(&pair, "request") { pair in pair.runRequests(count, concurrency: concurrency) }
    case .memory:
      let before = Self.residentBytes()
      pair.open(connections, concurrency: 1024)
      print("idle connection: \((Self.residentBytes() - before) / connections) bytes at both ends")
    }
  }

  private func measure(
    _ pair: inout BackToBack, _ name: String, _ body: (inout BackToBack) -> Void
  ) {
    let cycles = (pair.server.cycles, pair.client.cycles)
    let sent = (pair.server.framesSent, pair.client.framesSent)
    let begin = fs_cycles()
    let time = DispatchTime.now().uptimeNanoseconds
    body(&pair)
    let spent = fs_cycles() - begin
    let nanoseconds = DispatchTime.now().uptimeNanoseconds - time
    func per(_ total: UInt64) -> String { String(format: "%.1f", Double(total) / Double(count)) }
    print("\(name): \(per(nanoseconds)) ns, \(per(spent)) cycles for both engines and programs;")
    print(
      "  server's engine \(per(pair.server.cycles - cycles.0)) cycles, \(per(pair.server.framesSent - sent.0)) frames sent; client's \(per(pair.client.cycles - cycles.1)), \(per(pair.client.framesSent - sent.1))"
    )
  }

  /// Memory of this process that is in use, bytes.
  private static func residentBytes() -> Int {
    guard let text = try? String(contentsOfFile: "/proc/self/statm", encoding: .utf8) else {
      return 0
    }
    let fields = text.split(separator: " ")
    return (fields.count > 1 ? Int(fields[1]) ?? 0 : 0) * 4096
  }
}
