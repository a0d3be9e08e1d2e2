/// What identifies a connection: both endpoints.
struct Flow: BitwiseCopyable, Equatable, Sendable {
  var local: IPAddress
  var remote: IPAddress
  var localPort: UInt16
  var remotePort: UInt16

  init(local: IPAddress, localPort: UInt16, remote: IPAddress, remotePort: UInt16) {
    self.local = local
    self.remote = remote
    self.localPort = localPort
    self.remotePort = remotePort
  }

  /// The flow that a received segment belongs to.
  @inline(__always)
  init(_ segment: borrowing Segment) {
    local = segment.destination
    remote = segment.source
    localPort = segment.destinationPort
    remotePort = segment.sourcePort
  }

  /// Both ports in one word.
  @inline(__always)
  var ports: UInt64 { UInt64(localPort) << 16 | UInt64(remotePort) }
}

/// The key of everything that must not be predictable from outside: table positions, initial
/// sequence numbers, timestamp offsets, ports. All engines of a daemon share it, so that they
/// agree on the owner of a flow.
struct Secret: Sendable {
  let words: (UInt64, UInt64, UInt64, UInt64)

  /// Multiplies to 128 bits and folds: two rounds of this mix every input bit into every output
  /// bit, and without the key the result cannot be computed.
  @inline(__always)
  static func mix(_ a: UInt64, _ b: UInt64) -> UInt64 {
    let product = a.multipliedFullWidth(by: b)
    return product.high ^ product.low
  }

  /// A keyed hash of a flow; `purpose` gives independent functions.
  @inline(__always)
  func hash(_ flow: Flow, purpose: UInt64 = 0) -> UInt64 {
    let local = Self.mix(flow.local.high ^ words.0, flow.local.low ^ words.1)
    let remote = Self.mix(flow.remote.high ^ words.2, flow.remote.low ^ words.3)
    return Self.mix(
      local ^ flow.ports ^ words.2, remote ^ words.1 ^ purpose &* 0x9e37_79b9_7f4a_7c15)
  }

  /// A keyed hash of one address.
  @inline(__always)
  func hash(_ address: IPAddress, port: UInt16 = 0) -> UInt64 {
    Self.mix(
      Self.mix(address.high ^ words.0, address.low ^ words.1) ^ UInt64(port) ^ words.2, words.3)
  }
}
