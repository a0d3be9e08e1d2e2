/// What identifies a connection to the owner of an engine: both endpoints.
public struct FlowAddress: Hashable, Sendable {
  /// This host's address.
  public var local: IPAddress
  /// This host's port.
  public var localPort: UInt16
  /// The peer's address.
  public var remote: IPAddress
  /// The peer's port.
  public var remotePort: UInt16

  /// The connection between two endpoints.
  public init(local: IPAddress, localPort: UInt16, remote: IPAddress, remotePort: UInt16) {
    self.local = local
    self.localPort = localPort
    self.remote = remote
    self.remotePort = remotePort
  }

  init(_ flow: Flow) {
    self.init(
      local: flow.local, localPort: flow.localPort, remote: flow.remote,
      remotePort: flow.remotePort)
  }
}

extension Flow {
  init(_ address: FlowAddress) {
    self.init(
      local: address.local, localPort: address.localPort, remote: address.remote,
      remotePort: address.remotePort)
  }
}

/// A connection with everything that another stack needs to go on with it. Numbers are sequence
/// numbers of the connection; windows are in bytes.
public struct ExportedConnection: Equatable, Sendable {
  /// Both endpoints.
  public var address: FlowAddress
  /// Number of the first byte of `unacknowledged`, or of what would be sent next.
  public var sendUnacknowledged: UInt32
  /// RCV.NXT: one past the last of `unread`, and past the peer's FIN if that has arrived.
  public var receiveNext: UInt32
  /// SND.WND.
  public var sendWindow: UInt32
  /// The largest window that the peer has offered.
  public var largestSendWindow: UInt32
  /// SND.WL1.
  public var windowUpdateSequence: UInt32
  /// What the peer may send beyond `receiveNext`.
  public var receiveWindow: UInt32
  /// Shift of the windows that the peer sends.
  public var sendScale: UInt8
  /// Shift of the windows that we send.
  public var receiveScale: UInt8
  /// Bytes that the peer takes in a segment, options not deducted.
  public var maximumSegmentSize: UInt16
  /// RFC 2018.
  public var permitsSelectiveAcknowledgements: Bool
  /// The value of our timestamp clock, which counts milliseconds; nil without timestamps.
  public var timestamp: UInt32?
  /// There is an end behind `unread`: the peer's FIN has arrived, or shutdown(SHUT_RD) was called.
  public var isReadOver: Bool
  /// There is an end behind `unsent`: our FIN has been, or is to be, sent.
  public var isWriteShut: Bool
  /// Bytes received, in order, that the application has not read.
  public var unread: [UInt8]
  /// Bytes sent and not acknowledged.
  public var unacknowledged: [UInt8]
  /// Bytes never sent.
  public var unsent: [UInt8]
  /// The listener that it was accepted from.
  public var listener: UInt32?
  /// The channel that it was of.
  public var channel: ChannelID
  /// Its application has closed it.
  public var isOrphan = false
  /// When it came to its owner.
  public var ownedSince: Instant
  /// Of a connection within this host, the other end, if it is not over. Both must go on together.
  public var otherEnd: [ExportedConnection] = []
}
