import Foundation
import Testing

/// docs/calls.md against the version script and the code.
@Suite struct CallTableTests {
  private static let root = URL(fileURLWithPath: #filePath)
    .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

  private static func text(_ path: String) throws -> String {
    try String(contentsOf: root.appendingPathComponent(path), encoding: .utf8)
  }

  /// All files of a directory with one ending, as one text.
  private static func sources(_ directory: String, _ ending: String) throws -> String {
    let files = FileManager.default.enumerator(
      at: root.appendingPathComponent(directory).resolvingSymlinksInPath(),
      includingPropertiesForKeys: nil)
    let paths = try #require(files).compactMap { $0 as? URL }.filter { $0.pathExtension == ending }
    return try paths.map { try String(contentsOf: $0, encoding: .utf8) }.joined(separator: "\n")
  }

  /// The cells of the tables below a heading, row by row.
  private static func rows(below heading: String) throws -> [[String]] {
    let sections = try text("docs/calls.md").components(separatedBy: "\n## ")
    let section = try #require(sections.first { $0.hasPrefix(heading + "\n") })
    return section.split(separator: "\n").filter { $0.hasPrefix("| `") }.map { line in
      line.split(separator: "|").map { $0.trimmingCharacters(in: .whitespaces) }
    }
  }

  /// What stands between backticks.
  private static func names(_ cell: String) -> Set<String> {
    let parts = cell.split(separator: "`", omittingEmptySubsequences: false).enumerated()
    return Set(parts.filter { $0.offset % 2 == 1 }.map { String($0.element) })
  }

  private static func names(below heading: String) throws -> Set<String> {
    try rows(below: heading).reduce(into: []) { $0.formUnion(names($1[0])) }
  }

  /// The names in the `global` part of the version script.
  private static func exported() throws -> Set<String> {
    let map = try text("Sources/FSShim/libfsocket.map")
    let start = try #require(map.range(of: "global:"))
    let end = try #require(map.range(of: "local:"))
    let names = map[start.upperBound..<end.lowerBound].split { ";\n ".contains($0) }
    return Set(names.map(String.init))
  }

  @Test func everyInterposedCallIsDocumented() throws {
    let accelerated = try Self.names(below: "Accelerated")
    let followed = try Self.names(below: "Followed")
    #expect(accelerated.isDisjoint(with: followed))
    let refused = try Self.rows(below: "Refused").filter { $0[2] == "library" }
      .reduce(into: Set<String>()) { $0.formUnion(Self.names($1[0])) }
    // Also those that are refused only in some case.
    let documented = accelerated.union(followed).union(refused)
    #expect(try documented.subtracting(Self.exported()) == [], "documented, not defined")
    #expect(try Self.exported().subtracting(documented) == [], "defined, not documented")
  }

  @Test func whatTheKernelAnswersIsNotInterposed() throws {
    let exported = try Self.exported()
    let answered = try Self.rows(below: "Refused").filter { $0[2] == "kernel" }
    #expect(answered.count > 3)
    for row in answered { #expect(Self.names(row[0]).isDisjoint(with: exported), "\(row)") }
    for row in try Self.rows(below: "Not defined by the library") {
      #expect(Self.names(row[0]).isDisjoint(with: exported), "\(row)")
    }
  }

  @Test func everyExportedNameHasItsInterposer() throws {
    let code = try Self.sources("Sources/CShim", "c")
    for name in try Self.exported() {
      let isDefined =
        code.contains(", \(name),") || code.contains("__asm__(\"\(name)\")")
        || code.contains(".globl \(name)\\n")
      #expect(isDefined, "\(name)")
    }
  }

  /// What the library refuses is refused with that errno in the function of that name.
  @Test func refusalsAreThoseOfTheCode() throws {
    let code = try Self.sources("Sources/FSShim", "swift")
    let refusals = try Self.rows(below: "Refused").filter { $0[2] == "library" }
    #expect(refusals.count >= 3)
    for row in refusals {
      for name in Self.names(row[0]) {
        let start = try #require(code.range(of: "public func fs_\(name)("), "\(name)")
        let body = code[start.lowerBound...].prefix { $0 != "@" }
        for error in row[1].split(separator: ",") {
          #expect(body.contains("failure(\(error))"), "\(name): \(error)")
        }
      }
    }
  }
}
