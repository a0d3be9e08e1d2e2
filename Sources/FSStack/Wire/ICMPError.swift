/// An ICMP or ICMPv6 error that quotes a TCP segment of ours.
///
/// The addresses and ports are those of the quoted segment, so `source` and `sourcePort` are ours.
/// That the segment is in flight, which an attacker can only guess, is for TCP to check
/// (RFC 5927 section 4.1).
struct ICMPError: Equatable, Sendable {
  /// What went wrong.
  enum Kind: Equatable, Sendable {
    /// With the code of the message.
    case destinationUnreachable(code: UInt8)
    /// The packet did not fit; 0 when the router does not say what would (RFC 1191 section 4).
    case packetTooBig(mtu: Int)
    case timeExceeded
    case parameterProblem
  }

  var kind: Kind
  var source: IPAddress
  var destination: IPAddress
  var sourcePort: UInt16
  var destinationPort: UInt16
  var sequence: SequenceNumber
  /// Bytes of the packet of which a part is quoted, by its own header.
  var quotedLength: Int

  /// Reads the frame of an ICMP error. Nil when it is none, is damaged, or quotes no TCP segment;
  /// source quench is none (RFC 6633).
  static func parse(_ frame: UnsafeRawBufferPointer) -> ICMPError? {
    var network = NetworkLayer()
    guard unsafe network.parse(frame) == nil, let base = frame.baseAddress,
      network.payloadLength >= 8
    else { return nil }
    let message = unsafe UnsafeRawBufferPointer(
      start: base + network.payloadOffset, count: network.payloadLength)
    if network.isIPv4 {
      guard network.transport == NetworkLayer.icmpv4,
        Checksum.fold(unsafe Checksum.add(message, to: 0)) == 0xffff
      else { return nil }
      return unsafe parseV4(message)
    }
    guard network.transport == NetworkLayer.icmpv6,
      Checksum.fold(unsafe Checksum.add(message, to: network.pseudoHeaderSum)) == 0xffff
    else { return nil }
    return unsafe parseV6(message)
  }

  /// RFC 792, and RFC 1191 for the MTU.
  private static func parseV4(_ message: UnsafeRawBufferPointer) -> ICMPError? {
    guard let base = message.baseAddress, message.count >= 8 + 20 + 8 else { return nil }
    let code = unsafe base.byte(1)
    let kind: Kind
    switch unsafe base.byte(0) {
    case 3 where code == 4: kind = unsafe .packetTooBig(mtu: Int(base.network16(6)))
    case 3: kind = .destinationUnreachable(code: code)
    case 11: kind = .timeExceeded
    case 12: kind = .parameterProblem
    default: return nil
    }
    let quoted = unsafe base + 8
    let headerLength = unsafe Int(quoted.byte(0) & 15) * 4
    // No fragment offset: only the first fragment has the ports.
    guard unsafe quoted.byte(0) >> 4 == 4, headerLength >= 20,
      message.count >= 8 + headerLength + 8,
      unsafe quoted.byte(9) == NetworkLayer.tcp, unsafe quoted.network16(6) & 0x1fff == 0
    else { return nil }
    return unsafe ICMPError(
      kind, source: IPAddress(v4Native: quoted.native32(12)),
      destination: IPAddress(v4Native: quoted.native32(16)), length: Int(quoted.network16(2)),
      tcp: quoted + headerLength)
  }

  /// RFC 4443 section 3. Our packets have no extension headers, so a quoted one has none either.
  private static func parseV6(_ message: UnsafeRawBufferPointer) -> ICMPError? {
    guard let base = message.baseAddress, message.count >= 8 + 40 + 8 else { return nil }
    let kind: Kind
    switch unsafe base.byte(0) {
    case 1: kind = unsafe .destinationUnreachable(code: base.byte(1))
    case 2: kind = unsafe .packetTooBig(mtu: Int(base.network32(4)))
    case 3: kind = .timeExceeded
    case 4: kind = .parameterProblem
    default: return nil
    }
    let quoted = unsafe base + 8
    guard unsafe quoted.byte(0) >> 4 == 6, unsafe quoted.byte(6) == NetworkLayer.tcp else {
      return nil
    }
    let source = unsafe IPAddress(high: quoted.native64(8), low: quoted.native64(16))
    let destination = unsafe IPAddress(high: quoted.native64(24), low: quoted.native64(32))
    guard !source.isIPv4, !destination.isIPv4 else { return nil }
    return unsafe ICMPError(
      kind, source: source, destination: destination, length: 40 + Int(quoted.network16(4)),
      tcp: quoted + 40)
  }

  /// Takes the ports and the sequence number from the eight quoted bytes of TCP.
  private init(
    _ kind: Kind, source: IPAddress, destination: IPAddress, length: Int, tcp: UnsafeRawPointer
  ) {
    self.kind = kind
    self.source = source
    self.destination = destination
    quotedLength = length
    unsafe sourcePort = tcp.network16(0)
    unsafe destinationPort = tcp.network16(2)
    unsafe sequence = SequenceNumber(tcp.network32(4))
  }
}
