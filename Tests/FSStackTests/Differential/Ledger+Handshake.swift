extension Ledger {
  static let handshake = [
    Difference(
      title: "Impossible combinations of flags",
      reason: """
        Linux answers some of them like a SYN or a RST, and resets others. No TCP sends them, \
        only those who look for open ports and for ways past packet filters: they are dropped \
        and counted in every state.
        """,
      scripts: [
        "CLOSED": ["no flags", "data without ACK", "SYN FIN", "FIN without ACK", "Xmas"],
        "SYN-SENT": ["SYN FIN"],
        "SYN-RECEIVED": ["SYN FIN", "SYN RST"],
        "SYN-RECEIVED (active)": ["SYN FIN", "SYN RST"],
        "ESTABLISHED": ["SYN FIN", "SYN RST"],
        "ESTABLISHED (active)": ["SYN FIN", "SYN RST"],
        "ESTABLISHED (in flight)": ["SYN FIN", "SYN RST"],
        "FIN-WAIT-1": ["SYN FIN", "SYN RST"],
        "FIN-WAIT-1 (closed)": ["SYN FIN", "SYN RST"],
        "FIN-WAIT-2": ["SYN FIN", "SYN RST"],
        "FIN-WAIT-2 (closed)": ["SYN FIN", "SYN RST"],
        "CLOSE-WAIT": ["SYN FIN", "SYN RST"],
        "CLOSING": ["SYN FIN", "SYN RST"],
        "LAST-ACK": ["SYN FIN", "SYN RST"],
        "TIME-WAIT": ["SYN FIN", "SYN RST", "data without ACK", "FIN without ACK", "Xmas"],
        "handshake": ["SYN ACK with FIN"],
      ]),
    Difference(
      title: "A challenge instead of a reset in SYN-RECEIVED",
      reason: """
        Linux gives a half-open connection up when a SYN with another number comes. RFC 5961 \
        section 4 answers every SYN beyond the first with an acknowledgement: a forged one does \
        not end what is about to become a connection.
        """,
      scripts: [
        "SYN-RECEIVED": [
          "SYN", "SYN in the window", "SYN with data", "SYN ACK",
          "SYN ACK that acknowledges the future",
        ],
        "SYN-RECEIVED (timestamps)": ["SYN with equal timestamp", "SYN with later timestamp"],
        "handshake": ["SYN with another number"],
      ]),
    Difference(
      title: "In SYN-RECEIVED the number is judged first",
      reason: """
        To a segment with a wrong number and a wrong acknowledgement Linux answers with a reset. \
        RFC 9293 section 3.10.7.4 judges the number first, and answers with an acknowledgement.
        """,
      scripts: [
        "TIME-WAIT": ["SYN in the window", "SYN beyond the window"]
      ]),
    Difference(
      title: "A wrong acknowledgement in SYN-RECEIVED",
      reason: """
        After a simultaneous open Linux takes an acknowledgement of nothing as if it completed \
        the handshake, or takes what comes with it. RFC 9293 section 3.10.7.4 answers with a \
        reset, and stays in SYN-RECEIVED.
        """,
      scripts: [
        "SYN-RECEIVED (active)": ["four duplicates", "FIN that does not acknowledge"]
      ]),
    Difference(
      title: "A reset refuses an active open",
      reason: """
        Linux tells ECONNRESET when a RST comes after a simultaneous open. RFC 9293 section \
        3.10.7.4 wants "connection refused" for every connection that was opened actively.
        """,
      scripts: [
        "SYN-RECEIVED (active)": [
          "RST", "RST ACK", "RST that acknowledges the future", "RST with data",
        ]
      ]),
    Difference(
      title: "Echoes in the handshake",
      reason: """
        Linux completes a handshake only if the timestamp echoed is one of its SYN-ACKs': a peer \
        that echoes the one of an acknowledgement in between must wait until the SYN-ACK is \
        repeated. RFC 7323 does not ask for that check, and the record of a half-open connection \
        has no room for the timestamps.
        """,
      scripts: [
        "SYN-RECEIVED (timestamps)": [
          "data with older timestamp", "data with much older timestamp",
          "old data with older timestamp", "FIN with older timestamp",
          "acknowledgement with older timestamp", "old number with older timestamp",
          "SYN with older timestamp", "SYN in the window with older timestamp",
          "old data with later timestamp", "data beyond the window with later timestamp",
          "old number with later timestamp", "old SYN with later timestamp", "echo of the future",
          "echo of the past",
        ]
      ]),
    Difference(
      title: "Options in a simultaneous open",
      reason: """
        Linux offers window scale, timestamps and SACK in its SYN-ACK although the peer's SYN \
        had none. RFC 7323 sections 1.3 and 2.2 and RFC 2018 section 2 allow them only where the \
        SYN had them.
        """,
      scripts: [
        "handshake": ["simultaneous open without options"]
      ]),
    Difference(
      title: "The window of a SYN",
      reason: """
        Linux remembers the window of the SYN as the largest that it has seen, and sends nothing \
        into a smaller one at first. The record of a half-open connection does not keep it: the \
        third segment's window is the first that counts for the sender's avoidance of silly \
        windows.
        """,
      scripts: [
        "handshake": ["window scale 0", "window scale 1"]
      ]),
  ]
}
