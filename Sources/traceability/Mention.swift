/// A place in the tree that names a requirement.
struct Mention: Equatable {
  var name: RequirementID
  var path: String
  /// `function`, or `Suite/test`.
  var declaration: String?
  /// It stands with a test that runs.
  var isTest: Bool
  /// It says "deviates from": the requirement is not met here on purpose.
  var deviates: Bool

  /// All mentions in a file, in its comments and in the names of its tests.
  static func all(in file: SourceFile, words: (String) -> [String]) -> [Mention] {
    var mentions: [Mention] = []
    for (number, line) in file.lines.enumerated() {
      guard let text = commentary(line) else { continue }
      let ids = self.ids(in: text, words: words)
      guard !ids.isEmpty else { continue }
      let declaration = file.declaration(forLine: number)
      for (name, deviates) in ids {
        let isTest = declaration.map { $0.isTest && isRunning($0, in: file) } ?? false
        let mention = Mention(
          name: name, path: file.path,
          declaration: declaration.map { file.qualifiedName(of: $0) }, isTest: isTest,
          deviates: deviates)
        if !mentions.contains(mention) { mentions.append(mention) }
      }
    }
    return mentions
  }

  /// A test that is disabled, or whose failure is known, shows nothing.
  private static func isRunning(_ test: SourceFile.Declaration, in file: SourceFile) -> Bool {
    !test.isDisabled && !file.body(of: test).contains { $0.contains("withKnownIssue") }
  }

  /// The part of a line that is comment, or the name of a test; nil if it cannot have ids.
  private static func commentary(_ line: Substring) -> Substring? {
    // Most lines, and cheaply.
    guard line.utf8.contains(UInt8(ascii: "-")) else { return nil }
    let text = line.drop { $0 == " " }
    if text.hasPrefix("*") || text.hasPrefix("/*") || text.hasPrefix("@Test(") { return text }
    var previous: Character = " "
    for index in text.indices {
      if previous == "/", text[index] == "/" || text[index] == "*" { return text[index...] }
      previous = text[index]
    }
    return nil
  }

  /// The ids in a text, and whether each is deviated from.
  static func ids(
    in text: Substring, words: (String) -> [String]
  ) -> [(name: RequirementID, deviates: Bool)] {
    var found: [(name: RequirementID, deviates: Bool)] = []
    for match in text.matches(of: /\b(?:MUST|SHLD|MAY|REC)-[0-9]+/) {
      let id = String(match.output)
      let rest = text[match.range.upperBound...].drop { $0 == " " }
      let word = words(id).first { rest.hasPrefix($0) }
      let deviates = text[..<match.range.lowerBound].hasSuffix("eviates from ")
      found.append((RequirementID(id: id, word: word), deviates))
    }
    return found
  }
}
