/// The number of a search.
struct PathSearchID: SlabIndex, BitwiseCopyable {
  var raw: UInt32
}

/// How large a connection's segments may be whose path carries less than its first link: only such
/// connections have one. Sizes are those of TCP's payload with options, as in
/// `Connection.pathSegmentSize`.
///
/// After a router's word the size stands until that word is old (RFC 1191 section 6.3). Without one,
/// when large segments vanish, a small size is tried, and larger ones are searched for from there by
/// single large segments (RFC 4821, RFC 8899; Linux with tcp_mtu_probing 1).
struct PathSearch: BitwiseCopyable {
  /// The largest size known to arrive.
  var low: UInt16
  /// The largest that may arrive, as far as is known.
  var high: UInt16
  /// The largest that the first link carries.
  var limit: UInt16
  /// The size of the probe in flight; 0 for none.
  var probeSize: UInt16 = 0
  /// Its first number, and one past its last.
  var probeSequence = SequenceNumber(0)
  var probeEnd = SequenceNumber(0)
  /// When all that is known of the path is too old.
  var expiry: Instant

  /// Segments no smaller than these are tried: the router's floors of Linux (552 bytes for a packet of
  /// IPv4), and the smallest packet that every link of IPv6 carries.
  static func floor(isIPv4: Bool) -> UInt16 { isIPv4 ? 512 : 1220 }
  /// The first size that is tried when larger ones vanish (Linux's tcp_base_mss).
  static func base(isIPv4: Bool) -> UInt16 { isIPv4 ? 1024 : 1220 }
  /// A search ends when it could gain no more than this (Linux's tcp_probe_threshold).
  private static var threshold: UInt16 { 8 }

  /// The next size to try; nil when the search is over or a probe is in flight.
  var nextSize: UInt16? {
    guard probeSize == 0, high > low, high - low >= Self.threshold else { return nil }
    return low + (high - low + 1) / 2
  }

  /// A segment is sent that is not the probe. True: it carries bytes of the probe again, which
  /// therefore is thought to be lost.
  mutating func sends(_ sequence: SequenceNumber, _ length: Int) -> Bool {
    guard probeSize != 0, sequence < probeEnd,
      sequence + UInt32(length) > probeSequence
    else { return false }
    high = min(high, probeSize - 1)
    probeSize = 0
    return true
  }

  /// Everything before `sequence` has arrived. True: the probe, too, and `low` is its size.
  mutating func acknowledged(_ sequence: SequenceNumber) -> Bool {
    guard probeSize != 0, sequence >= probeEnd else { return false }
    low = max(low, probeSize)
    high = max(high, low)
    probeSize = 0
    return true
  }
}
