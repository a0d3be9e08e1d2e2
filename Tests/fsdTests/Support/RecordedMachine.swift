import Foundation

/// The files of /sys and /proc of another machine, laid out in a directory: `root` is put before their
/// paths. Recorded in Topologies: each line is a path, a space, and a line of the file.
final class RecordedMachine {
  let root: String

  init(_ name: String) throws {
    let text = try String(
      contentsOf: URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        .deletingLastPathComponent().appendingPathComponent("Topologies/\(name).txt"),
      encoding: .utf8)
    root = NSTemporaryDirectory() + "fsd-machine-\(UUID().uuidString)"
    var files: [String: String] = [:]
    for line in text.split(separator: "\n") where line.hasPrefix("/") {
      let path = String(line.prefix { $0 != " " })
      files[path, default: ""] += line.dropFirst(path.count + 1) + "\n"
    }
    for (path, text) in files {
      let file = URL(fileURLWithPath: root + path)
      try FileManager.default.createDirectory(
        at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
      try text.write(to: file, atomically: false, encoding: .utf8)
    }
  }

  deinit { try? FileManager.default.removeItem(atPath: root) }

  /// What a file holds now, without the line's end.
  func text(_ path: String) throws -> String {
    let text = try String(contentsOfFile: root + path, encoding: .utf8)
    return text.trimmingCharacters(in: .newlines)
  }
}
