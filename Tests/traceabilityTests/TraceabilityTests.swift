import Testing

@testable import traceability

/// The tool on trees that are right, and wrong in one way each.
@Suite struct TraceabilityTests {
  private let window = "Sources/Stack/Window.swift"
  private let tests = "Tests/StackTests/WindowTests.swift"
  private let deviations = "docs/requirements/deviations.txt"

  @Test func allIsMet() throws {
    let tree = try FixtureTree()
    #expect(try tree.run(updates: false) == [])
    let document = try tree.read("docs/rfc9293.md")
    #expect(document.contains("4 rows: 3 met, 0 deliberate deviations, 1 not applicable, 0 open."))
    let rows = """
      | Treat as unsigned number | MUST-1 | MUST | `Window.swift` Window | `WindowTests/isUnsigned` | met |
      | — IPv4 Send MSS Option | SHLD-5 IPv4 | SHOULD | `Window.swift` options | `WindowTests/isUnsigned` \
      | met |
      | — IPv6 Send MSS Option | SHLD-5 IPv6 | SHOULD | `Window.swift` options | `WindowTests/sendsOption` \
      | met |
      | Source Route: | | | | | |
      | — — Sender compute checksum | MUST-2 | MUST NOT |  |  | not applicable: there is nothing in this \
      tree that could have a checksum. |

      """
    #expect(document.hasSuffix(rows))
  }

  @Test func testIsMissing() throws {
    let tree = try FixtureTree()
    try tree.replace(tests, "MUST-1 and ", "")
    #expect(
      try tree.run() == [
        "MUST-1 (Treat as unsigned number) has neither a test that runs nor a recorded deviation"
      ])
    #expect(try tree.read("docs/rfc9293.md").contains("|  | **open** |"))
  }

  @Test func codeIsMissing() throws {
    let tree = try FixtureTree()
    try tree.replace(window, " (MUST-1)", "")
    #expect(
      try tree.run() == ["MUST-1 (Treat as unsigned number) has a test, but no code names it"])
  }

  /// A test that does not run, or may fail, shows nothing; nor does one that is no test.
  @Test(arguments: [
    ("@Test(arguments: [", "@Test(.disabled(\"later\"), arguments: ["),
    ("#expect(number > 0)", "withKnownIssue { #expect(number > 0) }"),
    ("@Test(arguments: [", "@Helper(arguments: ["),
  ])
  func testDoesNotRun(old: String, new: String) throws {
    let tree = try FixtureTree()
    try tree.replace(tests, old, new)
    let problems = try tree.run()
    #expect(problems.count == 2 && problems.allSatisfy { $0.contains("has neither a test") })
  }

  @Test func idIsUnknown() throws {
    let tree = try FixtureTree()
    try tree.replace(window, "let value = 1", "let value = 1  // As MUST-99 wants.")
    #expect(
      try tree.run() == [
        "Sources/Stack/Window.swift (options) names MUST-99, which is not in the table"
      ])
  }

  /// Only comments and names of tests count.
  @Test func idInCodeIsNone() throws {
    let tree = try FixtureTree()
    try tree.replace(window, "let value = 1", "let value = MUST-99")
    #expect(try tree.run() == [])
  }

  @Test func deviationIsContradicted() throws {
    let tree = try FixtureTree()
    try tree.replace(tests, "// SHLD-5 IPv6.", "// SHLD-5 IPv6, MUST-2.")
    #expect(
      try tree.run() == [
        "MUST-2 (** Sender compute checksum) is recorded as not met, but "
          + "Tests/StackTests/WindowTests.swift (WindowTests/sendsOption) claims it"
      ])
    // What is done instead may be shown.
    try tree.replace(tests, "SHLD-5 IPv6, MUST-2.", "SHLD-5 IPv6; deviates from MUST-2.")
    #expect(try tree.run() == [])
  }

  /// Met, but for a case that the code must name.
  @Test func exception() throws {
    let tree = try FixtureTree()
    try tree.write(
      deviations, try tree.read(deviations) + "\nMUST-1: exception: on Mondays it is negative\n")
    #expect(
      try tree.run() == ["MUST-1 (Treat as unsigned number) has an exception that no code names"])
    try tree.replace(window, "let value = 1", "let value = 1  // Deviates from MUST-1.")
    #expect(try tree.run() == [])
    #expect(try tree.read("docs/rfc9293.md").contains("| met, with an exception: on Mondays"))
    try tree.replace(tests, "MUST-1 and ", "")
    #expect(try tree.run().count == 1)
  }

  @Test func deviationIsNotRecorded() throws {
    let tree = try FixtureTree()
    try tree.replace(window, "(MUST-1)", "(deviates from MUST-1)")
    let problems = try tree.run()
    #expect(
      problems == [
        "Sources/Stack/Window.swift (Window) deviates from MUST-1 (Treat as unsigned number), "
          + "but no reason is recorded"
      ])
  }

  @Test(arguments: ["MUST-3: deviation: not in the table", "MUST-2: deviation: twice in the file"])
  func recordIsWrong(record: String) throws {
    let tree = try FixtureTree()
    try tree.write(deviations, try tree.read(deviations) + "\n" + record + "\n")
    #expect(try tree.run().count == 1)
  }

  @Test(arguments: ["MUST-1: excuse: of no known kind", "MUST-1: deviation:", "no colon at all"])
  func recordIsUnreadable(record: String) throws {
    let tree = try FixtureTree()
    try tree.write(deviations, try tree.read(deviations) + "\n" + record + "\n")
    #expect(throws: Failure.self) { try tree.run() }
  }

  @Test func documentIsOld() throws {
    let tree = try FixtureTree()
    try tree.replace(window, "func options", "func makeOptions")
    #expect(
      try tree.run(updates: false) == [
        "docs/rfc9293.md is not what the tree says: make rfc9293 UPDATE=1"
      ])
    #expect(try tree.run(updates: true) == [] && tree.run(updates: false) == [])
  }

  // MARK: Other documents

  @Test func citations() throws {
    let tree = try FixtureTree()
    try tree.write(
      "docs/rfc-matrix.md",
      "| RFC | `Window.swift`, `Stack/Window.swift`, `WindowTests/isUnsigned`, `WindowTests` |")
    #expect(try tree.run() == [])
    for wrong in [
      "Windows.swift", "Other/Window.swift", "WindowTests/isSigned", "OtherTests", "Other/isSigned",
    ] {
      try tree.write("docs/rfc-matrix.md", "| RFC | `WindowTests/isUnsigned`, `\(wrong)` |")
      let problems = try tree.run()
      #expect(problems.count == 1 && problems[0].hasSuffix("\(wrong), which does not exist"))
    }
  }

  /// Other documents are held to what they name, not to tests.
  @Test func folders() throws {
    let tree = try FixtureTree()
    try tree.write(
      "docs/architecture.md", "| where |\n|---|\n| `Sources/Stack`, `Tests/StackTests` |\n")
    #expect(try tree.run() == [])
    try tree.write("docs/architecture.md", "| where |\n|---|\n| `Sources/Heap` |\n")
    #expect(
      try tree.run() == [
        "docs/architecture.md names the folder Sources/Heap, which does not exist"
      ])
  }

  /// Every row has a test, or a reason why not.
  @Test func catalogue() throws {
    let tree = try FixtureTree()
    let head = "| entry | test |\n|---|---|\n"
    try tree.write(
      "docs/bug-catalogue.md",
      head + "| CVE-1 | `WindowTests/isUnsigned` |\n| CVE-2 | Not ours: no DNS |\n"
        + "\n| RFC | test | not done |\n|---|---|---|\n| 7413 | | Not done: no cookies |\n")
    #expect(try tree.run() == [])
    try tree.write("docs/bug-catalogue.md", head + "| CVE-3 | `WindowTests` |\n")
    #expect(
      try tree.run() == [
        "docs/bug-catalogue.md has a row without test or reason: | CVE-3 | `WindowTests` |"
      ])
  }
}
