/// Why a received frame, or something that should have been sent, was thrown away. Each has a
/// counter; the comment says exactly when it counts.
public enum DropReason: UInt8, CaseIterable, Sendable {
  // Ethernet and IP.

  /// The frame ends before the fixed headers that its type promises.
  case frameTooShort
  /// The frame carries neither IPv4 nor IPv6, or more than one VLAN tag.
  case notIP
  /// An IPv4 header has another version than 4, fewer than 20 bytes, or more than the frame.
  case ipv4HeaderLength
  /// An IPv4 total length is less than the header or more than the frame holds.
  case ipv4TotalLength
  /// An IPv4 header checksum is wrong.
  case ipv4HeaderChecksum
  /// An IPv4 header has options of an impossible length, or a source route (RFC 7126 section 4.3).
  case ipv4Options
  /// An IPv4 or IPv6 fragment of a larger packet: fragments are not reassembled.
  case fragment
  /// The source address is of no other single host (multicast, broadcast, loopback, unspecified,
  /// an IPv4 address inside IPv6), or equals the destination address.
  case sourceAddressInvalid
  /// The packet came in a link-layer broadcast or multicast, or its destination is not local.
  case destinationNotLocal
  /// The packet carries neither TCP nor ICMP.
  case notTCP
  /// An IPv6 header has another version than 6, or a payload length of 0 or beyond the frame.
  case ipv6Header
  /// An IPv6 extension header runs past the packet, is misplaced, has segments left, holds an
  /// option that must not be ignored, or there are more than eight.
  case ipv6ExtensionHeader

  // TCP and ICMP headers.

  /// The IP payload is shorter than a TCP header.
  case tcpHeaderTruncated
  /// A TCP data offset is less than 5 or beyond the segment.
  case tcpDataOffset
  /// A TCP checksum is wrong.
  case tcpChecksum
  /// The options of a segment end inside an option or contain an impossible length. The segment is
  /// processed with the options before that place, as Linux does; only the flaw is counted.
  case tcpOptionMalformed
  /// The TCP flags exclude each other (SYN with FIN or RST) or say nothing (none of SYN, RST, ACK).
  case flagsInvalid
  /// An ICMP message is truncated, has a wrong checksum, is no error, or quotes no TCP segment.
  case icmpMalformed
  /// An ICMP error quotes a segment that no connection has in flight.
  case icmpNoFlow

  // TCP.

  /// A connection request found the queue of its listener full.
  case listenQueueFull
  /// A segment belongs to no connection, and no listener has its port.
  case noListener
  /// A segment lies wholly outside the receive window, or behind the peer's FIN.
  case outOfWindow
  /// Received bytes found no free receive chunk; the peer will send them again.
  case noReceiveChunk
  /// A segment ahead of a gap found the reassembly queue full.
  case reassemblyFull
  /// A new connection found the connection table full.
  case connectionTableFull
  /// A segment to be sent found no free transmit frame.
  case transmitQueueFull
  /// A segment's timestamp is older than the last one (PAWS, RFC 7323 section 5).
  case pawsRejected
  /// A segment acknowledges what was never sent, or what is too old (RFC 5961 section 5).
  case ackUnacceptable
  /// A frame for another engine found the ring to that engine full.
  case handOverFull
  /// A segment belongs to a connection that has just been handed over to the kernel; the peer will
  /// send it again.
  case movedToKernel

  /// The name under which statistics show the counter.
  public var name: String { "\(self)" }
}
