extension Ledger {
  static let closing = [
    Difference(
      title: "RST in TIME-WAIT",
      reason: """
        Linux ends TIME-WAIT when a RST comes, unless net.ipv4.tcp_rfc1337 is set. RFC 1337 \
        shows what that costs; there is no setting for it.
        """,
      scripts: [
        "TIME-WAIT": ["RST", "RST ACK", "RST that acknowledges the future", "RST with data"],
        "TIME-WAIT (timestamps)": ["RST without timestamp"],
      ]),
    Difference(
      title: "FIN-WAIT-2 without an application",
      reason: """
        When nobody has the socket any more Linux moves a connection in FIN-WAIT-2 to its table \
        for TIME-WAIT, whose answers are simpler: resets, or nothing, for what is not in order, \
        and the segment that causes the move is not answered. The engine treats the state as RFC \
        9293 and RFC 5961 do.
        """,
      scripts: [
        "FIN-WAIT-1 (closed)": ["old byte"],
        "FIN-WAIT-2 (closed)": [
          "acknowledgement of the future", "acknowledgement of the far future",
          "acknowledgement older than every window", "data that acknowledges the future",
          "data with acknowledgement older than every window", "RST in the window",
          "RST with old number", "RST beyond the window", "SYN", "SYN in the window",
          "SYN with data", "SYN ACK", "SYN ACK that acknowledges the future",
        ],
      ]),
    Difference(
      title: "Data where the FIN has been",
      reason: """
        Linux resets a connection whose peer sends data over its own FIN, and does not answer \
        data behind it. RFC 9293 section 3.10.7.4 ignores such data in CLOSE-WAIT, and \
        acknowledges what lies outside of the window.
        """,
      scripts: [
        "CLOSE-WAIT": ["data half old"],
        "closing": ["data over a FIN"],
        "transfer": ["closed window: FIN"],
      ]),
    Difference(
      title: "A FIN is acknowledged at once",
      reason: """
        A FIN that comes with or soon after the end of the handshake Linux acknowledges with its \
        delay. Nothing is gained by waiting: the peer waits in FIN-WAIT-1.
        """,
      scripts: [
        "SYN-RECEIVED": ["FIN with data"],
        "SYN-RECEIVED (active)": ["FIN with data"],
        "handshake": ["data before accept"],
      ]),
  ]
}
