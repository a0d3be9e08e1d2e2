/// What `Segment.parse` found.
enum ParseResult: Equatable, Sendable {
  /// A TCP segment; the fields of the `Segment` are set.
  case segment
  /// An ICMP or ICMPv6 message; `ICMPError.parse` reads it.
  case icmpError
  /// Something to throw away and to count.
  case drop(DropReason)
}

/// The fields of a received TCP segment and of the headers before it, in host order.
///
/// Parsing is the place that trusts nothing: whatever is in a `Segment` after `.segment` lies
/// within the frame and has been checked by its checksums.
struct Segment: BitwiseCopyable, Sendable {
  var sourceMAC = MACAddress()
  var destinationMAC = MACAddress()
  /// Tag control information of the 802.1Q tag; 0xffff without one.
  var vlan = NetworkLayer.untagged
  var source = IPAddress.unspecified
  var destination = IPAddress.unspecified
  var sourcePort: UInt16 = 0
  var destinationPort: UInt16 = 0
  var sequence = SequenceNumber(0)
  var acknowledgement = SequenceNumber(0)
  var flags = TCPFlags(rawValue: 0)
  var ecn = ECNCodepoint.notCapable
  /// The checksum field held the sum of the pseudo-header alone: the segment comes from a virtual
  /// link, whose sender left the checksum to hardware that is not there.
  var checksumWasPartial = false
  /// The window field, not scaled.
  var window: UInt16 = 0
  /// As it stands in the header; means something only with URG.
  var urgentPointer: UInt16 = 0
  /// First byte of the payload in the frame.
  var payloadOffset = 0
  /// Bytes of payload by the length in the IP header.
  var payloadLength = 0
  var options = SegmentOptions()

  /// An empty segment to parse into.
  @inline(__always)
  init() {}

  /// Reads an Ethernet frame.
  ///
  /// With `acceptPartialChecksum`, a segment is also good when its checksum field holds the folded
  /// sum of the pseudo-header.
  @inline(__always)
  mutating func parse(
    _ frame: UnsafeRawBufferPointer, acceptPartialChecksum: Bool
  ) -> ParseResult {
    guard unsafe NetworkLayer.isPlainIPv4(frame), let base = frame.baseAddress else {
      return unsafe parseUncommon(frame, acceptPartialChecksum: acceptPartialChecksum)
    }
    // Kept apart from the uncommon frames so that all of `network` stays in registers.
    var network = NetworkLayer()
    if let reason = unsafe network.parsePlainIPv4(base, count: frame.count) { return .drop(reason) }
    return unsafe take(base, network, acceptPartialChecksum: acceptPartialChecksum)
  }

  /// Reads a frame that this very engine has made for itself: its addresses may be loopback ones.
  @inline(never)
  mutating func parseOwn(_ frame: UnsafeRawBufferPointer) -> ParseResult {
    var network = NetworkLayer()
    network.isFromOwnEngine = true
    if let reason = unsafe network.parse(frame) { return .drop(reason) }
    guard let base = frame.baseAddress else { return .drop(.frameTooShort) }
    return unsafe take(base, network, acceptPartialChecksum: false)
  }

  /// Reads a frame with a VLAN tag, with IPv6, or with neither.
  @inline(never)
  private mutating func parseUncommon(
    _ frame: UnsafeRawBufferPointer, acceptPartialChecksum: Bool
  ) -> ParseResult {
    var network = NetworkLayer()
    if let reason = unsafe network.parse(frame) { return .drop(reason) }
    guard let base = frame.baseAddress else { return .drop(.frameTooShort) }
    return unsafe take(base, network, acceptPartialChecksum: acceptPartialChecksum)
  }

  /// Takes over what the headers before TCP say, and goes on to TCP.
  @inline(__always)
  private mutating func take(
    _ base: UnsafeRawPointer, _ network: NetworkLayer, acceptPartialChecksum: Bool
  ) -> ParseResult {
    guard network.transport == NetworkLayer.tcp else {
      let icmp = network.isIPv4 ? NetworkLayer.icmpv4 : NetworkLayer.icmpv6
      return network.transport == icmp ? .icmpError : .drop(.notTCP)
    }
    unsafe sourceMAC = MACAddress(first: base.native32(6), last: base.native16(10))
    unsafe destinationMAC = MACAddress(first: base.native32(0), last: base.native16(4))
    vlan = network.vlan
    source = network.source
    destination = network.destination
    ecn = ECNCodepoint(trafficClass: network.trafficClass)
    return unsafe parseTCP(
      base + network.payloadOffset, network, acceptPartialChecksum: acceptPartialChecksum)
  }

  /// Reads the TCP header at `tcp` (RFC 9293 section 3.1).
  @inline(__always)
  private mutating func parseTCP(
    _ tcp: UnsafeRawPointer, _ network: NetworkLayer, acceptPartialChecksum: Bool
  ) -> ParseResult {
    guard network.payloadLength >= 20 else { return .drop(.tcpHeaderTruncated) }
    let headerLength = unsafe Int(tcp.byte(12) >> 4) &* 4
    guard headerLength >= 20, headerLength <= network.payloadLength else {
      return .drop(.tcpDataOffset)
    }
    let pseudoSum = network.pseudoHeaderSum
    checksumWasPartial =
      unsafe acceptPartialChecksum && tcp.native16(16) == Checksum.fold(pseudoSum)
    if !checksumWasPartial {
      // MUST-3.
      let sum = unsafe Checksum.add(tcp, count: network.payloadLength, to: pseudoSum)
      guard Checksum.fold(sum) == 0xffff else { return .drop(.tcpChecksum) }
    }
    unsafe flags = TCPFlags(rawValue: tcp.byte(13))
    guard flags.isPossible else { return .drop(.flagsInvalid) }

    unsafe sourcePort = tcp.network16(0)
    unsafe destinationPort = tcp.network16(2)
    unsafe sequence = SequenceNumber(tcp.network32(4))
    unsafe acknowledgement = SequenceNumber(tcp.network32(8))
    unsafe window = tcp.network16(14)
    unsafe urgentPointer = tcp.network16(18)
    payloadOffset = network.payloadOffset + headerLength
    payloadLength = network.payloadLength - headerLength
    options.reset()
    if headerLength == 32, unsafe tcp.network32(20) == Self.timestampLayout {
      // The layout of every ordinary segment of a connection with timestamps (RFC 7323 appendix A).
      options.hasTimestamp = true
      unsafe options.timestampValue = tcp.network32(24)
      unsafe options.timestampEcho = tcp.network32(28)
    } else if headerLength > 20 {
      unsafe options.parse(tcp + 20, count: headerLength - 20, isSYN: flags.contains(.syn))
    }
    return .segment
  }

  /// NOP, NOP, kind 8, length 10.
  static var timestampLayout: UInt32 { 0x0101_080a }
}
