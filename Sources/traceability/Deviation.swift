/// A recorded reason why a requirement is not met, or not always.
struct Deviation: Equatable {
  enum Kind: String {
    /// Something else is done on purpose.
    case deviation
    /// It is met, except in a case in which something else is done on purpose.
    case exception
    /// There is nothing that could meet it or not.
    case notApplicable = "not applicable"
  }

  var name: RequirementID
  var kind: Kind
  var reason: String

  /// Reads docs/requirements/deviations.txt: prose up to the first empty line, then records
  /// (`id: kind: reason`), continued on lines that begin with a space.
  static func parse(_ text: String) throws(Failure) -> [Deviation] {
    var records: [String] = []
    var isProse = true
    for line in text.split(separator: "\n", omittingEmptySubsequences: false) {
      if line.isEmpty {
        isProse = false
      } else if isProse {
        continue
      } else if line.hasPrefix(" "), !records.isEmpty {
        records[records.count - 1] += " " + line.drop { $0 == " " }
      } else {
        records.append(String(line))
      }
    }
    var deviations: [Deviation] = []
    for record in records { deviations.append(try parse(record: record)) }
    return deviations
  }

  private static func parse(record: String) throws(Failure) -> Deviation {
    let fields = record.split(separator: ":", maxSplits: 2).map { String($0.drop { $0 == " " }) }
    guard fields.count == 3, let kind = Kind(rawValue: fields[1]), fields[2].count > 10 else {
      throw Failure("no deviation: '\(record)'")
    }
    let name = fields[0].split(separator: " ", maxSplits: 1).map(String.init)
    return Deviation(
      name: RequirementID(id: name[0], word: name.count > 1 ? name[1] : nil), kind: kind,
      reason: fields[2])
  }
}
