import CLaboratory
import Dispatch
import Foundation
import Synchronization

/// Network namespaces, links between them and programs inside them, for tests, the demonstration
/// and the benchmark. Needs root.
///
/// Whatever a laboratory makes carries the prefix `fs-<process number>-<number>` and is undone by
/// `tearDown()`, in the reverse order. That also happens when the process exits or is interrupted;
/// what a killed process has left behind is removed by the next laboratory.
public final class Laboratory: Sendable {
  /// Whether the kernel does the work of the engines: nothing is preloaded and no daemon started.
  /// This validates a test or a benchmark by itself. Set with `FS_LAB_KERNEL=1`.
  public let usesKernel: Bool
  /// Where fsd and libfsocket.so are.
  public let artifacts: Artifacts
  /// A directory of its own, removed in the end.
  public let directory: String

  private let baseName: String

  private struct State {
    var hosts: [NetworkHost] = []
    var children: [ChildProcess] = []
    var undo: [@Sendable () -> Void] = []
    var counter = 0
  }

  private let state = Mutex(State())
  private static let living = Mutex<[Laboratory]>([])
  private static let numbers = Atomic<Int>(0)
  private static let prefix = "fs-"

  /// Prepares a laboratory without hosts.
  public init(
    usesKernel: Bool = ProcessInfo.processInfo.environment["FS_LAB_KERNEL"] == "1"
  ) throws {
    guard geteuid() == 0 else {
      throw LaboratoryError("network namespaces need root; run this as root")
    }
    self.usesKernel = usesKernel
    artifacts = try Artifacts.locate(required: !usesKernel)
    Self.prepareProcess()
    let number = Self.numbers.add(1, ordering: .relaxed).newValue
    baseName = "\(Self.prefix)\(getpid())-\(number)"
    directory = "/tmp/\(baseName)"
    try? FileManager.default.removeItem(atPath: directory)
    // Servers read their files as an unprivileged user.
    try makeDirectory("")
    Self.living.withLock { $0.append(self) }
  }

  /// Adds a host: a network namespace named after this process, with its loopback interface up.
  public func host(_ label: String) throws -> NetworkHost {
    let number = state.withLock { state in
      state.counter += 1
      return state.counter
    }
    let host = NetworkHost(
      laboratory: self, name: "\(baseName).\(number)\(label)", label: label)
    try run(["ip", "netns", "add", host.name])
    state.withLock { $0.hosts.append(host) }
    try run(["ip", "-n", host.name, "link", "set", "lo", "up"])
    try host.applySystemSettings()
    return host
  }

  /// Runs `action` when the laboratory is torn down, before its hosts are removed.
  public func atTearDown(_ action: @escaping @Sendable () -> Void) {
    state.withLock { $0.undo.append(action) }
  }

  /// Starts a program; it is ended at the latest when the laboratory is torn down.
  public func start(_ arguments: [String], inputPath: String = "/dev/null") throws -> ChildProcess {
    let number = state.withLock { state in
      state.counter += 1
      return state.counter
    }
    let name = (arguments.first ?? "").split(separator: "/").last ?? "program"
    let base = "\(directory)/\(number)-\(name)"
    let child = try ChildProcess(
      arguments: arguments, inputPath: inputPath, outputPath: base + ".out",
      errorPath: base + ".err")
    state.withLock { $0.children.append(child) }
    return child
  }

  /// Runs a program to its end and returns its standard output; throws unless it succeeds.
  @discardableResult
  public func run(
    _ arguments: [String], inputPath: String = "/dev/null", seconds: Double = 60
  ) throws -> String {
    let child = try start(arguments, inputPath: inputPath)
    guard let status = child.wait(seconds: seconds) else {
      child.terminate(graceSeconds: 1)
      throw LaboratoryError("still running after \(seconds) s: \(child.commandLine)")
    }
    let output = child.output
    defer { discard(child) }
    guard status.isSuccess else {
      throw LaboratoryError(
        "\(status) of: \(child.commandLine)\n\(output.suffix(2000))\(child.errorOutput.suffix(2000))"
      )
    }
    return output
  }

  /// Forgets a program that has ended, and the files with its output.
  public func discard(_ child: ChildProcess) {
    state.withLock { $0.children.removeAll { $0 === child } }
    unsafe unlink(child.outputPath)
    unsafe unlink(child.errorPath)
  }

  /// Makes a directory under `directory`, for every user to write in, and returns its path.
  @discardableResult
  public func makeDirectory(_ name: String) throws -> String {
    let path = name.isEmpty ? directory : "\(directory)/\(name)"
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    unsafe chmod(path, name.isEmpty ? 0o755 : 0o777)
    return path
  }

  /// Writes a file under `directory` and returns its path.
  public func makeFile(_ name: String, _ text: String) throws -> String {
    let path = "\(directory)/\(name)"
    try text.write(toFile: path, atomically: false, encoding: .utf8)
    return path
  }

  /// A number that no other caller in this laboratory gets.
  public func nextNumber() -> Int {
    state.withLock { state in
      state.counter += 1
      return state.counter
    }
  }

  /// Lets the kernel's sockets in every namespace of the machine have this congestion control, until the
  /// laboratory is torn down.
  public func allowCongestionControl(_ name: String) throws {
    let path = "/proc/sys/net/ipv4/tcp_allowed_congestion_control"
    let old = try String(contentsOfFile: path, encoding: .utf8)
      .trimmingCharacters(in: .whitespacesAndNewlines)
    guard !old.split(whereSeparator: \.isWhitespace).contains(Substring(name)) else { return }
    atTearDown { try? old.write(toFile: path, atomically: false, encoding: .utf8) }
    try "\(old) \(name)".write(toFile: path, atomically: false, encoding: .utf8)
  }

  /// Undoes everything, the newest first. May be called again.
  public func tearDown() {
    let (undo, children, hosts) = state.withLock { state in
      defer { state = State() }
      return (state.undo, state.children, state.hosts)
    }
    for action in undo.reversed() { action() }
    for child in children.reversed() { child.signal(SIGTERM) }
    for child in children.reversed() { child.terminate(graceSeconds: 3) }
    for host in hosts.reversed() { Self.removeNamespace(host.name) }
    try? FileManager.default.removeItem(atPath: directory)
    Self.living.withLock { $0.removeAll { $0 === self } }
  }

  /// Tears down every laboratory of this process.
  public static func tearDownAll() {
    for laboratory in living.withLock({ $0 }).reversed() { laboratory.tearDown() }
  }

  /// Makes each printed line appear at once, also where the output is not a terminal.
  public static func showOutputByLine() {
    lab_buffer_output_by_line()
  }

  /// From now on an interrupt tears everything down before it ends the process.
  public static func tearDownWhenInterrupted(_ report: @escaping @Sendable () -> Void = {}) {
    for number in [SIGINT, SIGTERM, SIGHUP] {
      signal(number, SIG_IGN)
      let source = DispatchSource.makeSignalSource(signal: number, queue: interrupts)
      source.setEventHandler {
        report()
        tearDownAll()
        _exit(128 + number)
      }
      source.resume()
      sources.withLock { $0.append(SignalSource(source)) }
    }
  }

  private struct SignalSource: @unchecked Sendable {
    let source: any DispatchSourceSignal
    init(_ source: any DispatchSourceSignal) { self.source = source }
  }

  private static let interrupts = DispatchQueue(label: "fastsocket.laboratory.interrupts")
  private static let sources = Mutex<[SignalSource]>([])

  /// Done once: the descriptor limit, which programs inherit, for thousands of connections, a tear
  /// down at exit, and the removal of what killed predecessors have left.
  private static let prepared: Bool = {
    lab_raise_descriptor_limit()
    let path = ProcessInfo.processInfo.environment["PATH"] ?? "/usr/bin:/bin"
    unsafe setenv("PATH", path + ":/usr/local/sbin:/usr/sbin:/sbin", 1)
    atexit { Laboratory.tearDownAll() }
    removeLeftovers()
    return true
  }()

  private static func prepareProcess() {
    precondition(prepared)
  }

  private static func removeLeftovers() {
    let manager = FileManager.default
    let namespaces = (try? manager.contentsOfDirectory(atPath: "/run/netns")) ?? []
    for name in namespaces where belongsToDeadProcess(name) { removeNamespace(name) }
    let directories = (try? manager.contentsOfDirectory(atPath: "/tmp")) ?? []
    for name in directories where belongsToDeadProcess(name) {
      try? manager.removeItem(atPath: "/tmp/\(name)")
    }
  }

  private static func belongsToDeadProcess(_ name: String) -> Bool {
    let parts = name.split(separator: "-")
    guard parts.count == 3, parts[0] == "fs", let pid = pid_t(parts[1]) else { return false }
    return kill(pid, 0) != 0 && errno == ESRCH
  }

  /// Removes a namespace of ours, with every program that still runs inside.
  private static func removeNamespace(_ name: String) {
    let listing = "/tmp/\(name).pids"
    func execute(_ arguments: [String]) {
      let child = try? ChildProcess(
        arguments: arguments, inputPath: "/dev/null", outputPath: listing, errorPath: "/dev/null")
      _ = child?.wait(seconds: 10)
    }
    execute(["ip", "netns", "pids", name])
    let pids = (try? String(contentsOfFile: listing, encoding: .utf8)) ?? ""
    for pid in pids.split(whereSeparator: \.isWhitespace).compactMap({ pid_t($0) }) {
      kill(pid, SIGKILL)
    }
    execute(["ip", "netns", "del", name])
    unsafe unlink(listing)
  }
}
