import Foundation

@testable import traceability

/// A small project with a table of its own, in a directory that goes away with it.
final class FixtureTree {
  let root = FileManager.default.temporaryDirectory.appending(path: "traceability-\(UUID())")

  /// Met completely: what a test writes over it is what is wrong.
  init() throws {
    try write(
      "docs/requirements/rfc9293.txt",
      """
      Prose, in which MUST-99 means nothing.

      # Window
      MUST-1 | M | 3.1 | Treat as unsigned number
      SHLD-5 IPv4 | S | 3.7.1 | * IPv4 Send MSS Option
      SHLD-5 IPv6 | S | 3.7.1 | * IPv6 Send MSS Option
      - | - | 3.9.2.1 | Source Route:
      MUST-2 | MN | 3.1 | ** Sender compute checksum
      """)
    try write(
      "docs/requirements/deviations.txt",
      """
      Prose.

      MUST-2: not applicable: there is nothing in this tree
       that could have a checksum.
      """)
    try write(
      "Sources/Stack/Window.swift",
      """
      /// The window (MUST-1).
      struct Window {
        /// Options of a SYN, in both families: SHLD-5.
        mutating func options() {
          let value = 1
        }
      }
      """)
    try write(
      "Tests/StackTests/WindowTests.swift",
      """
      /// Windows.
      @Suite struct WindowTests {
        /// MUST-1 and SHLD-5 IPv4.
        @Test(arguments: [
          (1, "a"), (2, "b"),
        ])
        func isUnsigned(number: Int) {
          #expect(number > 0)
        }

        @Test func sendsOption() {
          // SHLD-5 IPv6.
          #expect(true)
        }
      }
      """)
    _ = try run(updates: true)
  }

  deinit { try? FileManager.default.removeItem(at: root) }

  func write(_ path: String, _ text: String) throws {
    let file = root.appending(path: path)
    try FileManager.default.createDirectory(
      at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
    try text.write(to: file, atomically: true, encoding: .utf8)
  }

  func read(_ path: String) throws -> String {
    try String(contentsOf: root.appending(path: path), encoding: .utf8)
  }

  /// Changes a file that is there.
  func replace(_ path: String, _ old: String, _ new: String) throws {
    let text = try read(path)
    precondition(text.contains(old), "nothing to replace")
    try write(path, text.replacingOccurrences(of: old, with: new))
  }

  /// What is wrong, the document itself left aside unless it is asked for.
  func run(updates: Bool = true) throws -> [String] {
    try Traceability.run(root: root, updates: updates) { _ in }
  }
}
