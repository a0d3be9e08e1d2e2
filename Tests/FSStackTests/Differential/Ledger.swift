/// Where the engine answers differently from Linux, and why. A script that stands here must differ: an
/// entry that has become untrue fails the test.
struct Difference: Sendable {
  /// Why the difference is wanted.
  var reason: String
  /// Names of scripts by what stands before and behind the stroke.
  var scripts: [String: [String]]
}

enum Ledger {
  static let differences: [Difference] = open

  /// The reason for each script that differs.
  static let reasons: [String: String] = Dictionary(
    differences.flatMap { difference in
      difference.scripts.flatMap { kind, names in
        names.map { ("\(kind)/\($0)", difference.reason) }
      }
    }, uniquingKeysWith: { "\($0) \($1)" })

  /// Not decided yet.
  private static let open = [
    Difference(
      reason: "open",
      scripts: [
        "CLOSED": [
          "no flags", "data without ACK", "SYN FIN", "FIN without ACK", "Xmas",
        ],
        "SYN-SENT": [
          "acknowledgement of the future", "acknowledgement of the far future",
          "old acknowledgement", "acknowledgement older than every window", "four duplicates",
          "data that acknowledges the future", "data with old acknowledgement",
          "data with acknowledgement older than every window", "RST that acknowledges the future",
          "SYN", "SYN in the window", "SYN with old number", "SYN beyond the window",
          "SYN with data", "SYN ACK that acknowledges the future", "SYN FIN",
          "FIN that does not acknowledge",
        ],
        "SYN-RECEIVED": [
          "RST in the window", "SYN", "SYN in the window", "SYN with data", "SYN ACK",
          "SYN ACK with old number", "SYN ACK that acknowledges the future", "SYN FIN", "SYN RST",
          "FIN", "FIN with data", "FIN behind a gap, then the gap", "FIN twice", "urgent data",
        ],
        "SYN-RECEIVED (active)": [
          "acknowledgement with old number", "four duplicates", "data with old acknowledgement",
          "old byte", "data half old", "RST", "RST ACK", "RST in the window",
          "RST that acknowledges the future", "RST with data", "SYN", "SYN with old number",
          "SYN with data", "SYN ACK", "SYN ACK with old number",
          "SYN ACK that acknowledges the future", "SYN FIN", "SYN RST", "FIN",
          "FIN with old number", "FIN behind a gap", "FIN with data",
          "FIN that does not acknowledge", "FIN behind a gap, then the gap", "FIN twice",
          "urgent data",
        ],
        "ESTABLISHED": [
          "data", "data with old acknowledgement", "old byte", "data half old", "SYN FIN",
          "SYN RST", "FIN", "FIN with old number", "FIN with data",
          "FIN that does not acknowledge", "FIN behind a gap, then the gap", "FIN twice",
          "urgent data", "ECE and CWR", "reserved bits", "unknown option", "option with length 0",
          "option longer than the header", "timestamp that was not agreed",
        ],
        "ESTABLISHED (active)": [
          "data", "data with old acknowledgement", "old byte", "data half old", "SYN FIN",
          "SYN RST", "FIN", "FIN with old number", "FIN with data",
          "FIN that does not acknowledge", "FIN behind a gap, then the gap", "FIN twice",
          "urgent data", "ECE and CWR", "reserved bits", "unknown option", "option with length 0",
          "option longer than the header", "timestamp that was not agreed",
        ],
        "ESTABLISHED (in flight)": [
          "four duplicates", "data", "data with old acknowledgement",
          "data with acknowledgement older than every window", "old byte", "data half old",
          "SYN FIN", "SYN RST", "FIN", "FIN with old number", "FIN with data",
          "FIN that does not acknowledge", "FIN behind a gap, then the gap", "FIN twice",
          "urgent data", "ECE and CWR", "reserved bits", "unknown option", "option with length 0",
          "option longer than the header", "timestamp that was not agreed",
        ],
        "FIN-WAIT-1": [
          "four duplicates", "data", "data with old acknowledgement", "old byte", "data half old",
          "SYN FIN", "SYN RST", "FIN with old number", "urgent data", "ECE and CWR",
          "reserved bits", "unknown option", "option with length 0",
          "option longer than the header", "timestamp that was not agreed",
        ],
        "FIN-WAIT-1 (closed)": [
          "four duplicates", "old byte", "SYN FIN", "SYN RST", "FIN with old number",
          "FIN behind a gap", "FIN behind a gap, then the gap",
        ],
        "FIN-WAIT-2": [
          "data", "data with old acknowledgement", "old byte", "data half old", "SYN FIN",
          "SYN RST", "FIN with old number", "urgent data", "ECE and CWR", "reserved bits",
          "unknown option", "option with length 0", "option longer than the header",
          "timestamp that was not agreed",
        ],
        "FIN-WAIT-2 (closed)": [
          "acknowledgement of the future", "acknowledgement of the far future",
          "acknowledgement older than every window", "data that acknowledges the future",
          "data with acknowledgement older than every window", "RST in the window",
          "RST with old number", "RST beyond the window", "SYN", "SYN in the window",
          "SYN with data", "SYN ACK", "SYN ACK that acknowledges the future", "SYN FIN",
          "SYN RST", "FIN behind a gap", "FIN behind a gap, then the gap",
        ],
        "CLOSE-WAIT": [
          "nothing new", "acknowledgement of the future", "acknowledgement of the far future",
          "old acknowledgement", "acknowledgement older than every window",
          "acknowledgement with old number", "acknowledgement with number beyond the window",
          "acknowledgement with number in the window", "no flags", "window 0", "four duplicates",
          "data", "data without ACK", "data that acknowledges the future",
          "data with old acknowledgement", "data with acknowledgement older than every window",
          "old byte", "data half old", "data behind a gap", "data beyond the window",
          "data behind a gap, then the gap", "RST in the window", "RST with old number",
          "RST beyond the window", "SYN", "SYN in the window", "SYN with old number",
          "SYN beyond the window", "SYN with data", "SYN ACK", "SYN ACK with old number",
          "SYN ACK that acknowledges the future", "SYN FIN", "SYN RST", "FIN", "FIN without ACK",
          "FIN with old number", "FIN behind a gap", "FIN beyond the window", "FIN with data",
          "FIN that does not acknowledge", "FIN behind a gap, then the gap", "FIN twice", "Xmas",
          "urgent data", "ECE and CWR", "reserved bits", "bad checksum", "data offset too small",
          "data offset too large", "unknown option", "option with length 0",
          "option longer than the header", "timestamp that was not agreed",
        ],
        "CLOSING": [
          "four duplicates", "data with old acknowledgement", "old byte", "RST", "RST ACK",
          "RST with old number", "RST that acknowledges the future", "RST with data", "SYN FIN",
          "SYN RST", "FIN with old number", "FIN that does not acknowledge",
        ],
        "LAST-ACK": [
          "four duplicates", "data with old acknowledgement", "old byte", "RST with old number",
          "SYN FIN", "SYN RST", "FIN with old number", "FIN that does not acknowledge",
        ],
        "TIME-WAIT": [
          "data without ACK", "RST", "RST ACK", "RST that acknowledges the future",
          "RST with data", "SYN in the window", "SYN beyond the window", "SYN FIN", "SYN RST",
          "FIN without ACK", "Xmas",
        ],
      ])
  ]
}
