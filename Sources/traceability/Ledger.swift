/// The table with what the tree says about each row.
struct Ledger {
  /// One row, and how it stands.
  struct Row {
    var requirement: Requirement
    var code: [Mention]
    var tests: [Mention]
    var deviation: Deviation?

    /// Met, as far as names can say: there is code for it, and a test that shows it.
    var isMet: Bool {
      (deviation == nil || deviation?.kind == .exception) && !code.isEmpty
        && tests.contains(where: \.isTest)
    }
  }

  let table: RequirementTable
  private(set) var rows: [Row] = []
  /// What is wrong, each as a sentence.
  private(set) var problems: [String] = []

  init(_ table: RequirementTable, _ deviations: [Deviation], _ files: [SourceFile]) {
    self.table = table
    let mentions = files.flatMap { file in
      Mention.all(in: file, words: table.words(of:))
    }
    for requirement in table.requirements {
      let own = mentions.filter { $0.name.covers(requirement.name) }
      let records = deviations.filter { $0.name.covers(requirement.name) }
      let row = Row(
        requirement: requirement, code: own.filter { !$0.path.hasPrefix("Tests/") },
        tests: own.filter { $0.path.hasPrefix("Tests/") }, deviation: records.first)
      rows.append(row)
      if records.count > 1 { problems.append("\(requirement.name) is recorded twice") }
      problems += Self.problems(of: row)
    }
    problems += unknown(mentions, deviations)
  }

  private static func problems(of row: Row) -> [String] {
    let name = "\(row.requirement.name) (\(row.requirement.feature))"
    if let deviation = row.deviation, deviation.kind != .exception {
      return (row.code + row.tests).filter { !$0.deviates }.map {
        "\(name) is recorded as not met, but \(place($0)) claims it"
      }
    }
    var problems: [String] = []
    if row.deviation == nil {
      problems = (row.code + row.tests).filter(\.deviates).map {
        "\(place($0)) deviates from \(name), but no reason is recorded"
      }
    } else if !row.code.contains(where: \.deviates) {
      problems.append("\(name) has an exception that no code names")
    }
    if !row.tests.contains(where: \.isTest) {
      problems.append("\(name) has neither a test that runs nor a recorded deviation")
    } else if row.code.isEmpty {
      problems.append("\(name) has a test, but no code names it")
    }
    return problems
  }

  private func unknown(_ mentions: [Mention], _ deviations: [Deviation]) -> [String] {
    mentions.filter { mention in !rows.contains { mention.name.covers($0.requirement.name) } }
      .map { "\(Self.place($0)) names \($0.name), which is not in the table" }
      + deviations.filter { record in
        !rows.contains { record.name.covers($0.requirement.name) }
      }.map { "\($0.name) is recorded, but not in the table" }
  }

  private static func place(_ mention: Mention) -> String {
    mention.path + (mention.declaration.map { " (\($0))" } ?? "")
  }
}
