import Foundation
import Laboratory

/// docs/scaling.md: a section for each part, of which those are measured and written anew that are asked for.
enum ScalingReport {
  /// The parts, in the order of the document.
  enum Part: String, CaseIterable {
    /// The simulated card, 1 to 24 engines.
    case model
    /// Both processors of this machine, each with an engine and a peer in memory.
    case memory
    /// nginx and HAProxy over virtual links, with one engine and with two.
    case veth

    func measure() throws -> String {
      switch self {
      case .model: try ModelScaling.measure()
      case .memory: try MemoryScaling.measure()
      case .veth: try LinkScaling.measure()
      }
    }

    var begin: String { "<!-- \(rawValue): begin -->" }
    var end: String { "<!-- \(rawValue): end -->" }
  }

  static let path = "docs/scaling.md"
  static let plot = "docs/scaling.svg"

  static func make(_ names: [String]) throws {
    let parts = try names.map { name in
      guard let part = Part(rawValue: name) else {
        throw LaboratoryError(
          "no part '\(name)'; there are \(Part.allCases.map(\.rawValue).joined(separator: ", "))")
      }
      return part
    }
    for part in parts.isEmpty ? Part.allCases : parts {
      let text = try part.measure()
      print(text)
      var document = try String(contentsOfFile: path, encoding: .utf8)
      guard let begin = document.range(of: part.begin), let end = document.range(of: part.end),
        begin.upperBound <= end.lowerBound
      else { throw LaboratoryError("\(path) has no section between \(part.begin) and \(part.end)") }
      document.replaceSubrange(
        begin.upperBound..<end.lowerBound, with: "\n\(Self.stamp)\n\n\(text)\n")
      try document.write(toFile: path, atomically: true, encoding: .utf8)
    }
  }

  /// When and on what.
  private static var stamp: String {
    let date = DateFormatter()
    date.dateFormat = "yyyy-MM-dd"
    date.timeZone = TimeZone(identifier: "UTC")
    let machine = Machine()
    let version = machine.kernelRelease.split { !($0.isNumber || $0 == ".") }.first ?? ""
    return "Measured on \(date.string(from: Date())): "
      + "\(machine.processorCount) processors, \(machine.processor), Linux \(version)."
  }

  /// A table of Markdown; the first row is the head.
  static func table(_ rows: [[String]]) -> String {
    guard let head = rows.first else { return "" }
    let lines = rows.map { "| " + $0.joined(separator: " | ") + " |" }
    return ([lines[0], "|" + head.map { _ in "---|" }.joined()] + lines.dropFirst())
      .joined(separator: "\n")
  }

  static func fixed(_ value: Double, _ digits: Int = 2) -> String {
    String(format: "%.\(digits)f", value)
  }
}
