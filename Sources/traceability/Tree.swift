import Foundation

/// The files of the project that may name requirements.
struct Tree {
  let root: URL
  private(set) var files: [SourceFile] = []

  /// Where ids are looked for, and where they are examples.
  private static let folders = ["Sources", "bpf", "Tests"]
  private static let excluded = ["Sources/traceability/", "Tests/traceabilityTests/"]

  /// Reads everything; in the order of the paths.
  init(root: URL) throws(Failure) {
    self.root = root
    var paths: [String] = []
    for folder in Self.folders {
      guard
        let names = FileManager.default.enumerator(atPath: root.appending(path: folder).path)
      else { continue }
      for case let name as String in names {
        let path = "\(folder)/\(name)"
        if path.hasSuffix(".swift") || path.hasSuffix(".c") || path.hasSuffix(".h"),
          !Self.excluded.contains(where: path.hasPrefix)
        {
          paths.append(path)
        }
      }
    }
    for path in paths.sorted() {
      files.append(SourceFile(path: path, text: try text(of: path)))
    }
  }

  /// The content of a file.
  func text(of path: String) throws(Failure) -> String {
    guard let text = try? String(contentsOf: root.appending(path: path), encoding: .utf8) else {
      throw Failure("\(path) cannot be read")
    }
    return text
  }

  /// All tests, as `Suite/test`.
  var tests: Set<String> {
    Set(
      files.filter(\.isTest).flatMap { file in
        file.declarations.filter(\.isTest).map { file.qualifiedName(of: $0) }
      })
  }
}
