/// The states of RFC 9293 figure 5, in its order, so that ranges mean something: from `established`
/// on a connection is synchronized. LISTEN is the listen table's, TIME-WAIT the `TimeWaitTable`'s.
public enum TCPState: UInt8, BitwiseCopyable, CaseIterable, Comparable, Sendable {
  /// No connection. In the slab: over, but the application has not yet given its slot back.
  case closed
  /// Waiting for a SYN. Only counted, never a connection's state.
  case listen
  /// A SYN has been sent.
  case synSent
  /// A SYN has been sent and one received.
  case synReceived
  /// Data flows both ways.
  case established
  /// Our FIN is out, not acknowledged.
  case finWait1
  /// Our FIN is acknowledged; the peer may still send.
  case finWait2
  /// The peer has sent its FIN; the application may still send.
  case closeWait
  /// Both FINs are out, ours is not acknowledged.
  case closing
  /// The peer has finished, our FIN is out.
  case lastAck
  /// Waiting for old segments to die. Only counted, never a connection's state.
  case timeWait

  /// Compares positions in the order above.
  public static func < (a: TCPState, b: TCPState) -> Bool { a.rawValue < b.rawValue }

  /// Whether the peer may still send data: its FIN has not been received.
  var canReceive: Bool {
    self == .established || self == .finWait1 || self == .finWait2
  }
}

/// Errors that an application sees as SO_ERROR, with Linux's numbers (errno(3)).
enum SocketError {
  static var accessDenied: UInt16 { 13 }
  static var pipe: UInt16 { 32 }
  static var noNetwork: UInt16 { 64 }
  static var protocolError: UInt16 { 71 }
  static var messageSize: UInt16 { 90 }
  static var protocolNotAvailable: UInt16 { 92 }
  static var notSupported: UInt16 { 95 }
  static var addressNotAvailable: UInt16 { 99 }
  static var networkUnreachable: UInt16 { 101 }
  static var connectionReset: UInt16 { 104 }
  static var noBufferSpace: UInt16 { 105 }
  static var timedOut: UInt16 { 110 }
  static var connectionRefused: UInt16 { 111 }
  static var hostDown: UInt16 { 112 }
  static var hostUnreachable: UInt16 { 113 }
}
