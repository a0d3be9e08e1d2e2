/// The last shifts of our timestamp clock that were computed: a connection needs that of its addresses in its
/// SYN-ACK, when it is made, and in TIME-WAIT, and many connections have the same.
struct TimestampOffsets: BitwiseCopyable {
  private struct Entry: BitwiseCopyable {
    var local: IPAddress
    var remote: IPAddress
    var offset: UInt32
  }

  private var entries: InlineArray<16, Entry>
  private let secret: Secret

  init(secret: Secret) {
    self.secret = secret
    let none = IPAddress(high: 0, low: 0)
    entries = InlineArray(
      repeating: Entry(
        local: none, remote: none, offset: secret.timestampOffset(none, none)))
  }

  /// `Secret.timestampOffset`.
  mutating func offset(_ local: IPAddress, _ remote: IPAddress) -> UInt32 {
    let place = Int(truncatingIfNeeded: secret.hash(remote)) & (entries.count - 1)
    if entries[place].remote != remote || entries[place].local != local {
      entries[place] = Entry(
        local: local, remote: remote, offset: secret.timestampOffset(local, remote))
    }
    return entries[place].offset
  }
}
