/// A file of Swift or C as lines, with what is declared where.
///
/// No parser: the sources are formatted, so indentation tells what is inside what.
struct SourceFile {
  /// From the root of the tree.
  var path: String
  private(set) var lines: [Substring]
  private(set) var declarations: [Declaration] = []

  struct Declaration {
    enum Kind { case type, function, value }

    var kind: Kind
    var name: String
    /// The line with its name, from 0.
    var line: Int
    var indentation: Int
    /// A test of Swift Testing.
    var isTest = false
    /// Tests are also made in C; these are called by one in Swift.
    var isDisabled = false
  }

  /// Part of the tests.
  var isTest: Bool { path.hasPrefix("Tests/") }
  private var isSwift: Bool { path.hasSuffix(".swift") }

  init(path: String, text: String) {
    self.path = path
    lines = text.split(separator: "\n", omittingEmptySubsequences: false)
    for number in lines.indices {
      guard var declaration = isSwift ? swiftDeclaration(number) : cDeclaration(number) else {
        continue
      }
      if declaration.kind == .function {
        let attributes = attributes(before: number)
        declaration.isTest = attributes.contains("@Test")
        declaration.isDisabled = attributes.contains(".disabled(")
      }
      // Values inside of functions have no name outside.
      if declaration.kind == .value, scope(of: declaration)?.kind == .function { continue }
      declarations.append(declaration)
    }
  }

  // MARK: What a comment belongs to

  /// The declaration that a comment on a line documents, or in which it stands.
  func declaration(forLine number: Int) -> Declaration? {
    if let own = declarations.first(where: { $0.line == number }) { return own }
    if isComment(number) {
      var next = number + 1
      while next < lines.count, isComment(next) || isAttribute(next) { next += 1 }
      if let following = declarations.first(where: { $0.line == next }),
        following.indentation == Self.indentation(lines[number])
      {
        return following
      }
    }
    return enclosing(line: number, indentation: Self.indentation(lines[number]))
  }

  /// The name of a declaration with that of its type: `Suite/test` for tests, as `swift test
  /// --filter` writes it.
  func qualifiedName(of declaration: Declaration) -> String {
    guard declaration.kind != .type, let type = type(of: declaration) else {
      return declaration.name
    }
    return isTest ? "\(type)/\(declaration.name)" : declaration.name
  }

  /// The type in which a declaration stands.
  func type(of declaration: Declaration) -> String? {
    var scope = scope(of: declaration)
    while let outer = scope, outer.kind != .type { scope = self.scope(of: outer) }
    return scope?.name
  }

  /// The lines of a declaration, from its name to where the indentation comes back.
  func body(of declaration: Declaration) -> ArraySlice<Substring> {
    var end = declaration.line + 1
    while end < lines.count,
      lines[end].isEmpty || Self.indentation(lines[end]) > declaration.indentation
    {
      end += 1
    }
    return lines[declaration.line..<end]
  }

  private func scope(of declaration: Declaration) -> Declaration? {
    enclosing(line: declaration.line, indentation: declaration.indentation)
  }

  private func enclosing(line: Int, indentation: Int) -> Declaration? {
    var limit = indentation
    for candidate in declarations.reversed() where candidate.line < line {
      guard candidate.indentation < limit else { continue }
      limit = candidate.indentation
      if candidate.kind != .value || lines[candidate.line].hasSuffix("{") { return candidate }
    }
    return nil
  }

  // MARK: Lines

  static func indentation(_ line: Substring) -> Int { line.prefix { $0 == " " }.count }

  private func isComment(_ number: Int) -> Bool {
    let text = lines[number].drop { $0 == " " }
    return text.hasPrefix("//") || text.hasPrefix("/*") || text.hasPrefix("*")
  }

  private func isAttribute(_ number: Int) -> Bool {
    let text = lines[number].drop { $0 == " " }
    if text.hasPrefix("@") { return !text.contains(" func ") && !text.contains("struct ") }
    // The arguments of an attribute, over several lines.
    var first = number
    while first > 0, !lines[first].drop(while: { $0 == " " }).hasPrefix("@") {
      first -= 1
      if number - first > 40 || lines[first].isEmpty { return false }
    }
    let depth = lines[first..<number].joined().reduce(0) {
      $0 + ($1 == "(" ? 1 : $1 == ")" ? -1 : 0)
    }
    return depth > 0
  }

  private func attributes(before number: Int) -> String {
    var first = number
    while first > 0, isAttribute(first - 1) { first -= 1 }
    return lines[first...number].joined()
  }

  // MARK: Declarations

  private static let modifiers: Set<Substring> = [
    "public", "private", "fileprivate", "internal", "static", "final", "mutating", "borrowing",
    "consuming", "override", "indirect", "unsafe", "private(set)", "class", "package", "isolated",
    "nonisolated", "weak", "lazy", "unowned", "convenience", "required",
  ]

  private func swiftDeclaration(_ number: Int) -> Declaration? {
    let line = lines[number]
    var words = line.drop { $0 == " " }.split(separator: " ")[...]
    while let word = words.first {
      if word.hasPrefix("@"), words.count > 1 {
        // The arguments of an attribute may contain spaces.
        guard let end = words.firstIndex(where: { $0.hasSuffix(")") || !$0.contains("(") }) else {
          return nil
        }
        words = words[(end + 1)...]
      } else if Self.modifiers.contains(word), words.dropFirst().first != "{" {
        guard word != "class" || words.count > 2 && Self.isKeyword(words.dropFirst().first) else {
          break
        }
        words = words.dropFirst()
      } else {
        break
      }
    }
    guard let keyword = words.first else { return nil }
    let name = words.dropFirst().first.map(Self.identifier) ?? ""
    let indentation = Self.indentation(line)
    switch keyword {
    case "func" where !name.isEmpty:
      return Declaration(kind: .function, name: name, line: number, indentation: indentation)
    case "struct", "enum", "class", "extension", "protocol", "actor":
      return Declaration(kind: .type, name: name, line: number, indentation: indentation)
    case "var", "let", "case":
      guard !name.isEmpty else { return nil }
      return Declaration(kind: .value, name: name, line: number, indentation: indentation)
    case _ where keyword.hasPrefix("init(") || keyword.hasPrefix("init?("):
      return Declaration(kind: .function, name: "init", line: number, indentation: indentation)
    default:
      return nil
    }
  }

  private static func isKeyword(_ word: Substring?) -> Bool {
    ["func", "var", "let"].contains(word ?? "")
  }

  private func cDeclaration(_ number: Int) -> Declaration? {
    let line = lines[number]
    guard let first = line.first, first.isLetter || first == "_", !line.hasSuffix(";"),
      let parenthesis = line.firstIndex(of: "(")
    else { return nil }
    let name = line[..<parenthesis].reversed().prefix { $0.isLetter || $0.isNumber || $0 == "_" }
    guard !name.isEmpty else { return nil }
    return Declaration(
      kind: .function, name: String(name.reversed()), line: number, indentation: 0)
  }

  private static func identifier(_ word: Substring) -> String {
    let word = word.hasPrefix("`") ? word.dropFirst() : word
    return String(word.prefix { $0.isLetter || $0.isNumber || $0 == "_" || $0 == "." })
  }
}
