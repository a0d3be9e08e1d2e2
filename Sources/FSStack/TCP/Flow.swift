/// What identifies a connection: both endpoints, which it keeps as long as it lives (MUST-45).
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
