/// SYN cookies (RFC 4987 section 3.6): our initial sequence number, made so that the acknowledgement
/// which completes the handshake proves by itself that there was a SYN, and what it said. Nothing is
/// remembered of the SYN meanwhile.
///
/// As in Linux, the number is the sum of
/// - a keyed hash of the flow, which does not change,
/// - the peer's initial sequence number, so that numbers grow from one incarnation to the next,
/// - the minute, in the upper 8 bits,
/// - in the lower 24, a keyed hash of the flow, the minute, the peer's number and the index of a
///   segment size.
///
/// In Linux the number and the index are only added. A late segment from the middle of a connection
/// that we have lost, whose two numbers have moved on by nearly the same, would then be taken for the
/// beginning of a new one.
///
/// A guess is right once in 2^28. What does not fit is in the lower bits of the timestamp, if the
/// peer uses timestamps; without them there is neither window scale nor selective acknowledgement.
enum SynchronizeCookie {
  /// An acknowledgement that comes later than so many minutes after the one of its SYN is too late.
  private static var maximumAge: UInt32 { 2 }
  /// While an endpoint has sent none for so long, no acknowledgement can be the answer to one.
  static var validity: Interval { .seconds(120) }

  /// Segment sizes that a cookie can name: the commonest, and so small ones that no peer is sent
  /// more than it asked for.
  private static let sizesIPv4: InlineArray<8, UInt16> = [
    48, 536, 1300, 1400, 1440, 1452, 1460, 8960,
  ]
  private static let sizesIPv6: InlineArray<8, UInt16> = [
    48, 1220, 1300, 1380, 1400, 1432, 1440, 8940,
  ]

  private static func minute(_ now: Instant) -> UInt64 { now.nanoseconds / 60_000_000_000 }

  // MARK: The sequence number

  /// The cookie for a SYN with this sequence number and segment size (0: none was announced).
  static func encode(
    _ flow: Flow, sequence: SequenceNumber, maximumSegmentSize: UInt16, secret: Secret,
    now: Instant
  ) -> SequenceNumber {
    let isIPv4 = flow.local.isIPv4
    let sizes = isIPv4 ? sizesIPv4 : sizesIPv6
    let size = maximumSegmentSize == 0 ? (isIPv4 ? 536 : 1220) : maximumSegmentSize
    var index = sizes.count - 1
    while index > 0 && sizes[index] > size { index -= 1 }
    let minute = minute(now)
    let body =
      secret.cookie(
        flow, minute: minute + 1, sequence: sequence.value, index: index) & 0xff_ffff
    let age = UInt32(truncatingIfNeeded: minute) &<< 24
    return SequenceNumber(
      secret.cookie(flow, minute: 0) &+ sequence.value &+ age &+ body)
  }

  /// The segment size in a cookie that was sent for a SYN with this sequence number; nil if it is
  /// none, or too old.
  static func decode(
    _ cookie: SequenceNumber, _ flow: Flow, sequence: SequenceNumber, secret: Secret, now: Instant
  ) -> UInt16? {
    let rest = cookie.value &- secret.cookie(flow, minute: 0) &- sequence.value
    let minute = minute(now)
    let age = (UInt32(truncatingIfNeeded: minute) &- rest >> 24) & 0xff
    guard age < maximumAge, UInt64(age) <= minute else { return nil }
    let sizes = flow.local.isIPv4 ? sizesIPv4 : sizesIPv6
    for index in sizes.indices {
      let hash = secret.cookie(
        flow, minute: minute - UInt64(age) + 1, sequence: sequence.value, index: index)
      if (rest ^ hash) & 0xff_ffff == 0 { return sizes[index] }
    }
    return nil
  }

  // MARK: The timestamp

  /// Bits of the timestamp in which the other options are: window scale (15: none), selective
  /// acknowledgement, explicit congestion notification.
  private static var timestampMask: UInt32 { 63 }

  /// The latest timestamp, not after `clock` (our clock towards the peer, without its shift), that
  /// carries the options of an offer.
  static func timestamp(_ clock: UInt32, _ offer: SynchronizeOffer) -> UInt32 {
    var options: UInt32 =
      offer.windowScale == SegmentOptions.absentWindowScale ? 15 : UInt32(offer.windowScale)
    if offer.flags.contains(.sackPermitted) { options |= 1 << 4 }
    if offer.flags.contains(.congestionNotification) { options |= 1 << 5 }
    let value = clock & ~timestampMask | options
    return options > clock & timestampMask ? value &- (timestampMask + 1) : value
  }

  /// Takes the options from the echo of a timestamp (without its shift); false if none of the last
  /// minutes was sent with it.
  static func takeOptions(
    _ echo: UInt32, clock: UInt32, into offer: inout SynchronizeOffer
  ) -> Bool {
    let limit = UInt32(validity.nanoseconds / 1_000_000) + timestampMask + 1
    guard clock &- echo <= limit else { return false }
    let scale = UInt8(echo & 15)
    offer.windowScale = scale == 15 ? SegmentOptions.absentWindowScale : scale
    if echo & 1 << 4 != 0 { offer.flags.insert(.sackPermitted) }
    if echo & 1 << 5 != 0 { offer.flags.insert(.congestionNotification) }
    return true
  }
}
