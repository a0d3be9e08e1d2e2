/// Socket options of a listener that matter before there is a connection to have them. The sockets of
/// a SO_REUSEPORT group share an endpoint: the last to say something is heard.
public struct ListenerOptions: Equatable, Sendable {
  /// TCP_DEFER_ACCEPT, seconds; 0 for none.
  public var deferAccept = 0
  /// TCP_SYNCNT: times that a SYN-ACK is sent again; nil for what is usual.
  public var synchronizeRetries: UInt8?
  /// TCP_MAXSEG: the largest segment that is announced, and sent; 0 for what the path carries.
  public var maximumSegmentSize: UInt16 = 0

  /// Nothing was set.
  public init() {}
}

extension Endpoint {
  /// Takes up the options of one of its sockets.
  mutating func set(_ options: ListenerOptions) {
    deferAccept = Self.deferAccept(seconds: options.deferAccept)
    synchronizeRetries = options.synchronizeRetries ?? Self.usualRetries
    userSegmentSize = options.maximumSegmentSize
  }
}
