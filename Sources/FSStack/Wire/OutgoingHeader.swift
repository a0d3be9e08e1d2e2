/// Everything that the headers of a segment to be sent need.
struct OutgoingHeader: BitwiseCopyable, Sendable {
  var sourceMAC = MACAddress()
  var destinationMAC = MACAddress()
  /// Tag control information of an 802.1Q tag; 0xffff for none.
  var vlan = NetworkLayer.untagged
  var source = IPAddress.unspecified
  var destination = IPAddress.unspecified
  var sourcePort: UInt16 = 0
  var destinationPort: UInt16 = 0
  var hopLimit: UInt8 = 64
  /// Differentiated services and ECN bits.
  var trafficClass: UInt8 = 0
  var flags = TCPFlags(rawValue: 0)
  /// As it stands in the header, already scaled.
  var window: UInt16 = 0
  /// As it stands in the header; zero without URG.
  var urgentPointer: UInt16 = 0
  var sequence = SequenceNumber(0)
  var acknowledgement = SequenceNumber(0)
  var options = OutgoingOptions()

  @inline(__always)
  init() {}

  /// Bytes of all headers.
  @inline(__always)
  var length: Int { networkOffset + (source.isIPv4 ? 20 : 40) + 20 + options.length }

  @inline(__always)
  private var networkOffset: Int { vlan == NetworkLayer.untagged ? 14 : 18 }

  /// Writes the headers, with complete checksums (MUST-2), before a payload that already stands at
  /// `frame + length`. Every byte of the headers is written.
  ///
  /// `payloadSum` is the `Checksum` sum of the payload.
  @inline(__always)
  func write(to frame: UnsafeMutableRawPointer, payloadLength: Int, payloadSum: UInt64) {
    let isIPv4 = source.isIPv4
    let optionLength = options.length
    let tcpLength = 20 + optionLength + payloadLength
    unsafe writeEthernet(to: frame, etherType: isIPv4 ? EtherType.ipv4 : EtherType.ipv6)
    let header = unsafe frame + networkOffset
    if isIPv4 {
      let addressSum = unsafe writeIPv4(to: header, totalLength: 20 + tcpLength)
      let pseudoSum = NetworkLayer.pseudoHeaderSum(
        addressSum, transport: NetworkLayer.tcp, length: tcpLength)
      unsafe writeTCP(to: header + 20, optionLength: optionLength, sum: pseudoSum &+ payloadSum)
    } else {
      let addressSum = unsafe writeIPv6(to: header, payloadLength: tcpLength)
      let pseudoSum = NetworkLayer.pseudoHeaderSum(
        addressSum, transport: NetworkLayer.tcp, length: tcpLength)
      unsafe writeTCP(to: header + 40, optionLength: optionLength, sum: pseudoSum &+ payloadSum)
    }
  }

  @inline(__always)
  private func writeEthernet(to frame: UnsafeMutableRawPointer, etherType: UInt16) {
    unsafe frame.putNative(destinationMAC.first, at: 0)
    unsafe frame.putNative(destinationMAC.last, at: 4)
    unsafe frame.putNative(sourceMAC.first, at: 6)
    unsafe frame.putNative(sourceMAC.last, at: 10)
    if vlan == NetworkLayer.untagged {
      unsafe frame.putNetwork(etherType, at: 12)
    } else {
      unsafe frame.putNetwork(EtherType.vlan, at: 12)
      unsafe frame.putNetwork(vlan, at: 14)
      unsafe frame.putNetwork(etherType, at: 16)
    }
  }

  /// Writes an IPv4 header and returns the sum of its addresses. Identification is 0: it means
  /// nothing in a packet that may not be fragmented (RFC 6864 section 4.1), and is the same when a
  /// segment is sent again (MAY-4).
  @inline(__always)
  private func writeIPv4(to header: UnsafeMutableRawPointer, totalLength: Int) -> UInt64 {
    let lengthWord =
      (0x4500_0000 | UInt32(trafficClass) << 16 | UInt32(UInt16(totalLength))).bigEndian
    let fragmentWord = UInt32(0x0000_4000).bigEndian
    // The sums are of the values, not of the memory just written: that would stall the loads.
    let hopWord = (UInt32(hopLimit) << 24 | UInt32(NetworkLayer.tcp) << 16).bigEndian
    let from = source.v4Native
    let to = destination.v4Native
    let addressSum = UInt64(from) &+ UInt64(to)
    let sum = addressSum &+ UInt64(lengthWord) &+ UInt64(fragmentWord) &+ UInt64(hopWord)
    unsafe header.putNative(lengthWord, at: 0)
    unsafe header.putNative(fragmentWord, at: 4)
    unsafe header.putNetwork(UInt16(hopLimit) << 8 | UInt16(NetworkLayer.tcp), at: 8)
    unsafe header.putNative(~Checksum.fold(sum), at: 10)
    unsafe header.putNative(from, at: 12)
    unsafe header.putNative(to, at: 16)
    return addressSum
  }

  /// Writes an IPv6 header and returns the sum of its addresses.
  @inline(__always)
  private func writeIPv6(to header: UnsafeMutableRawPointer, payloadLength: Int) -> UInt64 {
    unsafe header.putNetwork(0x6000_0000 | UInt32(trafficClass) << 20, at: 0)
    unsafe header.putNetwork(UInt16(payloadLength), at: 4)
    unsafe header.putNetwork(UInt16(NetworkLayer.tcp) << 8 | UInt16(hopLimit), at: 6)
    unsafe header.putNative(source.high, at: 8)
    unsafe header.putNative(source.low, at: 16)
    unsafe header.putNative(destination.high, at: 24)
    unsafe header.putNative(destination.low, at: 32)
    return Checksum.halves(source.high) &+ Checksum.halves(source.low)
      &+ Checksum.halves(destination.high) &+ Checksum.halves(destination.low)
  }

  /// Writes the TCP header and its options. `sum` is that of the pseudo-header and the payload.
  @inline(__always)
  private func writeTCP(to tcp: UnsafeMutableRawPointer, optionLength: Int, sum: UInt64) {
    let ports = (UInt32(sourcePort) << 16 | UInt32(destinationPort)).bigEndian
    let sequence = self.sequence.value.bigEndian
    let acknowledgement = self.acknowledgement.value.bigEndian
    let dataOffset = UInt32(truncatingIfNeeded: 5 + optionLength / 4)
    let control = (dataOffset << 28 | UInt32(flags.rawValue) << 16 | UInt32(window)).bigEndian
    unsafe tcp.putNative(ports, at: 0)
    unsafe tcp.putNative(sequence, at: 4)
    unsafe tcp.putNative(acknowledgement, at: 8)
    unsafe tcp.putNative(control, at: 12)
    var sum = sum &+ UInt64(ports) &+ UInt64(sequence) &+ UInt64(acknowledgement)
    let urgent = urgentPointer.bigEndian
    sum = sum &+ UInt64(control) &+ UInt64(urgent)
    if options.isTimestampAlone {
      let value = options.timestampValue.bigEndian
      let echo = options.timestampEcho.bigEndian
      let layout = Segment.timestampLayout.bigEndian
      unsafe tcp.putNative(layout, at: 20)
      unsafe tcp.putNative(value, at: 24)
      unsafe tcp.putNative(echo, at: 28)
      sum = sum &+ UInt64(layout) &+ UInt64(value) &+ UInt64(echo)
    } else if optionLength > 0 {
      var options = self.options
      sum = unsafe sum &+ options.write(to: tcp + 20)
    }
    unsafe tcp.putNative(~Checksum.fold(sum), at: 16)
    unsafe tcp.putNative(urgent, at: 18)
  }
}
