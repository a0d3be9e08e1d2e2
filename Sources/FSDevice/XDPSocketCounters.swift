/// What one AF_XDP socket has done.
public struct XDPSocketCounters: Equatable, Sendable {
  /// Frames received.
  public var receivedPackets: UInt64 = 0
  /// Bytes received, Ethernet headers included.
  public var receivedBytes: UInt64 = 0
  /// Frames queued for transmission.
  public var transmittedPackets: UInt64 = 0
  /// Bytes queued for transmission, Ethernet headers included.
  public var transmittedBytes: UInt64 = 0
  /// System calls that asked the kernel to transmit.
  public var kicks: UInt64 = 0
  /// Of those: the kernel took a part only, for its budget, a full send buffer or a full device.
  public var kickAgain: UInt64 = 0
  /// Of those: the kernel had no memory for a packet.
  public var kickNoBuffers: UInt64 = 0
  /// Of those: the device threw a packet away.
  public var kickDropped: UInt64 = 0
  /// Of those: refused for another reason, such as an interface that is down.
  public var kickFailed: UInt64 = 0
  /// System calls that told the driver about free receive frames.
  public var receiveWakeups: UInt64 = 0

  /// All zero.
  public init() {}

  /// Every counter with its name.
  public var entries: [(name: String, value: UInt64)] {
    [
      ("receivedPackets", receivedPackets), ("receivedBytes", receivedBytes),
      ("transmittedPackets", transmittedPackets), ("transmittedBytes", transmittedBytes),
      ("kicks", kicks), ("kickAgain", kickAgain), ("kickNoBuffers", kickNoBuffers),
      ("kickDropped", kickDropped), ("kickFailed", kickFailed),
      ("receiveWakeups", receiveWakeups),
    ]
  }
}

/// What the kernel counts about one AF_XDP socket (XDP_STATISTICS).
public struct XDPStatistics: Equatable, Sendable {
  /// Received packets dropped for other reasons than those below.
  public var receiveDropped: UInt64 = 0
  /// Descriptors in the fill ring that named no frame.
  public var receiveInvalid: UInt64 = 0
  /// Descriptors in the transmit ring that named no frame.
  public var transmitInvalid: UInt64 = 0
  /// Received packets dropped because the receive ring was full.
  public var receiveRingFull: UInt64 = 0
  /// Times the fill ring was empty.
  public var fillRingEmpty: UInt64 = 0
  /// Times the transmit ring was empty.
  public var transmitRingEmpty: UInt64 = 0

  /// All zero.
  public init() {}

  /// Every counter with its name.
  public var entries: [(name: String, value: UInt64)] {
    [
      ("receiveDropped", receiveDropped), ("receiveInvalid", receiveInvalid),
      ("transmitInvalid", transmitInvalid), ("receiveRingFull", receiveRingFull),
      ("fillRingEmpty", fillRingEmpty), ("transmitRingEmpty", transmitRingEmpty),
    ]
  }
}
