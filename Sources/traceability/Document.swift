/// docs/rfc9293.md.
struct Document {
  let ledger: Ledger

  var text: String {
    var parts = [Self.head, summary]
    for group in ledger.table.groups {
      var lines = [
        "## \(group.heading)", "", "| requirement | id | level | code | test | state |",
        "|---|---|---|---|---|---|",
      ]
      for entry in group.entries {
        switch entry {
        case .title(let title): lines.append("| \(title) | | | | | |")
        case .requirement(let requirement):
          // Rows of two groups may share an id, not id and feature.
          guard
            let row = ledger.rows.first(where: {
              $0.requirement.name == requirement.name
                && $0.requirement.feature == requirement.feature
            })
          else { continue }
          lines.append(line(row))
        }
      }
      parts.append(lines.joined(separator: "\n"))
    }
    return parts.joined(separator: "\n\n") + "\n"
  }

  private static let head = """
    # RFC 9293, requirement by requirement

    Written by `make rfc9293 UPDATE=1` from the ids in the comments of sources and tests, and checked by
    `make rfc9293`: do not edit. The rows are those of RFC 9293 Appendix B, Table 8
    (`docs/requirements/rfc9293.txt`); reasons for what is not met are in
    `docs/requirements/deviations.txt`. Code is named by file and declaration, tests by suite and function.
    """

  /// How many rows stand how.
  var summary: String {
    let rows = ledger.rows
    let met = rows.count(where: \.isMet)
    let deviations = rows.count { $0.deviation?.kind == .deviation }
    let notApplicable = rows.count { $0.deviation?.kind == .notApplicable }
    let open = rows.count - met - deviations - notApplicable
    return "\(rows.count) rows: \(met) met, \(deviations) deliberate deviations, "
      + "\(notApplicable) not applicable, \(open) open."
  }

  private func line(_ row: Ledger.Row) -> String {
    let depth = row.requirement.feature.prefix { $0 == "*" || $0 == " " }
    let feature = row.requirement.feature.dropFirst(depth.count)
    let indentation = String(repeating: "— ", count: depth.count { $0 == "*" })
    let cells = [
      indentation + feature, "\(row.requirement.name)", row.requirement.level.word,
      places(row.code), places(row.tests), state(row),
    ]
    return "| " + cells.joined(separator: " | ") + " |"
  }

  private func places(_ mentions: [Mention]) -> String {
    var names: [String] = []
    for mention in mentions {
      let file = mention.path.split(separator: "/").last.map(String.init) ?? mention.path
      let name =
        mention.isTest
        ? "`\(mention.declaration ?? file)`"
        : "`\(file)`" + (mention.declaration.map { " \($0)" } ?? "")
      if !names.contains(name) { names.append(name) }
    }
    return names.joined(separator: "<br>")
  }

  private func state(_ row: Ledger.Row) -> String {
    guard let deviation = row.deviation else { return row.isMet ? "met" : "**open**" }
    if deviation.kind == .exception {
      return row.isMet ? "met, with an exception: \(deviation.reason)" : "**open**"
    }
    return "\(deviation.kind.rawValue): \(deviation.reason)"
  }
}
