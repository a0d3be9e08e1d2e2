import Foundation

/// What a document claims of the tree: that tests, files and folders which it names exist.
struct Citations {
  /// What is wrong, each as a sentence.
  private(set) var problems: [String] = []

  /// Checks the code spans of a document. With `everyRowIsCovered`, every row of its tables must name a
  /// test or begin its last cell with "Not ours: ", "Not done: " or "Open: ".
  init(_ name: String, _ text: String, tree: Tree, everyRowIsCovered: Bool) {
    let tests = tree.tests
    let suites = Set(tests.compactMap { $0.split(separator: "/").first.map(String.init) })
    let paths = tree.files.map(\.path)
    let lines = text.split(separator: "\n")
    for (number, line) in lines.enumerated() {
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
        } else if span.contains(/^(Sources|Tests)\/[\w\/-]+$/),
          !FileManager.default.fileExists(atPath: tree.root.appending(path: span).path)
        {
          problems.append("\(name) names the folder \(span), which does not exist")
        }
      }
      let isHeading = number + 1 < lines.count && lines[number + 1].hasPrefix("|---")
      if everyRowIsCovered, line.hasPrefix("|"), !isHeading, !namesTest, !Self.isExcused(line) {
        problems.append("\(name) has a row without test or reason: \(line.prefix(60))")
      }
    }
  }

  /// What stands between backticks.
  private static func spans(_ line: Substring) -> [String] {
    let parts = line.split(separator: "`", omittingEmptySubsequences: false)
    return parts.indices.filter { $0 % 2 == 1 }.map { String(parts[$0]) }
  }

  /// The line below a heading, or a row that says why there is no test.
  private static func isExcused(_ line: Substring) -> Bool {
    guard let last = line.split(separator: "|").last else { return true }
    let text = last.drop { $0 == " " }
    return ["---", "Not ours: ", "Not done: ", "Open: "].contains(where: text.hasPrefix)
  }
}
