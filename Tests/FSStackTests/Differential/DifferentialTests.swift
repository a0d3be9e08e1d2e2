import Foundation
import Testing

@testable import FSStack

/// The same scripts to Linux's TCP and to the engine: what differs is in the `Ledger` with its reason,
/// or an error.
///
/// `make test` runs it by itself: it is the one test whose time is real. `FS_SCRIPTS=text` runs the
/// scripts whose name contains the text, and prints both transcripts.
@Suite(.serialized) struct DifferentialTests {
  static let environment = ProcessInfo.processInfo.environment

  static let obstacle: String? =
    environment["FS_DIFFERENTIAL"] == nil && environment["FS_SCRIPTS"] == nil
    ? "set FS_DIFFERENTIAL=1 to compare with Linux" : KernelNetwork.obstacle

  @Test(.enabled(if: obstacle == nil, obstacle.map { Comment(rawValue: $0) }))
  func everyAnswerIsLinux() throws {
    let wanted = Self.environment["FS_SCRIPTS"]
    let scripts = Script.all.filter { wanted.map($0.name.contains) ?? true }
    let linux = try NetworkThread.run {
      let network = try KernelNetwork()
      return KernelSchedule(on: network).transcripts(of: scripts)
    }
    var table = DifferenceTable()
    for (script, theirs) in zip(scripts, linux) {
      guard let theirs else {
        Issue.record("\(script.name): the machine was too busy for it")
        continue
      }
      let ours = EngineRun.transcript(of: script)
      let sides = Transcript.sideBySide(linux: theirs, engine: ours)
      if wanted != nil { print("\(script.name)\n\(sides)") }
      let reason = Ledger.reasons[script.name]
      table.count(script, differs: ours != theirs, reason: reason)
      if ours != theirs, reason == nil { Issue.record("\(script.name)\n\(sides)") }
      if ours == theirs, reason != nil {
        Issue.record("\(script.name): in the ledger, but there is no difference any more")
      }
    }
    print(table)
  }

  /// The scripts cover what they are to cover, and the ledger names no other.
  @Test func scriptsAreComplete() {
    let names = Script.all.map(\.name)
    #expect(names.count >= 300)
    #expect(Set(names).count == names.count)
    for situation in Situation.all {
      for stimulus in Stimulus.all {
        #expect(names.contains("\(situation.name)/\(stimulus.name)"))
      }
    }
    for name in Ledger.reasons.keys { #expect(names.contains(name), "\(name) is no script") }
  }
}

/// How many scripts there are of each kind, and how many differ.
struct DifferenceTable: CustomStringConvertible {
  private var rows: [(kind: String, scripts: Int, equal: Int, deliberate: Int, other: Int)] = []

  mutating func count(_ script: Script, differs: Bool, reason: String?) {
    let kind = String(script.name.prefix { $0 != "/" })
    if rows.last?.kind != kind { rows.append((kind, 0, 0, 0, 0)) }
    let row = rows.count - 1
    rows[row].scripts += 1
    if !differs { rows[row].equal += 1 }
    if differs, reason != nil { rows[row].deliberate += 1 }
    if differs, reason == nil { rows[row].other += 1 }
  }

  var description: String {
    var lines = [Self.line("", ["scripts", "equal", "in ledger", "other"])]
    lines += rows.map {
      Self.line($0.kind, [$0.scripts, $0.equal, $0.deliberate, $0.other].map(String.init))
    }
    let sums = [\.scripts, \.equal, \.deliberate, \.other].map {
      (path: KeyPath<(kind: String, scripts: Int, equal: Int, deliberate: Int, other: Int), Int>) in
      String(rows.reduce(0) { $0 + $1[keyPath: path] })
    }
    return "\n" + (lines + [Self.line("all", sums)]).joined(separator: "\n")
  }

  private static func line(_ name: String, _ columns: [String]) -> String {
    let padded = columns.map { String(repeating: " ", count: max(1, 11 - $0.count)) + $0 }
    return name + String(repeating: " ", count: max(1, 26 - name.count)) + padded.joined()
  }
}
