/// What a document claims of the tree: that tests and files which it names exist.
struct Citations {
  /// What is wrong, each as a sentence.
  private(set) var problems: [String] = []

  /// Checks the code spans of a document. With `everyRowIsCovered`, every row of its tables must name
  /// a test or begin its last cell with "Not ours: " or "Open: ".
  init(_ name: String, _ text: String, tree: Tree, everyRowIsCovered: Bool) {
    let tests = tree.tests
    let suites = Set(tests.compactMap { $0.split(separator: "/").first.map(String.init) })
    let paths = tree.files.map(\.path)
    for line in text.split(separator: "\n") {
      var namesTest = false
      for span in Self.spans(line) {
        let isTest = span.contains(/^(?!Sources|Tests)[A-Z]\w*\/[a-z]\w*$/)
        namesTest = namesTest || isTest
        if isTest || span.contains(/^\w+Tests$/), !tests.contains(span), !suites.contains(span) {
          problems.append("\(name) names the test \(span), which does not exist")
        } else if span.contains(/^[\w\/+.-]+\.(swift|c|h)$/),
          !paths.contains(where: { $0 == span || $0.hasSuffix("/\(span)") })
        {
          problems.append("\(name) names the file \(span), which does not exist")
        }
      }
      if everyRowIsCovered, line.hasPrefix("|"), !namesTest, !Self.isExcused(line) {
        problems.append("\(name) has a row without test or reason: \(line.prefix(60))")
      }
    }
  }

  /// What stands between backticks.
  private static func spans(_ line: Substring) -> [String] {
    let parts = line.split(separator: "`", omittingEmptySubsequences: false)
    return parts.indices.filter { $0 % 2 == 1 }.map { String(parts[$0]) }
  }

  /// A heading, the line below it, or a row that says why there is no test.
  private static func isExcused(_ line: Substring) -> Bool {
    let cells = line.split(separator: "|").map { $0.drop { $0 == " " } }
    guard let last = cells.last else { return true }
    return last.hasPrefix("Not ours: ") || last.hasPrefix("Open: ") || last.hasPrefix("---")
      || cells[0].hasPrefix("entry ")
  }
}
