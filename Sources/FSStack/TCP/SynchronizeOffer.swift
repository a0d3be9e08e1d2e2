/// What the SYN of a passive open said: all that has to be known of it until the handshake is
/// complete. The SYN cache keeps it; a SYN cookie carries most of it to the peer and back.
struct SynchronizeOffer: Equatable, BitwiseCopyable {
  /// Facts that are true or false.
  struct Flags: OptionSet, BitwiseCopyable {
    var rawValue: UInt8

    /// RFC 2018.
    static let sackPermitted = Self(rawValue: 1 << 0)
    /// RFC 7323.
    static let timestamps = Self(rawValue: 1 << 1)
    /// The peer has asked for explicit congestion notification, and gets it (RFC 3168 section 6.1.1).
    static let congestionNotification = Self(rawValue: 1 << 2)
  }

  /// The peer's initial sequence number.
  var sequence: SequenceNumber
  /// TS.Recent.
  var recentTimestamp: UInt32 = 0
  /// 0 when the option was absent.
  var maximumSegmentSize: UInt16
  /// `SegmentOptions.absentWindowScale` when the option was absent.
  var windowScale: UInt8 = SegmentOptions.absentWindowScale
  var flags: Flags = []

  /// An offer without options.
  init(sequence: SequenceNumber, maximumSegmentSize: UInt16) {
    self.sequence = sequence
    self.maximumSegmentSize = maximumSegmentSize
  }

  /// What a SYN offers; `usesECN` if it asks for explicit congestion notification and gets it.
  init(_ segment: borrowing Segment, usesECN: Bool) {
    sequence = segment.sequence
    maximumSegmentSize = segment.options.maximumSegmentSize
    windowScale = segment.options.windowScale
    if segment.options.sackPermitted { flags.insert(.sackPermitted) }
    if segment.options.hasTimestamp {
      flags.insert(.timestamps)
      recentTimestamp = segment.options.timestampValue
    }
    if usesECN { flags.insert(.congestionNotification) }
  }

  /// The SYN itself, as far as its options are concerned.
  var segment: Segment {
    var segment = Segment()
    segment.sequence = sequence
    segment.flags = .syn
    segment.options.maximumSegmentSize = maximumSegmentSize
    segment.options.windowScale = windowScale
    segment.options.sackPermitted = flags.contains(.sackPermitted)
    segment.options.hasTimestamp = flags.contains(.timestamps)
    segment.options.timestampValue = recentTimestamp
    return segment
  }
}
