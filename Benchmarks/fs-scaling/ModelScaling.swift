import Foundation
import Laboratory

/// The proxy behind the simulated 82599: where packets arrive, and what a connection costs, by the number of
/// engines.
enum ModelScaling {
  static let engineCounts = [1, 2, 4, 8, 12, 16, 20, 24]
  /// Each engine has as much to do, however many there are: with less, its code would run more often for fewer
  /// packets each time.
  private static let connectionsPerEngine = 240
  static let concurrencyPerEngine = 10
  /// Held open at the same time: an application has 512 slots for what it opens.
  private static let heldConnections = 480

  /// What was measured with a number of engines.
  private struct Row {
    var engines: Int
    var packets: Double
    var misplaced: Double
    var instructions: Double
    var bytes: Double
    var entries: Double
  }

  static func measure() throws -> String {
    let rows = try engineCounts.map { engines in
      print("model: \(engines) engines")
      return try measure(engines)
    }
    try checkTheCheck()
    let reference = rows[0]
    try ScalingPlot(
      engines: rows.map(\.engines),
      series: [
        (
          "packets that arrive at their owner, %",
          rows.map { 100 * (1 - $0.misplaced / $0.packets) }
        ),
        (
          "instructions for a connection, one engine = 100",
          rows.map { 100 * $0.instructions / reference.instructions }
        ),
        (
          "memory for a connection, one engine = 100",
          rows.map { 100 * $0.bytes / reference.bytes }
        ),
      ]
    ).write(to: ScalingReport.plot)
    return text(rows)
  }

  private static func measure(_ engines: Int) throws -> Row {
    let connections = connectionsPerEngine * engines
    let arguments = ["\(engines)", "\(connections)"]
    let (model, instructions) = try count(["model"] + arguments)
    let memory = try run(["memory", "\(engines)", "\(heldConnections)"])
    let isolation = try (0...1).map { try run(["isolation"] + arguments + ["\($0)"]) }
    guard model["handed_over"] == 0, model["resets"] == 0 else {
      throw LaboratoryError("\(engines) engines: \(model)")
    }
    return Row(
      engines: engines, packets: (model["active"] ?? 0) + (model["passive"] ?? 0),
      misplaced: model["misplaced"] ?? .nan, instructions: instructions / Double(connections),
      bytes: memory["bytes"] ?? .nan, entries: isolation.reduce(0) { $0 + ($1["entries"] ?? 0) })
  }

  private static func text(_ rows: [Row]) -> String {
    let reference = rows[0]
    let table = ScalingReport.table(
      [
        [
          "Engines", "Packets", "at their owner", "Instructions for a connection", "to one engine",
          "Bytes for a connection", "to one engine",
        ]
      ]
        + rows.map { row in
          [
            "\(row.engines)", grouped(row.packets),
            ScalingReport.fixed(100 * (1 - row.misplaced / row.packets)) + " %",
            grouped(row.instructions),
            ScalingReport.fixed(row.instructions / reference.instructions, 3),
            grouped(row.bytes),
            ScalingReport.fixed(row.bytes / reference.bytes, 3),
          ]
        })
    let entries = rows.map { grouped($0.entries) }.joined(separator: ", ")
    return """
      \(table)

      ![Packets at their owner, instructions and memory for a connection, by the number of engines](scaling.svg)

      The same runs with each engine's memory in a region of its own, and the regions of all others closed
      (memory protection keys), and what belongs to nobody read-only, whenever an engine's code runs: nothing was
      touched in \(entries) runs of an engine's code. A deliberate touch ends the program.
      """
  }

  // MARK: Programs

  private static func run(
    _ arguments: [String], wrapper: [String] = []
  ) throws -> [String: Double] {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments = wrapper + [CommandLine.arguments[0], "run"] + arguments
    let pipe = Pipe()
    process.standardOutput = pipe
    try process.run()
    let output = String(decoding: pipe.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
    process.waitUntilExit()
    guard process.terminationReason == .exit, process.terminationStatus == 0 else {
      throw LaboratoryError("\(arguments) has ended with \(process.terminationStatus)")
    }
    var values: [String: Double] = [:]
    for pair in output.split(whereSeparator: \.isWhitespace) {
      let parts = pair.split(separator: "=")
      if parts.count == 2 { values[String(parts[0])] = Double(parts[1]) }
    }
    return values
  }

  /// Runs under callgrind: what the program says, and the instructions that it has counted.
  private static func count(_ arguments: [String]) throws -> ([String: Double], Double) {
    let path = NSTemporaryDirectory() + "fs-scaling-\(getpid()).callgrind"
    defer { try? FileManager.default.removeItem(atPath: path) }
    let values = try run(
      arguments,
      wrapper: [
        "valgrind", "--quiet", "--tool=callgrind", "--collect-atstart=no",
        "--callgrind-out-file=\(path)",
      ])
    let file = try String(contentsOfFile: path, encoding: .utf8)
    let totals = file.split(separator: "\n").first { $0.hasPrefix("totals:") }
    guard let number = totals?.split(separator: " ").last.flatMap({ Double($0) }), number > 0
    else { throw LaboratoryError("callgrind has counted nothing") }
    return (values, number)
  }

  /// A check that cannot fail says nothing.
  private static func checkTheCheck() throws {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: CommandLine.arguments[0])
    process.arguments = ["run", "provoke"]
    let errors = Pipe()
    process.standardError = errors
    try process.run()
    let text = String(decoding: errors.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
    process.waitUntilExit()
    guard process.terminationStatus == 3, text.contains("core 0 touched memory of core 1") else {
      throw LaboratoryError("a touch of another core's memory was not noticed")
    }
  }
}
