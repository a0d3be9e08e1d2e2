/// A 48-bit Ethernet address.
public struct MACAddress: Equatable, Hashable, BitwiseCopyable, Sendable, CustomStringConvertible {
  /// The first four bytes as they stand in memory.
  @usableFromInline var first: UInt32
  /// The last two bytes as they stand in memory.
  @usableFromInline var last: UInt16

  /// ff:ff:ff:ff:ff:ff.
  public static let broadcast = MACAddress(0xff, 0xff, 0xff, 0xff, 0xff, 0xff)

  /// Creates an address from its bytes in the order of transmission.
  public init(_ b0: UInt8, _ b1: UInt8, _ b2: UInt8, _ b3: UInt8, _ b4: UInt8, _ b5: UInt8) {
    first = (UInt32(b0) << 24 | UInt32(b1) << 16 | UInt32(b2) << 8 | UInt32(b3)).bigEndian
    last = (UInt16(b4) << 8 | UInt16(b5)).bigEndian
  }

  /// Creates the address 00:00:00:00:00:00.
  @inlinable
  public init() {
    first = 0
    last = 0
  }

  @inline(__always)
  init(first: UInt32, last: UInt16) {
    self.first = first
    self.last = last
  }

  /// Creates an address from six bytes in the order of transmission.
  public init(bytes: UnsafeRawBufferPointer) {
    precondition(bytes.count == 6, "an Ethernet address has 6 bytes")
    unsafe first = bytes.loadUnaligned(as: UInt32.self)
    unsafe last = bytes.loadUnaligned(fromByteOffset: 4, as: UInt16.self)
  }

  /// Creates an address from six groups of one or two hexadecimal digits between colons; nil when
  /// the text is something else.
  public init?(_ text: String) {
    let parts = Array(text.utf8).split(
      separator: UInt8(ascii: ":"), omittingEmptySubsequences: false)
    let bytes = parts.compactMap { IPAddress.hexadecimal($0, digits: 1...2) }.map(UInt8.init)
    guard parts.count == 6, bytes.count == 6 else { return nil }
    self.init(bytes[0], bytes[1], bytes[2], bytes[3], bytes[4], bytes[5])
  }

  /// The bytes in the order of transmission.
  public var bytes: [UInt8] {
    let head = UInt32(bigEndian: first)
    let tail = UInt16(bigEndian: last)
    return [
      UInt8(head >> 24), UInt8(head >> 16 & 255), UInt8(head >> 8 & 255), UInt8(head & 255),
      UInt8(tail >> 8), UInt8(tail & 255),
    ]
  }

  /// Whether the address is of a group of stations; broadcast is one.
  public var isMulticast: Bool { UInt32(bigEndian: first) & 0x0100_0000 != 0 }

  /// Two lower-case hexadecimal digits for each byte, between colons.
  public var description: String {
    bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined(separator: ":")
  }
}
