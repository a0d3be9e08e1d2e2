@testable import FSStack

/// A frame with a TCP segment, as a router, a middlebox or an observer sees it: fields in their
/// places, read and written by the standards and not by the engine's parser.
struct TCPFrame {
  private(set) var bytes: [UInt8]
  let isIPv4: Bool
  /// First byte of the TCP header.
  let tcp: Int

  /// First byte of the IP header: frames here have no VLAN tag.
  static let network = 14

  /// Nil for anything but TCP right behind IPv4 or IPv6.
  init?(_ bytes: [UInt8]) {
    guard bytes.count >= 34 else { return nil }
    switch (bytes[12], bytes[13], bytes[14] >> 4) {
    case (0x08, 0x00, 4):
      guard bytes[23] == 6, bytes[14] & 15 >= 5 else { return nil }
      isIPv4 = true
      tcp = Self.network + Int(bytes[14] & 15) * 4
    case (0x86, 0xdd, 6):
      guard bytes.count >= 54, bytes[20] == 6 else { return nil }
      isIPv4 = false
      tcp = Self.network + 40
    default:
      return nil
    }
    guard bytes.count >= tcp + 20, bytes.count >= tcp + Int(bytes[tcp + 12] >> 4) * 4,
      bytes[tcp + 12] >> 4 >= 5
    else { return nil }
    self.bytes = bytes
  }

  // MARK: Fields

  subscript(word offset: Int) -> UInt16 {
    get { UInt16(bytes[offset]) << 8 | UInt16(bytes[offset + 1]) }
    set { bytes.put16(newValue, at: offset) }
  }

  subscript(long offset: Int) -> UInt32 {
    get { UInt32(self[word: offset]) << 16 | UInt32(self[word: offset + 2]) }
    set {
      self[word: offset] = UInt16(newValue >> 16)
      self[word: offset + 2] = UInt16(newValue & 0xffff)
    }
  }

  var sourcePort: UInt16 { self[word: tcp] }
  var destinationPort: UInt16 { self[word: tcp + 2] }
  var sequence: SequenceNumber {
    get { SequenceNumber(self[long: tcp + 4]) }
    set { self[long: tcp + 4] = newValue.value }
  }
  var acknowledgement: SequenceNumber {
    get { SequenceNumber(self[long: tcp + 8]) }
    set { self[long: tcp + 8] = newValue.value }
  }
  var flags: TCPFlags {
    get { TCPFlags(rawValue: bytes[tcp + 13]) }
    set { bytes[tcp + 13] = newValue.rawValue }
  }
  var window: UInt16 { self[word: tcp + 14] }
  var headerLength: Int { Int(bytes[tcp + 12] >> 4) * 4 }
  /// First byte of the payload.
  var payloadStart: Int { tcp + headerLength }
  /// Bytes of payload by the IP header; frames here are not padded.
  var payloadLength: Int { bytes.count - payloadStart }
  var payload: ArraySlice<UInt8> { bytes[payloadStart...] }
  /// Sequence space that the segment takes.
  var sequenceLength: UInt32 {
    UInt32(payloadLength) + (flags.contains(.syn) ? 1 : 0) + (flags.contains(.fin) ? 1 : 0)
  }
  /// Nothing but an acknowledgement.
  var isPureAcknowledgement: Bool {
    payloadLength == 0 && flags.contains(.ack) && flags.isDisjoint(with: [.syn, .fin, .rst])
  }

  /// Both bits of ECN (RFC 3168 section 5).
  var congestionBits: UInt8 {
    get { isIPv4 ? bytes[15] & 3 : bytes[15] >> 4 & 3 }
    set {
      if isIPv4 {
        bytes[15] = bytes[15] & 0xfc | newValue
      } else {
        bytes[15] = bytes[15] & 0xcf | newValue << 4
      }
    }
  }

  /// An option's place: its first byte, and its length.
  struct Option {
    var kind: UInt8
    var offset: Int
    var length: Int
  }

  /// The options without padding, or nil when they are not well-formed.
  var options: [Option]? {
    var found: [Option] = []
    var offset = tcp + 20
    while offset < payloadStart {
      switch bytes[offset] {
      case TCPOptionKind.end:
        return found
      case TCPOptionKind.noOperation:
        offset += 1
      default:
        guard offset + 1 < payloadStart else { return nil }
        let length = Int(bytes[offset + 1])
        guard length >= 2, offset + length <= payloadStart else { return nil }
        found.append(Option(kind: bytes[offset], offset: offset, length: length))
        offset += length
      }
    }
    return found
  }

  func option(_ kind: UInt8) -> Option? { options?.first { $0.kind == kind } }

  // MARK: Changes

  /// Overwrites an option with no-operations.
  mutating func erase(_ option: Option) {
    for index in option.offset..<option.offset + option.length {
      bytes[index] = TCPOptionKind.noOperation
    }
  }

  mutating func set(_ offset: Int, _ value: UInt8) { bytes[offset] = value }

  /// Replaces the payload; the checksums are still to be fixed.
  mutating func replacePayload(_ payload: some Collection<UInt8>) {
    bytes.replaceSubrange(payloadStart..., with: payload)
    let length = bytes.count - Self.network
    self[word: Self.network + (isIPv4 ? 2 : 4)] = UInt16(isIPv4 ? length : length - 40)
  }

  mutating func fixChecksums() {
    if isIPv4 { bytes.fixIPv4Checksum() }
    bytes.fixTransportChecksum(at: tcp)
  }

  // MARK: Checksums

  /// Whether the checksums of IP and TCP are right.
  var hasRightChecksums: Bool {
    let isHeaderRight =
      !isIPv4 || Self.sum(bytes, Self.network, tcp) == 0xffff
    let addresses = isIPv4 ? (26, 34) : (22, 54)
    let pseudo = Self.sum(bytes, addresses.0, addresses.1) + 6 + UInt32(bytes.count - tcp)
    return isHeaderRight && Self.fold(pseudo + Self.sum(bytes, tcp, bytes.count)) == 0xffff
  }

  private static func fold(_ sum: UInt32) -> UInt32 {
    var sum = sum
    while sum > 0xffff { sum = (sum & 0xffff) + sum >> 16 }
    return sum
  }

  /// The folded sum of the 16-bit words from `start` on, which lie before `end`.
  private static func sum(_ bytes: [UInt8], _ start: Int, _ end: Int) -> UInt32 {
    bytes.withUnsafeBufferPointer { bytes in
      var sum: UInt32 = 0
      var index = start
      while index + 1 < end {
        sum &+= UInt32(bytes[index]) << 8 | UInt32(bytes[index + 1])
        index += 2
      }
      if index < end { sum &+= UInt32(bytes[index]) << 8 }
      return fold(sum)
    }
  }
}

/// The flow of a frame as its sender or its receiver names it.
extension TCPFrame {
  private var addresses: (source: IPAddress, destination: IPAddress) {
    bytes.withUnsafeBytes { bytes in
      isIPv4
        ? (
          IPAddress(v4Native: bytes.loadUnaligned(fromByteOffset: 26, as: UInt32.self)),
          IPAddress(v4Native: bytes.loadUnaligned(fromByteOffset: 30, as: UInt32.self))
        )
        : (
          IPAddress(
            high: bytes.loadUnaligned(fromByteOffset: 22, as: UInt64.self),
            low: bytes.loadUnaligned(fromByteOffset: 30, as: UInt64.self)),
          IPAddress(
            high: bytes.loadUnaligned(fromByteOffset: 38, as: UInt64.self),
            low: bytes.loadUnaligned(fromByteOffset: 46, as: UInt64.self))
        )
    }
  }

  /// The flow of its sender.
  var sendersFlow: Flow {
    let addresses = self.addresses
    return Flow(
      local: addresses.source, localPort: sourcePort, remote: addresses.destination,
      remotePort: destinationPort)
  }

  /// The flow of its receiver.
  var receiversFlow: Flow {
    let addresses = self.addresses
    return Flow(
      local: addresses.destination, localPort: destinationPort, remote: addresses.source,
      remotePort: sourcePort)
  }
}
