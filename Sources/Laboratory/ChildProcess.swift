import CLaboratory
import Foundation
import Synchronization

/// How a program ended.
public enum ProgramEnd: Equatable, Sendable, CustomStringConvertible {
  /// It returned this status.
  case exited(Int32)
  /// This signal ended it.
  case signalled(Int32)

  /// Whether it returned zero.
  public var isSuccess: Bool { self == .exited(0) }

  /// For messages.
  public var description: String {
    switch self {
    case .exited(let status): "exit status \(status)"
    case .signalled(let signal): "signal \(signal)"
    }
  }

  init(waitStatus: Int32) {
    let signal = waitStatus & 0x7f
    self = signal == 0 ? .exited((waitStatus >> 8) & 0xff) : .signalled(signal)
  }
}

/// A program that was started: in a process group of its own, with its output captured in files, so
/// that no pipe can fill up.
public final class ChildProcess: Sendable {
  /// The command line, for messages.
  public let commandLine: String
  /// Its process number, also that of its process group.
  public let identifier: pid_t
  /// The file that holds its standard output.
  public let outputPath: String
  /// The file that holds its standard error.
  public let errorPath: String
  private let ended = Mutex<ProgramEnd?>(nil)

  /// Starts `arguments`, found through PATH. Standard input is `inputPath`.
  init(arguments: [String], inputPath: String, outputPath: String, errorPath: String) throws {
    commandLine = arguments.joined(separator: " ")
    self.outputPath = outputPath
    self.errorPath = errorPath
    identifier = try Self.spawn(arguments, inputPath, outputPath, errorPath)
  }

  /// What it has written to standard output so far.
  public var output: String { Self.text(of: outputPath) }
  /// What it has written to standard error so far.
  public var errorOutput: String { Self.text(of: errorPath) }
  /// Whether it still runs.
  public var isRunning: Bool { poll() == nil }

  /// How it ended, or nil while it runs.
  public func poll() -> ProgramEnd? {
    ended.withLock { status in
      guard status == nil else { return status }
      var word: Int32 = 0
      if unsafe waitpid(identifier, &word, WNOHANG) == identifier {
        status = ProgramEnd(waitStatus: word)
      }
      return status
    }
  }

  /// Waits until it has ended, or for `seconds`; nil when it then still runs.
  public func wait(seconds: Double) -> ProgramEnd? {
    let deadline = MonotonicTime.now + seconds
    var pause: UInt32 = 500
    while true {
      if let status = poll() { return status }
      guard MonotonicTime.now < deadline else { return nil }
      usleep(pause)
      pause = min(pause * 2, 10_000)
    }
  }

  /// Sends a signal to the program alone.
  public func signal(_ number: Int32) {
    if isRunning { kill(identifier, number) }
  }

  /// Kills the program and the whole of its process group, without warning.
  public func killGroup() {
    kill(-identifier, SIGKILL)
    _ = wait(seconds: 5)
  }

  /// Seconds of processor time it has used.
  public func processorSeconds() throws -> Double {
    let text = try String(contentsOfFile: "/proc/\(identifier)/stat", encoding: .utf8)
    // The fields after the name, which may hold anything: utime is the 12th, stime the 13th.
    let fields = text.split(separator: ")").last?.split(separator: " ") ?? []
    let ticks = fields.dropFirst(11).prefix(2).compactMap { Double($0) }.reduce(0, +)
    return ticks / Double(sysconf(Int32(_SC_CLK_TCK)))
  }

  /// Ends the program and whatever is left of its process group: asks first, then kills.
  @discardableResult
  public func terminate(graceSeconds: Double = 5) -> ProgramEnd? {
    signal(SIGTERM)
    if wait(seconds: graceSeconds) == nil { kill(-identifier, SIGKILL) }
    let status = wait(seconds: 5)
    // Orphans of the group, such as workers of a master that was killed, are ours as well.
    kill(-identifier, SIGKILL)
    return status
  }

  private static func text(of path: String) -> String {
    String(decoding: FileManager.default.contents(atPath: path) ?? Data(), as: UTF8.self)
  }

  private static func spawn(
    _ arguments: [String], _ inputPath: String, _ outputPath: String, _ errorPath: String
  ) throws -> pid_t {
    var actions = unsafe posix_spawn_file_actions_t()
    unsafe posix_spawn_file_actions_init(&actions)
    defer { unsafe posix_spawn_file_actions_destroy(&actions) }
    let create = O_WRONLY | O_CREAT | O_TRUNC
    unsafe posix_spawn_file_actions_addopen(&actions, 0, inputPath, O_RDONLY, 0)
    unsafe posix_spawn_file_actions_addopen(&actions, 1, outputPath, create, 0o644)
    unsafe posix_spawn_file_actions_addopen(&actions, 2, errorPath, create, 0o644)
    unsafe posix_spawn_file_actions_addclosefrom_np(&actions, 3)

    var attributes = posix_spawnattr_t()
    unsafe posix_spawnattr_init(&attributes)
    defer { unsafe posix_spawnattr_destroy(&attributes) }
    let flags = POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK
    unsafe posix_spawnattr_setflags(&attributes, Int16(flags))
    var all = sigset_t()
    unsafe sigfillset(&all)
    unsafe posix_spawnattr_setsigdefault(&attributes, &all)
    var none = sigset_t()
    unsafe sigemptyset(&none)
    unsafe posix_spawnattr_setsigmask(&attributes, &none)

    var argv: [UnsafeMutablePointer<CChar>?] = unsafe arguments.map { unsafe strdup($0) }
    unsafe argv.append(nil)
    defer { unsafe argv.forEach { unsafe free($0) } }
    var pid: pid_t = 0
    let code = unsafe posix_spawnp(
      &pid, arguments[0], &actions, &attributes, argv, lab_environment())
    guard code == 0 else {
      throw LaboratoryError(
        "cannot start \(arguments[0]): \(unsafe String(cString: strerror(code)))")
    }
    return pid
  }
}
