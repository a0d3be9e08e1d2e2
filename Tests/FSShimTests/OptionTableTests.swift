import Foundation
import Testing

/// The list of options in CShimOptions.h against the tables of docs/options.md.
@Suite struct OptionTableTests {
  private struct Option {
    let name: String
    let reachesEngine: Bool
  }

  private static func text(_ path: String) throws -> String {
    let root = URL(fileURLWithPath: #filePath)
      .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
    return try String(contentsOf: root.appendingPathComponent(path), encoding: .utf8)
  }

  /// The rows of the two lists: X(NUMBER, LEVEL, NAME, CHECK, PROPERTIES).
  private static func options() throws -> [Option] {
    try text("Sources/CShim/include/CShimOptions.h").split(separator: "\n").compactMap { line in
      let row = line.drop { $0 == " " }
      guard row.hasPrefix("X("), row.contains(" FS_") else { return nil }
      let fields = row.split(separator: ",").map { $0.drop { $0 == " " } }
      return Option(name: String(fields[2]), reachesEngine: row.contains("FS_TO_ENGINE"))
    }
  }

  /// The names in the first column of the tables below a heading.
  private static func names(below heading: String) throws -> Set<String> {
    let sections = try text("docs/options.md").components(separatedBy: "\n## ")
    let section = try #require(sections.first { $0.hasPrefix(heading) })
    var names: Set<String> = []
    for line in section.split(separator: "\n") where line.hasPrefix("| `") {
      let cell = line.dropFirst().prefix { $0 != "|" }
      for (index, part) in cell.split(separator: "`").enumerated() where index % 2 == 1 {
        names.insert(String(part))
      }
    }
    return names
  }

  @Test func everyOptionIsDocumentedAsWhatItIs() throws {
    let options = try Self.options()
    #expect(options.count > 50)
    let likeLinux = try Self.names(below: "As in Linux")
    let withoutEffect = try Self.names(below: "Accepted and kept, without effect")
    let refused = try Self.names(below: "Refused")
    #expect(likeLinux.isDisjoint(with: withoutEffect))
    for option in options {
      #expect(
        likeLinux.contains(option.name) != withoutEffect.contains(option.name), "\(option.name)")
      #expect(!refused.contains(option.name), "\(option.name) is kept")
      if option.reachesEngine {
        #expect(likeLinux.contains(option.name), "\(option.name) is the engine's")
      }
    }
  }
}
