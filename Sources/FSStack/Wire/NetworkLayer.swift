/// What the Ethernet and IP headers of a frame say: where the payload of IP is, and from whom to
/// whom it goes.
struct NetworkLayer {
  /// Tag control information of an 802.1Q tag, `untagged` without one.
  var vlan = Self.untagged
  /// Protocol number of the payload.
  var transport: UInt8 = 0
  /// Differentiated services and ECN bits.
  var trafficClass: UInt8 = 0
  var isIPv4 = true
  var source = IPAddress.unspecified
  var destination = IPAddress.unspecified
  /// First byte of the payload in the frame.
  var payloadOffset = 0
  /// Bytes of the payload by the IP header: padding of short frames is not in it.
  var payloadLength = 0
  /// The frame was made by this very engine: loopback addresses are what it may have.
  var isFromOwnEngine = false
  /// `Checksum` sum of the two addresses.
  var addressSum: UInt64 = 0

  static var untagged: UInt16 { 0xffff }
  static var tcp: UInt8 { 6 }
  static var icmpv4: UInt8 { 1 }
  static var icmpv6: UInt8 { 58 }

  /// The sum of the pseudo-header of RFC 9293 section 3.1 and RFC 8200 section 8.1.
  @inline(__always)
  var pseudoHeaderSum: UInt64 {
    Self.pseudoHeaderSum(addressSum, transport: transport, length: payloadLength)
  }

  @inline(__always)
  static func pseudoHeaderSum(_ addressSum: UInt64, transport: UInt8, length: Int) -> UInt64 {
    // Both families: in one's complement it does not matter that IPv6 has wider fields.
    let last = UInt32(transport) << 16 | UInt32(truncatingIfNeeded: length)
    return addressSum &+ UInt64(last.bigEndian)
  }

  /// Whether a frame looks like the ordinary one, IPv4 without a tag. It is then as long as
  /// `parsePlainIPv4` wants it.
  @inline(__always)
  static func isPlainIPv4(_ frame: UnsafeRawBufferPointer) -> Bool {
    guard let base = frame.baseAddress, frame.count >= minimumFrame else { return false }
    return unsafe base.network16(12) == EtherType.ipv4
  }

  /// Reads the headers of a frame that `isPlainIPv4`. Returns why it must be dropped, or nil.
  @inline(__always)
  mutating func parsePlainIPv4(_ base: UnsafeRawPointer, count: Int) -> DropReason? {
    guard unsafe base.byte(0) & 1 == 0 else { return .destinationNotLocal }
    vlan = Self.untagged
    let reason = unsafe parseIPv4(base + 14, available: count &- 14)
    payloadOffset &+= 14
    return reason
  }

  /// Reads the headers of any Ethernet frame. Returns why it must be dropped, or nil.
  mutating func parse(_ frame: UnsafeRawBufferPointer) -> DropReason? {
    guard let base = frame.baseAddress, frame.count >= Self.minimumFrame else {
      return .frameTooShort
    }
    guard unsafe base.byte(0) & 1 == 0 else { return .destinationNotLocal }
    var etherType = unsafe base.network16(12)
    var offset = 14
    vlan = Self.untagged
    if etherType == EtherType.vlan {
      unsafe vlan = base.network16(14)
      unsafe etherType = base.network16(16)
      offset = 18
    }
    let reason: DropReason?
    switch etherType {
    case EtherType.ipv4: reason = unsafe parseIPv4(base + offset, available: frame.count - offset)
    case EtherType.ipv6: reason = unsafe parseIPv6(base + offset, available: frame.count - offset)
    default: return .notIP
    }
    payloadOffset += offset
    return reason
  }

  /// Ethernet and the shortest IP header.
  private static var minimumFrame: Int { 34 }
}

/// Values of the Ethernet type field.
enum EtherType {
  static var ipv4: UInt16 { 0x0800 }
  static var ipv6: UInt16 { 0x86dd }
  static var vlan: UInt16 { 0x8100 }
}

extension NetworkLayer {
  /// Reads an IPv4 header (RFC 791); `available` bytes follow from `header` on.
  @inline(__always)
  private mutating func parseIPv4(_ header: UnsafeRawPointer, available: Int) -> DropReason? {
    guard available >= 20 else { return .frameTooShort }
    let versionAndLength = unsafe header.byte(0)
    let headerLength = Int(versionAndLength & 15) &* 4
    guard versionAndLength >> 4 == 4, headerLength >= 20, headerLength <= available else {
      return .ipv4HeaderLength
    }
    let totalLength = unsafe Int(header.network16(2))
    guard totalLength >= headerLength, totalLength <= available else { return .ipv4TotalLength }

    let addresses = unsafe (from: header.native32(12), to: header.native32(16))
    addressSum = UInt64(addresses.from) &+ UInt64(addresses.to)
    var sum = unsafe addressSum &+ Checksum.halves(header.native64(0))
    sum = unsafe sum &+ UInt64(header.native32(8))
    if headerLength > 20 {
      sum = unsafe Self.addIPv4Options(header + 20, count: headerLength - 20, to: sum)
    }
    guard Checksum.fold(sum) == 0xffff else { return .ipv4HeaderChecksum }
    if headerLength > 20, unsafe !Self.mayIgnoreOptions(ipv4: header + 20, count: headerLength - 20)
    {
      return .ipv4Options
    }
    // More fragments, or a fragment offset.
    guard unsafe header.network16(6) & 0x3fff == 0 else { return .fragment }

    isIPv4 = true
    unsafe trafficClass = header.byte(1)
    unsafe transport = header.byte(9)
    source = IPAddress(v4Native: addresses.from)
    destination = IPAddress(v4Native: addresses.to)
    payloadOffset = headerLength
    payloadLength = totalLength &- headerLength
    let isValid =
      isFromOwnEngine
      || (IPAddress.isValidSource(v4Native: addresses.from) && addresses.from != addresses.to)
    return isValid ? nil : .sourceAddressInvalid
  }

  /// Out of line: options are rare, and their sum would be unrolled into the common path.
  @inline(never)
  private static func addIPv4Options(
    _ options: UnsafeRawPointer, count: Int, to sum: UInt64
  ) -> UInt64 {
    unsafe Checksum.add(options, count: count, to: sum)
  }

  /// Whether the options of an IPv4 header may be passed over, as those that are not understood must be
  /// (MUST-50): all but source routes. To drop those, as every host does today, deviates from MUST-51,
  /// deviates from MUST-52 and deviates from MUST-53: they lead replies past filters (RFC 7126 section
  /// 4.3).
  @inline(never)
  private static func mayIgnoreOptions(ipv4 options: UnsafeRawPointer, count: Int) -> Bool {
    var offset = 0
    while offset < count {
      switch unsafe options.byte(offset) {
      case 0:
        return true
      case 1:
        offset += 1
        continue
      case 131, 137:
        // Loose and strict source route.
        return false
      default:
        break
      }
      guard offset + 1 < count else { return false }
      let length = unsafe Int(options.byte(offset + 1))
      guard length >= 2, offset + length <= count else { return false }
      offset += length
    }
    return true
  }

  /// Reads an IPv6 header (RFC 8200) and what extension headers there are.
  private mutating func parseIPv6(_ header: UnsafeRawPointer, available: Int) -> DropReason? {
    guard available >= 40 else { return .frameTooShort }
    let firstWord = unsafe header.network32(0)
    let length = unsafe Int(header.network16(4))
    // Length 0 announces a jumbogram, which no segment here can be.
    guard firstWord >> 28 == 6, length > 0, length <= available - 40 else { return .ipv6Header }

    isIPv4 = false
    trafficClass = UInt8(truncatingIfNeeded: firstWord >> 20)
    unsafe source = IPAddress(high: header.native64(8), low: header.native64(16))
    unsafe destination = IPAddress(high: header.native64(24), low: header.native64(32))
    // An IPv4 address in an IPv6 header would be taken for that of an IPv4 connection.
    guard isFromOwnEngine || (source.isValidIPv6Source && source != destination) else {
      return .sourceAddressInvalid
    }
    guard !destination.isIPv4 else { return .destinationNotLocal }
    addressSum =
      Checksum.halves(source.high) &+ Checksum.halves(source.low)
      &+ Checksum.halves(destination.high) &+ Checksum.halves(destination.low)
    unsafe transport = header.byte(6)
    payloadOffset = 40
    payloadLength = length
    if transport == Self.tcp || transport == Self.icmpv6 { return nil }
    return unsafe skipExtensionHeaders(header)
  }

  /// Moves on to the first header that is no extension (RFC 8200 section 4).
  private mutating func skipExtensionHeaders(_ header: UnsafeRawPointer) -> DropReason? {
    for position in 0...Self.maximumExtensionHeaders {
      switch transport {
      case ExtensionHeader.hopByHop where position > 0: return .ipv6ExtensionHeader
      case ExtensionHeader.hopByHop, ExtensionHeader.routing, ExtensionHeader.destinationOptions,
        ExtensionHeader.fragment:
        break
      default: return nil
      }
      guard position < Self.maximumExtensionHeaders, payloadLength >= 8 else { break }
      let start = unsafe header + payloadOffset
      let isFragment = transport == ExtensionHeader.fragment
      let length = unsafe isFragment ? 8 : Int(start.byte(1)) * 8 + 8
      guard length <= payloadLength else { break }
      // Only an atomic fragment is a whole packet (RFC 6946): neither offset nor more fragments.
      if isFragment, unsafe start.network16(2) & 0xfff9 != 0 { return .fragment }
      let acceptable =
        if isFragment {
          true
        } else if transport == ExtensionHeader.routing {
          // Without segments left the routing header is done with, whatever its type.
          unsafe start.byte(3) == 0
        } else {
          unsafe Self.mayIgnoreOptions(start + 2, count: length - 2)
        }
      guard acceptable else { break }
      unsafe transport = start.byte(0)
      payloadOffset += length
      payloadLength -= length
    }
    return .ipv6ExtensionHeader
  }

  private static var maximumExtensionHeaders: Int { 8 }

  /// Whether a node that knows none of the options may pass over them all: the two highest bits of
  /// an option type say so (RFC 8200 section 4.2).
  private static func mayIgnoreOptions(_ options: UnsafeRawPointer, count: Int) -> Bool {
    var offset = 0
    while offset < count {
      let type = unsafe options.byte(offset)
      if type == 0 {
        offset += 1
        continue
      }
      guard type >> 6 == 0, offset + 1 < count else { return false }
      offset += unsafe 2 + Int(options.byte(offset + 1))
    }
    return offset == count
  }
}

/// Numbers of the IPv6 extension headers that are walked or refused.
private enum ExtensionHeader {
  static var hopByHop: UInt8 { 0 }
  static var routing: UInt8 { 43 }
  static var fragment: UInt8 { 44 }
  static var destinationOptions: UInt8 { 60 }
}
