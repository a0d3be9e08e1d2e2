/// What a connection has to remember of explicit congestion notification (RFC 3168 section 6.1).
/// Whether a mark has already been reacted to in this round trip, `CongestionControl` knows.
struct ExplicitCongestion: OptionSet, BitwiseCopyable {
  var rawValue: UInt8

  /// Our SYN asked for it.
  static let offered = Self(rawValue: 1 << 0)
  /// Both sides want it.
  static let negotiated = Self(rawValue: 1 << 1)
  /// A marked segment has arrived: what we send carries ECE, until the peer says CWR; with DCTCP,
  /// until a segment comes without a mark.
  static let echoes = Self(rawValue: 1 << 2)
  /// The path has let an ECN-capable segment through.
  static let seen = Self(rawValue: 1 << 3)
}
