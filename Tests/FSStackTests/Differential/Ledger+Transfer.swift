extension Ledger {
  static let transfer = [
    Difference(
      title: "Urgent data",
      reason: """
        The byte that an urgent pointer marks is taken out of the stream by the shim; these \
        scripts see what the engine delivers, where it still is.
        """,
      scripts: [
        "ESTABLISHED": ["urgent data"],
        "ESTABLISHED (active)": ["urgent data"],
        "ESTABLISHED (in flight)": ["urgent data"],
        "FIN-WAIT-1": ["urgent data"],
        "FIN-WAIT-2": ["urgent data"],
        "SYN-RECEIVED": ["urgent data"],
        "SYN-RECEIVED (active)": ["urgent data"],
      ]),
    Difference(
      title: "One tick of an older timestamp",
      reason: """
        Linux takes segments whose timestamp is older by one unit (TCP_PAWS_WINDOW). RFC 7323 \
        section 5.3 does not.
        """,
      scripts: [
        "ESTABLISHED (timestamps)": ["data with older timestamp"],
        "FIN-WAIT-2 (timestamps)": ["data with older timestamp"],
        "CLOSE-WAIT (timestamps)": ["data with older timestamp"],
        "LAST-ACK (timestamps)": ["data with older timestamp"],
      ]),
    Difference(
      title: "RST and timestamps",
      reason: """
        Linux judges a RST for a half-open connection by its timestamp. RFC 7323 section 5.3 \
        (R1) excepts it.
        """,
      scripts: [
        "SYN-RECEIVED (timestamps)": [
          "RST with older timestamp", "RST in the window with older timestamp",
        ]
      ]),
    Difference(
      title: "An overtaken acknowledgement",
      reason: """
        A bare acknowledgement with the next number, nothing new and an older timestamp was \
        overtaken on its way. Linux answers it if it is the first with that number, behind a FIN \
        for instance; the engine never does, so that two sides cannot answer each other for \
        ever.
        """,
      scripts: [
        "CLOSE-WAIT (timestamps)": ["acknowledgement with older timestamp"]
      ]),
    Difference(
      title: "Acknowledgements older than every window",
      reason: """
        Linux takes the data of such a segment when it is the next expected one, because its \
        fast path does not look. RFC 5961 section 5.2 drops the segment and answers it.
        """,
      scripts: [
        "ESTABLISHED (in flight)": ["data with acknowledgement older than every window"]
      ]),
    Difference(
      title: "D-SACK",
      reason: """
        Linux reports also a SYN-ACK that came twice, and in the queue data of which a part is \
        known. RFC 2883 leaves that to the receiver; the engine reports data, in the queue where \
        a range begins with it.
        """,
      scripts: [
        "SYN-SENT": ["SYN", "SYN with data"],
        "SYN-RECEIVED (active)": ["SYN ACK with old number"],
        "handshake": ["simultaneous open, both SYN ACKs"],
        "in flight (SACK)": ["data over a gap's edge"],
      ]),
    Difference(
      title: "Every second full segment is acknowledged",
      reason: """
        Linux leaves the sixth of six segments to its delay. SHLD-19 asks for an acknowledgement \
        for every second one, counted from the last acknowledgement.
        """,
      scripts: [
        "transfer": ["full segments one after another", "full segments at once"]
      ]),
    Difference(
      title: "Acknowledgements when the application reads",
      reason: """
        Linux sends an acknowledgement that waits as soon as the application has read \
        everything. What is read from the rings the engine hears of later, with the \
        application's next turn: the delay goes on.
        """,
      scripts: [
        "in flight (no SACK)": ["data half known"],
        "closing": ["half, data afterwards"],
      ]),
    Difference(
      title: "PSH",
      reason: """
        Linux sets it also in the middle of a write, when half of the largest window has gone \
        out, and in partial segments that a timer sends; not with a FIN behind bytes that were \
        to wait. The engine sets it where nothing is left behind (MUST-61, SHLD-27).
        """,
      scripts: [
        "handshake": ["window scale 7"],
        "transfer": ["more, then close", "window smaller than a segment", "window of one byte"],
        "congestion": ["slow start"],
      ]),
    Difference(
      title: "Stretched acknowledgements in slow start",
      reason: """
        Linux lets the window grow by all that one acknowledges. It grows by eight segments at \
        most (RFC 9406; RFC 3465), or a receiver could cause a burst. PSH as above.
        """,
      scripts: [
        "congestion": ["slow start, stretched acknowledgement", "window after a timeout"]
      ]),
    Difference(
      title: "TCP_MAXSEG on a connection",
      reason: """
        Linux takes the option into account only for the SYN. It bounds what is sent from then \
        on: so the option of a listener reaches connections that the engine has already opened.
        """,
      scripts: [
        "transfer": ["maximum segment size option"]
      ]),
    Difference(
      title: "Windows that shrink",
      reason: """
        Linux does not take a smaller window from a segment that acknowledges nothing new, and \
        counts it as a duplicate acknowledgement. The engine obeys the peer's newest window (RFC \
        9293 section 3.10.7.4), and a duplicate has the same window (RFC 5681 section 2).
        """,
      scripts: [
        "transfer": [
          "duplicates with another window are none", "window shrinks without anything new",
        ]
      ]),
    Difference(
      title: "The first segment again, beyond a window that has shrunk",
      reason: """
        Linux cuts it to the window. It goes out whole (MAY-7), and what it acknowledges tells \
        all that a part would.
        """,
      scripts: [
        "transfer": ["window shrinks below what is in flight"]
      ]),
    Difference(
      title: "A window that closes over data in flight",
      reason: """
        Linux probes with the data itself. The engine probes as for any closed window, without \
        data that the peer has said it has no room for; when the window opens the timer of the \
        data runs.
        """,
      scripts: [
        "transfer": ["window 0 with data in flight"]
      ]),
  ]
}
