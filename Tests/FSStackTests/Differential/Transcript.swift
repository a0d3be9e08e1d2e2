/// What one side answered to each step of a script.
struct Transcript: Equatable {
  struct Entry: Equatable {
    var step: String
    /// Segments and results of calls, in their order.
    var answers: [String] = []
  }

  var entries: [Entry] = []

  mutating func begin(_ step: Step) { entries.append(Entry(step: "\(step)")) }
  mutating func answer(_ line: String) {
    if !entries.isEmpty { entries[entries.count - 1].answers.append(line) }
  }

  /// Both side by side; lines that differ are marked.
  static func sideBySide(linux: Transcript, engine: Transcript) -> String {
    var lines = [row("", "Linux", "engine")]
    for (ours, theirs) in zip(engine.entries, linux.entries) {
      lines.append("  \(theirs.step)")
      for index in 0..<max(ours.answers.count, theirs.answers.count) {
        let left = index < theirs.answers.count ? theirs.answers[index] : ""
        let right = index < ours.answers.count ? ours.answers[index] : ""
        lines.append(row(left == right ? "" : "*", left, right))
      }
    }
    return lines.joined(separator: "\n")
  }

  private static func row(_ mark: String, _ left: String, _ right: String) -> String {
    let width = 56
    let padding = String(repeating: " ", count: max(1, width - left.count))
    return (mark.isEmpty ? " " : mark) + "     " + left + padding + right
  }
}
