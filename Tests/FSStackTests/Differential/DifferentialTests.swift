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

  /// How often Linux is asked again when its answer surprises: what it does depends on its clock's
  /// ticks, too, and on what else the machine does. The engine's answer is always the same; if Linux
  /// has given it once, they agree.
  private static let repetitions = 5

  @Test(.enabled(if: obstacle == nil, obstacle.map { Comment(rawValue: $0) }))
  func everyAnswerIsLinux() throws {
    let wanted = Self.environment["FS_SCRIPTS"]
    let scripts = Script.all.filter { wanted.map($0.name.contains) ?? true }
    let engine = scripts.map { EngineRun.transcript(of: $0) }
    let linux = try NetworkThread.run { try Self.askLinux(scripts, engine) }
    var table = DifferenceTable()
    var surprises: [String] = []
    for ((script, ours), theirs) in zip(zip(scripts, engine), linux) {
      guard let theirs else {
        surprises.append("\(script.name): the machine was too busy for it")
        continue
      }
      let sides = Transcript.sideBySide(linux: theirs, engine: ours)
      if wanted != nil { print("\(script.name)\n\(sides)") }
      let title = Ledger.titles[script.name]
      table.count(script, differs: ours != theirs, isKnown: title != nil)
      if ours != theirs, title == nil { surprises.append("\(script.name)\n\(sides)") }
      if ours == theirs, let title {
        surprises.append(
          "\(script.name): in the ledger (\(title)), but there is no difference any more")
      }
    }
    print(table)
    report(surprises, of: scripts.count)
  }

  /// The transcript of each script; those that surprise are run again.
  private static func askLinux(
    _ scripts: [Script], _ engine: [Transcript]
  ) throws -> [Transcript?] {
    let schedule = KernelSchedule(on: try KernelNetwork())
    var linux = schedule.transcripts(of: scripts)
    for _ in 0..<repetitions {
      let surprises = scripts.indices.filter {
        (linux[$0] == engine[$0]) == (Ledger.titles[scripts[$0].name] != nil)
      }
      // With so many, it is not chance.
      guard !surprises.isEmpty, surprises.count < 100 else { break }
      let again = schedule.transcripts(of: surprises.map { scripts[$0] })
      for (index, transcript) in zip(surprises, again) {
        if let transcript { linux[index] = transcript }
      }
    }
    return linux
  }

  private func report(_ surprises: [String], of scripts: Int) {
    let release = KernelNetwork.release
    let limit = Ledger.surpriseLimit(ofScripts: scripts, release: release)
    if surprises.count > limit {
      Issue.record("\(surprises.count) surprises, where Linux \(release) may have \(limit)")
      for text in surprises { Issue.record("\(text)") }
    } else {
      for text in surprises {
        withKnownIssue("Linux \(release), not \(Ledger.kernel)") { Issue.record("\(text)") }
      }
    }
  }

  /// The ledger's release has no surprises; another has some, but not many.
  @Test func surprisesAreFewOnEveryRelease() {
    let scripts = Script.all.count
    for release in ["6.18.44-fc-v782", "6.18", "6.18-rc1", "6.18+"] {
      #expect(Ledger.surpriseLimit(ofScripts: scripts, release: release) == 0, "\(release)")
    }
    for release in ["6.1.0-28-amd64", "6.180.1", "5.11"] {
      let limit = Ledger.surpriseLimit(ofScripts: scripts, release: release)
      #expect(limit > 0 && limit < scripts / 10, "\(release)")
    }
  }

  /// `docs/linux-differences.md` is what the ledger says; FS_UPDATE=1 writes it.
  @Test func documentIsTheLedger() throws {
    let document = URL(filePath: #filePath)
      .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
      .deletingLastPathComponent().appending(path: "docs/linux-differences.md")
    if Self.environment["FS_UPDATE"] != nil {
      try Ledger.document.write(to: document, atomically: true, encoding: .utf8)
    }
    #expect(try String(contentsOf: document, encoding: .utf8) == Ledger.document)
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
    let listed = Ledger.differences.flatMap(\.names)
    #expect(Set(listed).count == listed.count)
    for name in listed { #expect(names.contains(name), "\(name) is no script") }
  }
}

/// How many scripts there are of each kind, and how many differ.
struct DifferenceTable: CustomStringConvertible {
  private var rows: [(kind: String, scripts: Int, equal: Int, deliberate: Int, other: Int)] = []

  mutating func count(_ script: Script, differs: Bool, isKnown: Bool) {
    let kind = String(script.name.prefix { $0 != "/" })
    if rows.last?.kind != kind { rows.append((kind, 0, 0, 0, 0)) }
    let row = rows.count - 1
    rows[row].scripts += 1
    if !differs { rows[row].equal += 1 }
    if differs, isKnown { rows[row].deliberate += 1 }
    if differs, !isKnown { rows[row].other += 1 }
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
