import CLaboratory
import Foundation
import Synchronization

/// A network namespace of a laboratory, and perhaps the daemon that runs in it.
public final class NetworkHost: Sendable {
  /// The laboratory it belongs to.
  public unowned let laboratory: Laboratory
  /// Name of the namespace.
  public let name: String
  /// What the laboratory calls it: client, server.
  public let label: String
  private let currentDaemon = Mutex<Daemon?>(nil)
  private let preloadedEnvironment = Mutex<[String: String]>([:])

  init(laboratory: Laboratory, name: String, label: String) {
    self.laboratory = laboratory
    self.name = name
    self.label = label
  }

  /// The daemon that runs here, if any.
  public internal(set) var daemon: Daemon? {
    get { currentDaemon.withLock { $0 } }
    set { currentDaemon.withLock { $0 = newValue } }
  }

  /// What is in the environment of preloaded programs beside what makes them preloaded.
  public var environmentOfPreloaded: [String: String] {
    get { preloadedEnvironment.withLock { $0 } }
    set { preloadedEnvironment.withLock { $0 = newValue } }
  }

  /// Starts a program inside. With `preloaded` its socket calls go through libfsocket.so, which
  /// looks for the daemon of this host. `core` pins it.
  public func start(
    _ arguments: [String], preloaded: Bool = false, core: Int? = nil,
    inputPath: String = "/dev/null",
    environment: [String: String] = [:]
  ) throws -> ChildProcess {
    var command = ["ip", "netns", "exec", name]
    if let core { command += ["taskset", "-c", String(core)] }
    var environment = environment
    if preloaded && !laboratory.usesKernel {
      environment["LD_PRELOAD"] = laboratory.artifacts.library
      environment["FSD_RUNTIME_DIR"] = runtimeDirectory
      environment.merge(environmentOfPreloaded) { explicit, _ in explicit }
    }
    if !environment.isEmpty {
      // Set at the last moment, so that the tools above are not preloaded as well.
      command += ["env"] + environment.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }
    }
    return try laboratory.start(command + arguments, inputPath: inputPath)
  }

  /// Runs a program inside to its end and returns its standard output; throws unless it succeeds.
  @discardableResult
  public func run(
    _ arguments: [String], preloaded: Bool = false, core: Int? = nil,
    inputPath: String = "/dev/null",
    environment: [String: String] = [:], seconds: Double = 60
  ) throws -> String {
    let child = try start(
      arguments, preloaded: preloaded, core: core, inputPath: inputPath, environment: environment)
    guard let status = child.wait(seconds: seconds) else {
      child.terminate(graceSeconds: 1)
      throw LaboratoryError(
        "still running after \(seconds) s: \(child.commandLine)\n\(child.errorOutput.suffix(2000))")
    }
    let output = child.output
    defer { laboratory.discard(child) }
    guard status.isSuccess else {
      throw LaboratoryError(
        """
        \(status) of: \(child.commandLine)
        \(output.suffix(2000))\(child.errorOutput.suffix(2000))
        """)
    }
    return output
  }

  /// Where the daemon of this host has its control socket.
  public var runtimeDirectory: String { "\(laboratory.directory)/run-\(label)" }

  /// Runs `body` on a thread that has entered the namespace: sockets it opens belong to the host.
  @discardableResult
  public func perform<Result: Sendable>(
    _ body: @escaping @Sendable () throws -> Result
  ) throws -> Result {
    let result = Mutex<Swift.Result<Result, any Error>?>(nil)
    let finished = DispatchSemaphore(value: 0)
    let path = "/run/netns/\(name)"
    let thread = Thread {
      defer { finished.signal() }
      let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC)
      defer { close(descriptor) }
      guard descriptor >= 0, setns(descriptor, LAB_CLONE_NEWNET) == 0 else {
        let reason = unsafe String(cString: strerror(errno))
        result.withLock { $0 = .failure(LaboratoryError("cannot enter \(path): \(reason)")) }
        return
      }
      let outcome = Swift.Result { try body() }
      result.withLock { $0 = outcome }
    }
    thread.stackSize = 4 << 20
    thread.start()
    finished.wait()
    guard let outcome = result.withLock({ $0 }) else {
      throw LaboratoryError("the thread inside \(name) has left nothing")
    }
    return try outcome.get()
  }

  /// Writes a value below /proc/sys.
  public func setSystemControl(_ key: String, _ value: String) throws {
    let path = "/proc/sys/\(key.replacingOccurrences(of: ".", with: "/"))"
    try perform { try Self.write(value, to: path) }
  }

  /// The text of a value below /proc/sys.
  public func systemControl(_ key: String) throws -> String {
    let path = "/proc/sys/\(key.replacingOccurrences(of: ".", with: "/"))"
    return try perform {
      try String(contentsOfFile: path, encoding: .utf8).trimmingCharacters(
        in: .whitespacesAndNewlines)
    }
  }

  /// Settings under which kernel and engine are alike, and which a benchmark needs.
  func applySystemSettings() throws {
    try perform {
      // Where the machine's default is BBR: its pacing timers would be compared with a stack that
      // has none. Cubic may be reserved for the first namespace; Reno never is.
      do {
        try Self.write("cubic", to: "/proc/sys/net/ipv4/tcp_congestion_control")
      } catch {
        try Self.write("reno", to: "/proc/sys/net/ipv4/tcp_congestion_control")
      }
      for (path, value) in [
        ("net/core/somaxconn", "65535"),
        ("net/ipv4/tcp_max_syn_backlog", "65535"),
        ("net/ipv4/tcp_max_tw_buckets", "1000000"),
        ("net/ipv4/ip_local_port_range", "10000 65000"),
        ("net/ipv4/tcp_slow_start_after_idle", "0"),
        ("net/core/txrehash", "0"),
        ("net/ipv6/conf/all/accept_dad", "0"),
        ("net/ipv6/conf/default/accept_dad", "0"),
      ] {
        try Self.write(value, to: "/proc/sys/\(path)")
      }
    }
  }

  private static func write(_ value: String, to path: String) throws {
    let descriptor = unsafe open(path, O_WRONLY | O_CLOEXEC)
    defer { close(descriptor) }
    let bytes = Array(value.utf8)
    let written = descriptor < 0 ? -1 : unsafe Foundation.write(descriptor, bytes, bytes.count)
    guard written == bytes.count else {
      throw LaboratoryError(
        "cannot write \(value) to \(path): \(unsafe String(cString: strerror(errno)))")
    }
  }
}
