/// Where the engine answers differently from Linux, and why. A script that stands here must differ: an
/// entry that has become untrue fails the test.
struct Difference: Sendable {
  /// What it is about, in a few words.
  var title: String
  /// What Linux does, what the engine does, and why that is wanted.
  var reason: String
  /// Names of scripts by what stands before and behind the stroke.
  var scripts: [String: [String]]

  /// Full names.
  var names: [String] {
    scripts.keys.sorted().flatMap { kind in (scripts[kind] ?? []).map { "\(kind)/\($0)" } }
  }
}

/// All differences that are wanted; `docs/linux-differences.md` is written from it.
enum Ledger {
  /// The release of Linux that it is about. Others differ in details among themselves.
  static let kernel = "6.18"

  /// How many of so many scripts may differ on a release of Linux otherwise than the ledger says: none on the
  /// one that it is about, and 5 % on others. More is no detail.
  static func surpriseLimit(ofScripts scripts: Int, release: String) -> Int {
    let rest = release.dropFirst(kernel.count)
    let isOurs = release.hasPrefix(kernel) && rest.first?.isNumber != true
    return isOurs ? 0 : scripts / 20
  }

  static let differences: [Difference] = handshake + closing + transfer

  /// The title of the difference for each script that differs.
  static let titles: [String: String] = Dictionary(
    differences.flatMap { difference in difference.names.map { ($0, difference.title) } },
    uniquingKeysWith: { "\($0); \($1)" })

  // MARK: The document

  /// The text of `docs/linux-differences.md`.
  static var document: String {
    """
    # Where TCP differs from Linux

    Applications and their operators expect Linux. The same \(Script.all.count) scripts of segments and calls go to the
    kernel (Linux \(kernel), over a TUN device in a namespace of its own) and to the engine, and every segment and
    every result is compared: `make differential` (`Tests/FSStackTests/Differential`). \(Script.all.count - titles.count) are equal. The
    \(titles.count) others differ for the reasons here; a difference that is not here, and an entry that
    is no difference any more, fail the test; on other releases of Linux, which differ in details, if there
    are more of them than of 5 % of the scripts. So does this file if it is not what the ledger says:
    `FS_UPDATE=1 swift test --filter DifferentialTests` writes it.

    """ + differences.map(section).joined()
  }

  private static func section(_ difference: Difference) -> String {
    let scripts = difference.scripts.keys.sorted().map { kind in
      "- \(kind): \((difference.scripts[kind] ?? []).joined(separator: ", "))"
    }
    return """

      ## \(difference.title)

      \(difference.reason)

      \(scripts.joined(separator: "\n"))

      """
  }
}
