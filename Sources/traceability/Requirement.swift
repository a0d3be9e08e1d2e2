/// How binding a requirement is: the columns of the table in RFC 9293 Appendix B.
enum Level: String {
  case must = "M"
  case should = "S"
  case may = "O"
  case shouldNot = "SN"
  case mustNot = "MN"

  /// In the words of RFC 2119.
  var word: String {
    switch self {
    case .must: "MUST"
    case .should: "SHOULD"
    case .may: "MAY"
    case .shouldNot: "SHOULD NOT"
    case .mustNot: "MUST NOT"
    }
  }

  /// Nothing but a recorded deviation excuses from it.
  var isAbsolute: Bool { self == .must || self == .mustNot }
}

/// The name of a requirement as comments write it: `MUST-38`, or `MUST-20 R2` where rows share an
/// id and a word tells them apart.
struct RequirementID: Hashable, CustomStringConvertible {
  var id: String
  var word: String?

  var description: String { word.map { "\(id) \($0)" } ?? id }

  /// Whether who names this speaks of a row called `row`: without a word, of all rows of the id.
  func covers(_ row: RequirementID) -> Bool {
    id == row.id && (word == nil || word == row.word)
  }
}

/// One row of the table.
struct Requirement {
  var name: RequirementID
  var level: Level
  var section: String
  /// As in the table, with one asterisk for each level of indentation.
  var feature: String
}

/// The table: rows under headings, in its order.
struct RequirementTable {
  /// What stands between headings.
  enum Entry {
    case requirement(Requirement)
    /// A row that only groups those below it.
    case title(String)
  }

  struct Group {
    var heading: String
    var entries: [Entry] = []
  }

  private(set) var groups: [Group] = []

  /// Every row that is a requirement.
  var requirements: [Requirement] {
    groups.flatMap(\.entries).compactMap {
      if case .requirement(let requirement) = $0 { requirement } else { nil }
    }
  }

  /// The words that tell the rows of an id apart.
  func words(of id: String) -> [String] {
    requirements.filter { $0.name.id == id }.compactMap(\.name.word)
  }

  /// Reads docs/requirements/rfc9293.txt: prose up to the first heading (`# name`), then rows
  /// (`id | level | section | feature`).
  init(_ text: String) throws(Failure) {
    for (number, line) in text.split(separator: "\n", omittingEmptySubsequences: false).enumerated()
    {
      if line.hasPrefix("# ") {
        groups.append(Group(heading: String(line.dropFirst(2))))
      } else if !groups.isEmpty, !line.isEmpty {
        groups[groups.count - 1].entries.append(try Self.entry(line, number: number + 1))
      }
    }
  }

  private static func entry(_ line: Substring, number: Int) throws(Failure) -> Entry {
    let fields = line.split(separator: "|", omittingEmptySubsequences: false)
      .map { $0.drop { $0 == " " } }.map { String($0.trimmingSuffix { $0 == " " }) }
    guard fields.count == 4 else { throw Failure("line \(number) of the table: not four fields") }
    if fields[0] == "-" { return .title(fields[3]) }
    guard let level = Level(rawValue: fields[1]) else {
      throw Failure("line \(number) of the table: no level is called '\(fields[1])'")
    }
    let name = fields[0].split(separator: " ", maxSplits: 1).map(String.init)
    return .requirement(
      Requirement(
        name: RequirementID(id: name[0], word: name.count > 1 ? name[1] : nil), level: level,
        section: fields[2], feature: fields[3]))
  }
}

/// What keeps the tool from its work.
struct Failure: Error, CustomStringConvertible {
  var description: String

  init(_ description: String) { self.description = description }
}

extension Substring {
  /// Without the characters at its end for which `predicate` is true.
  func trimmingSuffix(while predicate: (Character) -> Bool) -> Substring {
    guard let last = lastIndex(where: { !predicate($0) }) else { return prefix(0) }
    return self[...last]
  }
}
