import Foundation

/// `make rfc9293`: which requirement of RFC 9293 is met by which code, and shown by which test.
///
/// Reads the ids in comments (`MUST-38`), the table in docs/requirements and the recorded deviations,
/// prints the table, and fails if a requirement has neither test nor reason, if an id does not exist,
/// if a reason is contradicted, or if docs/rfc9293.md says something else.
@main
struct Traceability {
  static func main() {
    let arguments = CommandLine.arguments.dropFirst()
    guard arguments.allSatisfy({ $0 == "--update" }) else {
      print("usage: traceability [--update]", to: &standardError)
      exit(2)
    }
    let root = URL(filePath: FileManager.default.currentDirectoryPath)
    do {
      let problems = try run(root: root, updates: !arguments.isEmpty) { print($0) }
      for problem in problems { print("rfc9293: \(problem)", to: &standardError) }
      if !problems.isEmpty {
        print("rfc9293: \(problems.count) problems", to: &standardError)
        exit(1)
      }
    } catch {
      print("rfc9293: \(error)", to: &standardError)
      exit(1)
    }
  }

  /// Does it all for the tree at `root`; returns what is wrong.
  static func run(
    root: URL, updates: Bool, output: (String) -> Void
  ) throws(Failure) -> [String] {
    let tree = try Tree(root: root)
    let ledger = Ledger(
      try RequirementTable(try tree.text(of: "docs/requirements/rfc9293.txt")),
      try Deviation.parse(try tree.text(of: "docs/requirements/deviations.txt")), tree.files)
    let document = Document(ledger: ledger).text
    output(document)
    var problems = ledger.problems
    if updates {
      do {
        try document.write(
          to: root.appending(path: documentPath), atomically: true, encoding: .utf8)
      } catch {
        throw Failure("\(documentPath) cannot be written")
      }
    } else if (try? tree.text(of: documentPath)) != document {
      problems.append("\(documentPath) is not what the tree says: make rfc9293 UPDATE=1")
    }
    for (path, everyRowIsCovered) in [
      ("docs/rfc-matrix.md", true), ("docs/bug-catalogue.md", true),
      ("docs/architecture.md", false), ("docs/options.md", false),
    ] {
      guard let text = try? tree.text(of: path) else { continue }
      problems +=
        Citations(path, text, tree: tree, everyRowIsCovered: everyRowIsCovered).problems
    }
    return problems
  }

  private static let documentPath = "docs/rfc9293.md"
  nonisolated(unsafe) private static var standardError = StandardError()

  private struct StandardError: TextOutputStream {
    mutating func write(_ string: String) { FileHandle.standardError.write(Data(string.utf8)) }
  }
}
