import Testing

@testable import traceability

/// To what a comment belongs.
@Suite struct SourceFileTests {
  /// The name of the declaration that the comment with `MUST-1` belongs to.
  private func owner(_ text: String, path: String = "Sources/A/A.swift") -> String? {
    let file = SourceFile(path: path, text: text)
    guard let line = file.lines.firstIndex(where: { $0.contains("MUST-1") }) else { return nil }
    return file.declaration(forLine: line).map { file.qualifiedName(of: $0) }
  }

  @Test(arguments: [
    ("// MUST-1.\n\nextension A {\n}", nil),
    ("extension A {\n  /// MUST-1.\n  /// More.\n  @inline(__always)\n  mutating func f() {", "f"),
    ("struct A {\n  func f() {\n    if x {\n      // MUST-1.\n      y()\n    }\n  }\n}", "f"),
    ("struct A {\n  func f() {\n    let x = 1\n    // MUST-1.\n    let y = 2\n  }\n}", "f"),
    ("struct A {\n  func f() {\n  }\n\n  /// MUST-1.\n  var x = 1\n}", "x"),
    ("struct A {\n  var x: Int {\n    // MUST-1.\n    1\n  }\n}", "x"),
    ("struct A {\n  func f() {\n  }\n  // MUST-1.\n}", "A"),
    ("enum A {\n  case a  // MUST-1.\n}", "a"),
    ("struct A {\n  @inline(never) private static func f() {  // MUST-1", "f"),
    ("struct A {\n  init(\n    a: Int\n  ) {\n    // MUST-1\n  }\n}", "init"),
  ])
  func swift(text: String, name: String?) {
    #expect(owner(text) == name)
  }

  @Test(arguments: [
    ("/* MUST-1. */\nstatic int f(void)\n{\n}\n", "f"),
    ("static int f(int a,\n             int b)\n{\n    /* MUST-1. */\n    return g(a);\n}\n", "f"),
    ("int g(void);\n\n/* MUST-1. */\n\nint f(void)\n{\n}\n", nil),
  ])
  func c(text: String, name: String?) {
    #expect(owner(text, path: "bpf/a.bpf.c") == name)
  }

  /// Tests are called as `swift test --filter` calls them.
  @Test func tests() {
    let text =
      "@Suite struct ATests {\n  @Test(arguments: [\n    1,\n  ])\n  func a() {\n"
      + "    // MUST-1\n  }\n}"
    #expect(owner(text, path: "Tests/A/ATests.swift") == "ATests/a")
  }
}
