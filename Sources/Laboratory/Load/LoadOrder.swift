/// What fs-load asks of a server.
public enum LoadKind: String, CaseIterable, Codable, Sendable {
  /// A connection for each HTTP request.
  case close
  /// HTTP requests on connections that stay.
  case keepAlive = "keep-alive"
  /// GET of one key of redis.
  case redisGet = "redis-get"
  /// SET of one key of redis.
  case redisSet = "redis-set"
  /// Bytes that come back as they are, on connections that stay.
  case echo
  /// The same with a connection for each.
  case echoClose = "echo-close"

  /// Whether a connection is used once.
  public var isShort: Bool { self == .close || self == .echoClose }
}

/// What fs-load has to do.
public struct LoadOrder: Codable, Sendable {
  /// The interface to whose TCP it helps itself.
  public var interface: String
  /// The server, `address:port`.
  public var target: String
  /// What is asked of the server.
  public var kind: LoadKind
  /// Connections at any time; with a rate, at most.
  public var connections = 64
  /// Connections that are opened first and do nothing.
  public var idle = 0
  /// Seconds that are measured.
  public var seconds = 3.0
  /// Seconds before.
  public var warmUp = 1.0
  /// Requests begun per second, at random moments whatever becomes of those before; 0: the next one
  /// when one is answered.
  public var rate = 0.0
  /// Requests sent at once on a connection.
  public var pipeline = 1
  /// Bytes of a response's body, of a value or of a message.
  public var size = 64
  /// What to ask an HTTP server for.
  public var path = "/text"
  /// Port on which a proxy under load finds its server, which then is the generator.
  public var backendPort: Int?
  /// The core to run on.
  public var core: Int?
  /// Microseconds without work after which it sleeps.
  public var spinMicroseconds = 50

  /// Creates an order of the default sizes.
  public init(interface: String, target: String, kind: LoadKind) {
    self.interface = interface
    self.target = target
    self.kind = kind
  }

  /// The command line of fs-load.
  public var arguments: [String] {
    var list = ["--iface", interface, "--target", target, "--load", kind.rawValue]
    list += ["--connections", "\(connections)", "--idle", "\(idle)", "--pipeline", "\(pipeline)"]
    list += ["--seconds", "\(seconds)", "--warm-up", "\(warmUp)", "--rate", "\(rate)"]
    list += ["--size", "\(size)", "--path", path, "--spin", "\(spinMicroseconds)"]
    if let backendPort { list += ["--serve", "\(backendPort)"] }
    if let core { list += ["--core", "\(core)"] }
    return list
  }
}
