import Foundation

/// A running fsd.
public final class Daemon: Sendable {
  /// Where it runs.
  public unowned let host: NetworkHost
  /// Its process.
  public let process: ChildProcess

  init(host: NetworkHost, process: ChildProcess) {
    self.host = host
    self.process = process
  }

  /// The counters of `fsd stats --json`.
  public func statistics() throws -> DaemonStatistics {
    try DaemonStatistics(json: host.runDaemonCommand(["stats", "--json"]))
  }

  /// What `fsd status` shows.
  public func status() throws -> String { try host.runDaemonCommand(["status"]) }

  /// The listeners that `fsd status --json` shows.
  public func listeners() throws -> [AcceleratedListener] {
    struct Status: Decodable { var listeners: [AcceleratedListener] }
    let text = try host.runDaemonCommand(["status", "--json"])
    return try JSONDecoder().decode(Status.self, from: Data(text.utf8)).listeners
  }

  /// Descriptors that the daemon has open.
  public func descriptorCount() throws -> Int {
    try FileManager.default.contentsOfDirectory(atPath: "/proc/\(process.identifier)/fd").count
  }

  /// Memory of the daemon that is in use, in bytes.
  public func residentBytes() throws -> Int {
    let text = try String(
      contentsOfFile: "/proc/\(process.identifier)/statm", encoding: .utf8)
    return (text.split(separator: " ").dropFirst().first.flatMap { Int($0) } ?? 0) * 4096
  }

  /// Stops it in good order and waits until it has ended.
  public func stop() throws {
    try host.runDaemonCommand(["stop"])
    host.daemon = nil
    guard let status = process.wait(seconds: 10) else {
      throw LaboratoryError("fsd still runs 10 s after fsd stop\n\(process.errorOutput)")
    }
    guard status.isSuccess else {
      throw LaboratoryError("fsd ended with \(status)\n\(process.errorOutput)")
    }
  }

  /// Kills it without warning.
  public func kill() {
    process.signal(SIGKILL)
    _ = process.wait(seconds: 5)
    host.daemon = nil
  }
}

/// A listening socket that the engines serve.
public struct AcceleratedListener: Decodable, Sendable {
  /// Its address.
  public let address: String
  /// Its port.
  public let port: Int
  /// The channels that take its connections.
  public let acceptors: [Acceptor]

  /// A channel that takes connections.
  public struct Acceptor: Decodable, Sendable {
    /// The process.
    public let process: Int
    /// The engine of the channel.
    public let engine: Int
  }
}

extension NetworkHost {
  /// Starts the daemon on `interfaces` in the foreground and waits until it answers. Without one
  /// when the laboratory uses the kernel: then this does nothing. `options` are further ones of
  /// `fsd start`, `environment` is the daemon's.
  @discardableResult
  public func startDaemon(
    interfaces: [String], cores: String? = nil, options: [String] = [],
    environment: [String: String] = [:]
  ) throws -> Daemon? {
    guard !laboratory.usesKernel else { return nil }
    var arguments = [laboratory.artifacts.daemon, "start", "--foreground"]
    arguments += ["--runtime-dir", runtimeDirectory]
    for interface in interfaces { arguments += ["--iface", interface] }
    if let cores { arguments += ["--cores", cores] }
    let process = try start(arguments + options, environment: environment)
    let answers = try waitUntil(seconds: 15, every: 0.05) {
      guard process.isRunning else {
        throw LaboratoryError(
          "fsd start has ended: \(process.poll().map(\.description) ?? "")\n\(process.errorOutput)")
      }
      return (try? runDaemonCommand(["status"])) != nil
    }
    guard answers else {
      process.terminate()
      throw LaboratoryError("fsd does not answer\n\(process.errorOutput)")
    }
    let started = Daemon(host: self, process: process)
    daemon = started
    return started
  }

  /// Runs a command of fsd for the daemon of this host and returns what it prints.
  @discardableResult
  public func runDaemonCommand(_ arguments: [String]) throws -> String {
    do {
      return try run(
        [laboratory.artifacts.daemon] + arguments,
        environment: ["FSD_RUNTIME_DIR": runtimeDirectory], seconds: 20)
    } catch {
      guard let process = daemon?.process, let end = process.poll() else { throw error }
      throw LaboratoryError("fsd has ended with \(end)\n\(process.errorOutput.suffix(4000))")
    }
  }
}

/// The numbers of `fsd stats --json`, each under its path: `connections.established`.
public struct DaemonStatistics: Sendable, CustomStringConvertible {
  /// Those of each engine.
  public private(set) var engines: [[String: Double]] = []
  /// Those of all engines together.
  public private(set) var total: [String: Double] = [:]

  /// Reads the output of `fsd stats --json`.
  public init(json: String) throws {
    let object = try JSONSerialization.jsonObject(with: Data(json.utf8))
    guard let fields = object as? [String: Any], let list = fields["engines"] as? [Any] else {
      throw LaboratoryError("fsd stats --json has no list of engines: \(json.prefix(300))")
    }
    engines = list.map { Self.flatten($0) }
    total = fields["total"].map { Self.flatten($0) } ?? [:]
  }

  /// The sum over all engines of the numbers called `name`, wherever they stand. Throws if there are none:
  /// what is misspelt or has another name by now is not zero.
  public func sum(_ name: String) throws -> Int {
    try sum(of: "called \(name)") { $0 == name || $0.hasSuffix(".\(name)") }
  }

  /// The sum over all engines of the numbers whose path satisfies `isWanted`. Throws if there are none.
  public func sum(where isWanted: (String) -> Bool) throws -> Int {
    try sum(of: "that was asked for", where: isWanted)
  }

  private func sum(of what: String, where isWanted: (String) -> Bool) throws -> Int {
    let numbers = engines.flatMap { $0.filter { isWanted($0.key) }.values }
    guard !numbers.isEmpty else {
      throw LaboratoryError("fsd stats --json has no number \(what)")
    }
    return Int(numbers.reduce(0, +))
  }

  /// Every number that is not zero.
  public var description: String {
    engines.enumerated().map { index, numbers in
      "engine \(index): "
        + numbers.filter { $0.value != 0 }.sorted { $0.key < $1.key }
        .map { "\($0.key) \(Int($0.value))" }.joined(separator: ", ")
    }.joined(separator: "\n")
  }

  private static func flatten(_ value: Any, _ path: String = "") -> [String: Double] {
    if let number = value as? NSNumber { return [path: number.doubleValue] }
    var result: [String: Double] = [:]
    let prefix = path.isEmpty ? "" : path + "."
    if let fields = value as? [String: Any] {
      for (key, value) in fields { result.merge(flatten(value, prefix + key)) { $1 } }
    }
    if let list = value as? [Any] {
      for (index, value) in list.enumerated() {
        result.merge(flatten(value, prefix + "\(index)")) { $1 }
      }
    }
    return result
  }
}
