/// The two ECN bits of an IP header (RFC 3168 section 5).
struct ECNCodepoint: Equatable, BitwiseCopyable, Sendable {
  var bits: UInt8

  /// Of the traffic class octet: type of service in IPv4.
  @inline(__always)
  init(trafficClass: UInt8) { bits = trafficClass & 3 }

  /// Not-ECT: routers drop it.
  static var notCapable: Self { Self(trafficClass: 0) }
  /// ECT(1).
  static var capable1: Self { Self(trafficClass: 1) }
  /// ECT(0): routers may mark it instead.
  static var capable0: Self { Self(trafficClass: 2) }
  /// CE: a router has marked it.
  static var congestionExperienced: Self { Self(trafficClass: 3) }
}
