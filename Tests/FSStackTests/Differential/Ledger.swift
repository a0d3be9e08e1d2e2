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
          "SYN with data", "SYN ACK", "SYN ACK that acknowledges the future", "SYN FIN", "SYN RST",
          "FIN behind a gap", "FIN behind a gap, then the gap",
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
        "ESTABLISHED (timestamps)": [
          "data with later timestamp", "data with equal timestamp", "data with older timestamp",
          "data with timestamp half the circle later", "data without timestamp",
          "old data with older timestamp", "old data with later timestamp",
          "acknowledgement with older timestamp", "old number with older timestamp",
          "old number with later timestamp", "SYN with later timestamp",
          "old SYN with later timestamp", "FIN with later timestamp", "FIN without timestamp",
          "echo of the future", "echo of the past",
        ],
        "FIN-WAIT-2 (timestamps)": [
          "data with later timestamp", "data with equal timestamp", "data with older timestamp",
          "data with timestamp half the circle later", "data without timestamp",
          "old data with older timestamp", "old data with later timestamp",
          "acknowledgement with older timestamp", "old number with older timestamp",
          "old number with later timestamp", "SYN with later timestamp",
          "old SYN with later timestamp", "echo of the future", "echo of the past",
        ],
        "CLOSE-WAIT (timestamps)": [
          "data with later timestamp", "data with equal timestamp", "data with older timestamp",
          "data with much older timestamp", "data with timestamp half the circle later",
          "data without timestamp", "old data with older timestamp",
          "old data with later timestamp", "data behind a gap with later timestamp",
          "data beyond the window with later timestamp", "acknowledgement with older timestamp",
          "acknowledgement without timestamp", "old number with older timestamp",
          "old number with later timestamp", "RST in the window with older timestamp",
          "SYN with older timestamp", "SYN with equal timestamp", "SYN with later timestamp",
          "old SYN with later timestamp", "SYN in the window with older timestamp",
          "FIN with older timestamp", "FIN with later timestamp", "FIN without timestamp",
          "echo of the future", "echo of the past",
        ],
        "LAST-ACK (timestamps)": [
          "data with older timestamp", "old data with later timestamp",
          "old number with older timestamp", "old number with later timestamp",
          "SYN with later timestamp", "old SYN with later timestamp",
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
          "FIN with older timestamp", "FIN with later timestamp", "FIN without timestamp",
          "echo of the future", "echo of the past",
        ],
        "in flight (SACK)": [
          "five gaps", "gap data twice", "gap data older than the last", "data twice", "old data",
          "old data while there is a gap", "data over a gap's edge", "data inside what is known",
          "data half known", "one block", "three blocks in one segment", "blocks that grow",
          "all but the first segment", "all but the last segment", "block below SND.UNA",
          "block over SND.UNA", "block beyond SND.NXT", "block of the future", "empty block",
          "block of everything",
        ],
        "in flight (no SACK)": [
          "data over a gap's edge", "data half known",
        ],
        "handshake": [
          "maximum segment size 0", "maximum segment size 536", "maximum segment size 1460",
          "maximum segment size 9000", "no options", "no options, actively",
          "options with timestamps, small segments", "window scale 0", "window scale 1",
          "window scale 7", "window scale 14", "window scale 15", "window scale 200",
          "SYN with another number", "last ACK lost, FIN follows", "data before accept",
          "SYN ACK with FIN", "shutdown in SYN-SENT", "simultaneous open with options",
          "simultaneous open without options", "simultaneous open, both SYN ACKs",
        ],
        "transfer": [
          "Nagle, a full segment", "more, then close", "maximum segment size option",
          "duplicates with another window are none", "window 0 with data in flight",
          "window smaller than a segment", "window of one byte",
          "window shrinks without anything new", "FIN behind window 0",
          "full segments one after another", "full segments at once", "closed window: FIN",
        ],
        "congestion": [
          "slow start", "slow start, stretched acknowledgement", "fast recovery",
          "window after a timeout", "ECN agreed", "ECN congestion experienced", "ECN echoed",
          "ECN retransmission is not marked",
        ],
        "closing": [
          "half, data afterwards", "with unread data behind a gap", "linger 0 in CLOSING",
          "data over a FIN",
        ],
      ])
  ]
}
