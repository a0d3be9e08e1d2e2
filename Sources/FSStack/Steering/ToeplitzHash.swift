/// The hash by which network cards choose a packet's receive queue (receive-side scaling, RSS): the
/// Toeplitz hash of Microsoft's specification, as the cards compute it with their secret key.
///
/// The hash of a message is the exclusive or of 32-bit windows of the key, one for each set bit: the
/// window that begins at that bit's position. Four bits are looked up at a time, 24 for the flow of a
/// connection over IPv4.
///
/// A handle: copies share the table.
@safe
struct ToeplitzHash {
  /// Bytes of the longest message: two IPv6 addresses and two ports.
  static let longest = 36
  /// Bytes of key that such a message needs. Longer keys are cut.
  static let keyLength = longest + 4

  /// For each half of a byte of the message, 16 values.
  private let windows: UnsafeMutablePointer<UInt32>

  /// The table for a key; a missing rest of it is taken for zeros.
  init(key: [UInt8]) {
    let count = Self.longest * 2 * 16
    unsafe windows = .allocate(capacity: count)
    unsafe windows.initialize(repeating: 0, count: count)
    var window = key.prefix(4).reduce(0) { $0 << 8 | UInt32($1) }
    window <<= UInt32(8 * (4 - min(key.count, 4)))
    for bit in 0..<Self.longest * 8 {
      let half = bit / 4
      let mask = 8 >> (bit % 4)
      for value in 0..<16 where value & mask != 0 {
        unsafe windows[half * 16 + value] ^= window
      }
      let next = bit + 32
      let byte = next / 8 < key.count ? key[next / 8] : 0
      window = window << 1 | UInt32(byte >> UInt8(7 - next % 8) & 1)
    }
  }

  /// Frees the memory; the handle and its copies are void afterwards.
  func deallocate() { unsafe windows.deallocate() }

  /// The hash of what a card sees of a received TCP segment: source address, destination address,
  /// source port, destination port.
  func hash(_ flow: Flow) -> UInt32 {
    var hash: UInt32 = 0
    var position = 0
    if flow.local.isIPv4 {
      add(flow.remote.low, bytes: 4..<8, at: &position, to: &hash)
      add(flow.local.low, bytes: 4..<8, at: &position, to: &hash)
    } else {
      add(flow.remote.high, bytes: 0..<8, at: &position, to: &hash)
      add(flow.remote.low, bytes: 0..<8, at: &position, to: &hash)
      add(flow.local.high, bytes: 0..<8, at: &position, to: &hash)
      add(flow.local.low, bytes: 0..<8, at: &position, to: &hash)
    }
    let ports = UInt64(flow.remotePort) << 16 | UInt64(flow.localPort)
    add(ports.bigEndian, bytes: 4..<8, at: &position, to: &hash)
    return hash
  }

  /// What the destination port of a received segment adds to its hash.
  @inline(__always)
  func shareOfLocalPort(_ port: UInt16, isIPv4: Bool) -> UInt32 {
    var hash: UInt32 = 0
    var position = isIPv4 ? 10 : 34
    add(UInt64(port).bigEndian, bytes: 6..<8, at: &position, to: &hash)
    return hash
  }

  /// Adds bytes of a word in memory order.
  @inline(__always)
  private func add(
    _ word: UInt64, bytes: Range<UInt64>, at position: inout Int, to hash: inout UInt32
  ) {
    let value = UInt64(bigEndian: word)
    for index in bytes {
      let byte = Int(truncatingIfNeeded: value >> (56 - 8 * index)) & 0xff
      unsafe hash ^= windows[position * 32 + (byte >> 4)]
      unsafe hash ^= windows[position * 32 + 16 + (byte & 15)]
      position += 1
    }
  }
}
