/// The control bits of a TCP header (RFC 9293 section 3.1).
struct TCPFlags: OptionSet, BitwiseCopyable, Sendable {
  var rawValue: UInt8

  @inline(__always)
  init(rawValue: UInt8) { self.rawValue = rawValue }

  static var fin: Self { Self(rawValue: 0x01) }
  static var syn: Self { Self(rawValue: 0x02) }
  static var rst: Self { Self(rawValue: 0x04) }
  static var psh: Self { Self(rawValue: 0x08) }
  static var ack: Self { Self(rawValue: 0x10) }
  static var urg: Self { Self(rawValue: 0x20) }
  static var ece: Self { Self(rawValue: 0x40) }
  static var cwr: Self { Self(rawValue: 0x80) }

  /// Whether a segment with these flags can belong to some connection.
  ///
  /// SYN excludes FIN and RST, and a segment without SYN or RST acknowledges something
  /// (RFC 9293 section 3.10.7.4, fifth step): null, FIN-only and "Xmas" probes are none.
  @inline(__always)
  var isPossible: Bool {
    let core = rawValue & 0x17
    if core & 0x02 != 0 { return core & 0x05 == 0 }
    return core & 0x14 != 0
  }
}
