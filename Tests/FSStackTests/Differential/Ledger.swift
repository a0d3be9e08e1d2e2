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
          "SYN", "SYN in the window", "SYN with old number", "SYN beyond the window",
          "SYN with data", "SYN FIN",
        ],
        "SYN-RECEIVED": [
          "RST in the window", "SYN", "SYN in the window", "SYN with data", "SYN ACK",
          "SYN ACK with old number", "SYN ACK that acknowledges the future", "SYN FIN", "SYN RST",
          "FIN with data", "urgent data", "old byte", "FIN with old number", "FIN",
        ],
        "SYN-RECEIVED (active)": [
          "four duplicates", "RST", "RST ACK", "RST in the window",
          "RST that acknowledges the future", "RST with data", "SYN ACK with old number",
          "SYN FIN", "SYN RST", "FIN with data", "FIN that does not acknowledge", "urgent data",
          "FIN", "FIN twice",
        ],
        "ESTABLISHED": [
          "old byte", "data half old", "SYN FIN", "SYN RST", "FIN with old number", "urgent data",
        ],
        "ESTABLISHED (active)": [
          "old byte", "data half old", "SYN FIN", "SYN RST", "FIN with old number", "urgent data",
        ],
        "ESTABLISHED (in flight)": [
          "four duplicates", "data with acknowledgement older than every window", "old byte",
          "data half old", "SYN FIN", "SYN RST", "FIN with old number", "urgent data",
        ],
        "FIN-WAIT-1": [
          "four duplicates", "old byte", "data half old", "SYN FIN", "SYN RST",
          "FIN with old number", "urgent data",
        ],
        "FIN-WAIT-1 (closed)": [
          "four duplicates", "old byte", "SYN FIN", "SYN RST",
        ],
        "FIN-WAIT-2": [
          "old byte", "data half old", "SYN FIN", "SYN RST", "FIN with old number", "urgent data",
        ],
        "FIN-WAIT-2 (closed)": [
          "acknowledgement of the future", "acknowledgement of the far future",
          "acknowledgement older than every window", "data that acknowledges the future",
          "data with acknowledgement older than every window", "RST in the window",
          "RST with old number", "RST beyond the window", "SYN", "SYN in the window",
          "SYN with data", "SYN ACK", "SYN ACK that acknowledges the future", "SYN FIN", "SYN RST",
        ],
        "CLOSE-WAIT": [
          "data half old", "SYN FIN", "SYN RST",
        ],
        "CLOSING": [
          "four duplicates", "SYN FIN", "SYN RST",
        ],
        "LAST-ACK": [
          "four duplicates", "SYN FIN", "SYN RST",
        ],
        "TIME-WAIT": [
          "data without ACK", "RST", "RST ACK", "RST that acknowledges the future",
          "RST with data", "SYN in the window", "SYN beyond the window", "SYN FIN", "SYN RST",
          "FIN without ACK", "Xmas",
        ],
        "ESTABLISHED (timestamps)": [
          "data with older timestamp", "old data with older timestamp",
          "old data with later timestamp",
        ],
        "FIN-WAIT-2 (timestamps)": [
          "data with older timestamp", "old data with older timestamp",
          "old data with later timestamp",
        ],
        "CLOSE-WAIT (timestamps)": [
          "data with older timestamp", "acknowledgement with older timestamp",
        ],
        "LAST-ACK (timestamps)": [
          "data with older timestamp"
        ],
        "TIME-WAIT (timestamps)": [
          "acknowledgement with older timestamp", "RST without timestamp",
        ],
        "SYN-RECEIVED (timestamps)": [
          "data with older timestamp", "data with much older timestamp",
          "old data with older timestamp", "old data with later timestamp",
          "data beyond the window with later timestamp", "acknowledgement with older timestamp",
          "old number with older timestamp", "old number with later timestamp",
          "RST with older timestamp", "RST in the window with older timestamp",
          "SYN with older timestamp", "SYN with equal timestamp", "SYN with later timestamp",
          "old SYN with later timestamp", "SYN in the window with older timestamp",
          "FIN with older timestamp", "echo of the future", "echo of the past",
          "FIN with later timestamp", "FIN without timestamp",
        ],
        "in flight (SACK)": [
          "data over a gap's edge", "data half known", "one block", "three blocks in one segment",
          "blocks that grow", "all but the first segment", "all but the last segment",
          "block below SND.UNA", "block over SND.UNA", "block beyond SND.NXT",
          "block of the future", "empty block", "block of everything",
        ],
        "in flight (no SACK)": [
          "data half known"
        ],
        "handshake": [
          "maximum segment size 0", "maximum segment size 536", "maximum segment size 1460",
          "maximum segment size 9000", "no options", "no options, actively",
          "options with timestamps, small segments", "window scale 0", "window scale 1",
          "window scale 7", "window scale 14", "window scale 15", "window scale 200",
          "SYN with another number", "data before accept", "SYN ACK with FIN",
          "simultaneous open without options", "simultaneous open, both SYN ACKs",
          "last ACK lost, FIN follows",
        ],
        "transfer": [
          "Nagle, a full segment", "more, then close", "maximum segment size option",
          "duplicates with another window are none", "window 0 with data in flight",
          "window smaller than a segment", "window of one byte",
          "window shrinks without anything new", "FIN behind window 0",
          "full segments one after another", "full segments at once", "closed window: FIN",
          "window closes", "window closes and opens", "closed window: byte", "closed window: data",
          "closed window: old byte", "closed window: old number", "closed window: acknowledgement",
          "closed window: number beyond", "closed window: FIN with data", "closed window: RST",
          "closed window: RST beyond", "closed window: SYN",
          "closed window: acknowledgement of new data", "closed window: data that acknowledges",
        ],
        "congestion": [
          "slow start", "slow start, stretched acknowledgement", "fast recovery",
          "window after a timeout", "ECN agreed", "ECN congestion experienced", "ECN echoed",
          "ECN retransmission is not marked",
        ],
        "closing": [
          "half, data afterwards", "data over a FIN",
        ],
      ])
  ]
}
