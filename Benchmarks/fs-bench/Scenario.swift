import Laboratory

/// A program under load.
struct Scenario {
  /// The program, as `ServerSide` starts it.
  enum Program {
    case nginx, haproxy, lighttpd, redis
    /// An application that does as little as possible.
    case echo(EchoMode)

    /// Whether it has servers behind it, which the generator is, too.
    var isProxy: Bool { if case .haproxy = self { true } else { false } }

    /// Whether it takes bytes without end.
    var takesBulk: Bool { if case .echo(.sink) = self { true } else { false } }
  }

  /// What the application that does little does.
  enum EchoMode: String {
    /// Sends back what it gets.
    case echo
    /// The same, and then closes.
    case close
    /// Reads.
    case sink
    /// Writes.
    case source
  }

  /// What it is called on the command line.
  let name: String
  /// What a person calls it.
  let title: String
  let program: Program
  /// What fs-load asks of it; none: a client of the kernel's transfers as many bytes as it can.
  var kind: LoadKind?
  /// Connections at any time; nil: as many as keep the server's core busy.
  var ordered: Int?
  /// Connections that do nothing meanwhile.
  var idle = 0
  /// Requests sent at once.
  var pipeline = 1

  /// Whether bytes are counted, not answers.
  var isBulk: Bool { kind == nil }
  /// Whether a connection is used once.
  var isShort: Bool { kind?.isShort ?? false }
  /// Connections at any time.
  var connections: Int {
    ordered ?? (isShort || pipeline > 1 ? Self.busyConnections : Self.waitingConnections)
  }
  /// Whether latency is measured at a fixed rate, too.
  var hasFixedRate: Bool { !isBulk && pipeline == 1 }
  /// What is counted.
  var unit: String { isBulk ? "Mbit/s" : isShort ? "connections/s" : "requests/s" }
  /// What one operation is, for costs.
  var operation: String { isBulk ? "MB" : isShort ? "connection" : "request" }

  /// With as many short ones, or such that ask 16 times at once, the server's core is busy; with twice as many
  /// the kernel answers so late that segments are sent again.
  static let busyConnections = 64
  /// With half as many that wait for their answers, client and server take turns, and fsd's core is idle for a
  /// third of the time.
  static let waitingConnections = 128
  /// As many as leave some of 20,000 descriptors, to which the design machine limits a process.
  private static let idleLimit = 19_500

  static let all: [Scenario] = [
    Scenario(
      name: "nginx-close", title: "nginx, short connections", program: .nginx, kind: .close),
    Scenario(
      name: "nginx-keep-alive", title: "nginx, keep-alive", program: .nginx, kind: .keepAlive),
    Scenario(
      name: "haproxy-close", title: "HAProxy, short connections on both sides", program: .haproxy,
      kind: .close),
    Scenario(
      name: "haproxy-keep-alive", title: "HAProxy, keep-alive", program: .haproxy, kind: .keepAlive),
    Scenario(
      name: "lighttpd-close", title: "lighttpd, short connections", program: .lighttpd,
      kind: .close),
    Scenario(name: "redis-get-1", title: "redis GET", program: .redis, kind: .redisGet),
    Scenario(
      name: "redis-get-16", title: "redis GET, 16 at once", program: .redis, kind: .redisGet,
      pipeline: 16),
    Scenario(name: "redis-set-1", title: "redis SET", program: .redis, kind: .redisSet),
    Scenario(
      name: "redis-set-16", title: "redis SET, 16 at once", program: .redis, kind: .redisSet,
      pipeline: 16),
    Scenario(
      name: "receive-1", title: "server sends, 1 stream", program: .echo(.source),
      ordered: 1),
    Scenario(
      name: "receive-32", title: "server sends, 32 streams", program: .echo(.source),
      ordered: 32),
    Scenario(
      name: "send-1", title: "server receives, 1 stream", program: .echo(.sink),
      ordered: 1),
    Scenario(
      name: "send-32", title: "server receives, 32 streams", program: .echo(.sink),
      ordered: 32),
    Scenario(
      name: "idle", title: "nginx, keep-alive beside 19,500 idle connections", program: .nginx,
      kind: .keepAlive, idle: idleLimit),
    Scenario(
      name: "echo", title: "empty application, 64-byte messages", program: .echo(.echo),
      kind: .echo),
    Scenario(
      name: "echo-close", title: "empty application, short connections", program: .echo(.close),
      kind: .echoClose),
  ]

  static func named(_ name: String) -> Scenario? { all.first { $0.name == name } }

  /// The scenarios whose names begin with `text`.
  static func matching(_ text: String) throws -> [String] {
    if named(text) != nil { return [text] }
    let names = all.map(\.name).filter { $0.hasPrefix(text) }
    guard !names.isEmpty else {
      throw LaboratoryError(
        "no scenario \(text); there are \(all.map(\.name).joined(separator: ", "))")
    }
    return names
  }
}

/// What the link between client and server is like.
enum Tier: String, Codable, CaseIterable {
  /// As a wire: no packet larger than the MTU, each with its checksum, made and checked, and each side
  /// receives on its own core.
  case wire
  /// The same packets, but received on the sender's core, as a virtual link does by itself.
  case sender
  /// As between containers on one machine: the kernel leaves out checksums, and what a card would do
  /// to large packets.
  case native

  var title: String {
    switch self {
    case .wire: "wire-like"
    case .sender: "wire-like, received on the sender's core"
    case .native: "veth-native"
    }
  }

  /// What is measured there unless scenarios are chosen.
  var scenarios: [String] {
    self == .wire
      ? Scenario.all.map(\.name)
      : [
        "nginx-close", "nginx-keep-alive", "haproxy-close", "redis-get-1", "receive-1", "send-1",
      ]
  }
}
