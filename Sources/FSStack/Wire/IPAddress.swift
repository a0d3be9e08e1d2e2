/// An IPv4 or IPv6 address: 16 bytes. An IPv4 address a.b.c.d is stored mapped, as ::ffff:a.b.c.d.
public struct IPAddress: Equatable, Hashable, BitwiseCopyable, Sendable {
  /// The first eight bytes as they stand in memory (network order).
  public var high: UInt64
  /// The last eight bytes as they stand in memory (network order).
  public var low: UInt64

  /// The unspecified IPv6 address, `::`.
  public static let unspecified = IPAddress(high: 0, low: 0)

  /// Creates an address from its two words in memory order, as in `Command`.
  @inlinable
  public init(high: UInt64, low: UInt64) {
    self.high = high
    self.low = low
  }

  /// Creates the IPv4 address a.b.c.d.
  public init(v4 a: UInt8, _ b: UInt8, _ c: UInt8, _ d: UInt8) {
    let value = UInt32(a) << 24 | UInt32(b) << 16 | UInt32(c) << 8 | UInt32(d)
    self.init(v4Native: value.bigEndian)
  }

  /// Creates an IPv4 address from its four bytes as loaded from memory.
  @inline(__always)
  init(v4Native bytes: UInt32) {
    self.init(
      high: 0, low: (0x0000_ffff_0000_0000 | UInt64(UInt32(bigEndian: bytes))).bigEndian)
  }

  /// Creates an address from its 4 or 16 bytes in network order.
  public init(bytes: UnsafeRawBufferPointer) {
    precondition(bytes.count == 4 || bytes.count == 16, "an IP address has 4 or 16 bytes")
    if bytes.count == 4 {
      self.init(v4Native: unsafe bytes.loadUnaligned(as: UInt32.self))
    } else {
      self.init(
        high: unsafe bytes.loadUnaligned(as: UInt64.self),
        low: unsafe bytes.loadUnaligned(fromByteOffset: 8, as: UInt64.self))
    }
  }

  /// Whether this is an IPv4 address.
  @inlinable
  public var isIPv4: Bool {
    high == 0 && UInt64(bigEndian: low) >> 32 == 0xffff
  }

  /// The four bytes of an IPv4 address as they stand in memory.
  @inline(__always)
  var v4Native: UInt32 { UInt32(truncatingIfNeeded: UInt64(bigEndian: low)).bigEndian }

  /// The four bytes of an IPv4 address as a number.
  private var v4Value: UInt32 { UInt32(truncatingIfNeeded: UInt64(bigEndian: low)) }

  /// Whether no host has this address: `::` or 0.0.0.0.
  public var isUnspecified: Bool {
    high == 0 && (low == 0 || UInt64(bigEndian: low) == 0x0000_ffff_0000_0000)
  }

  /// Whether this address is of a host itself: ::1 or 127.0.0.0/8.
  public var isLoopback: Bool {
    isIPv4 ? v4Value >> 24 == 127 : high == 0 && UInt64(bigEndian: low) == 1
  }

  /// Whether this is a multicast address, or the limited broadcast address of IPv4.
  public var isMulticast: Bool {
    isIPv4
      ? v4Value >> 28 == 14 || v4Value == 0xffff_ffff
      : UInt64(bigEndian: high) >> 56 == 0xff
  }

  /// Whether this is an IPv6 address that is valid on one link only, fe80::/10.
  public var isLinkLocal: Bool { UInt64(bigEndian: high) >> 54 == 0x3fa }

  /// Whether a TCP segment may come from this IPv4 address: it is of one host, and that host is not
  /// this one. 0.0.0.0/8 is "this network" and no source either (RFC 1122 section 3.2.1.3).
  @inline(__always)
  static func isValidSource(v4Native bytes: UInt32) -> Bool {
    let value = UInt32(bigEndian: bytes)
    let first = value >> 24
    return first != 0 && first != 127 && first >> 4 != 14 && value != 0xffff_ffff
  }

  /// Whether a TCP segment over IPv6 may come from this address. An IPv4 address may not be there:
  /// it would be taken for that of an IPv4 connection.
  var isValidIPv6Source: Bool {
    !isIPv4 && !isMulticast && !isLoopback && !isUnspecified
  }

  /// Lends the 4 or 16 bytes of the address in network order.
  public func withBytes<Result>(
    _ body: (UnsafeRawBufferPointer) throws -> Result
  ) rethrows -> Result {
    try unsafe withUnsafeBytes(of: self) { bytes in
      try unsafe body(isIPv4 ? UnsafeRawBufferPointer(rebasing: bytes[12...]) : bytes)
    }
  }
}
