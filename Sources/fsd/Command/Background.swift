import CLinux
import Glibc

/// Starts the daemon in a session of its own.
///
/// The program executes itself anew instead of forking: a fork of a Swift program with threads is
/// not safe, and the new process begins clean.
enum Background {
  /// Descriptor of the pipe in the daemon.
  private static let readyNumber: Int32 = 3

  /// Starts it with these arguments and waits until it serves.
  static func start(_ options: DaemonOptions, arguments: [String]) throws {
    try Preflight.checkPrivileges()
    let madeDirectory = try RuntimeDirectory.make(options.paths.directory)
    if let owner = RuntimeDirectory.runningDaemon(options.paths) {
      throw RuntimeDirectory.alreadyRunning(owner, options.paths)
    }
    var arguments = arguments + ["--ready-descriptor", String(readyNumber)]
    if madeDirectory { arguments.append("--directory-is-ours") }
    let log = try options.logFile.map { try RuntimePaths.absolute($0) } ?? options.paths.log

    var ends: (read: Int32, write: Int32) = (-1, -1)
    try makePipe(&ends)
    let reading = Descriptor(adopting: ends.read)
    var writing: Descriptor? = Descriptor(adopting: ends.write)
    let process = try spawn(arguments, log: log, pipe: ends.write)
    writing = nil
    _ = writing

    switch ReadinessReport.read(from: reading.number) {
    case .ready(let text):
      print(text)
    case .failed(let text):
      wait(for: process)
      if madeDirectory { RuntimeDirectory.removeEmpty(options.paths) }
      throw Failure(text)
    case .silence:
      wait(for: process)
      throw Failure("the daemon ended unexpectedly while starting; its log is \(log)")
    }
  }

  private static func makePipe(_ ends: inout (read: Int32, write: Int32)) throws {
    var numbers: [Int32] = [-1, -1]
    let result = unsafe numbers.withUnsafeMutableBufferPointer {
      unsafe pipe2($0.baseAddress, O_CLOEXEC)
    }
    guard result == 0 else { throw SystemError("pipe2") }
    ends = (numbers[0], numbers[1])
  }

  private static func wait(for process: pid_t) {
    var status: Int32 = 0
    while unsafe waitpid(process, &status, 0) == -1 && errno == EINTR {}
  }

  private static func spawn(
    _ arguments: [String], log: String, pipe: Int32
  ) throws(SystemError) -> pid_t {
    var actions = unsafe posix_spawn_file_actions_t()
    unsafe posix_spawn_file_actions_init(&actions)
    defer { unsafe posix_spawn_file_actions_destroy(&actions) }
    unsafe posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0)
    unsafe posix_spawn_file_actions_addopen(
      &actions, STDOUT_FILENO, log, O_WRONLY | O_CREAT | O_APPEND, 0o644)
    unsafe posix_spawn_file_actions_adddup2(&actions, STDOUT_FILENO, STDERR_FILENO)
    unsafe posix_spawn_file_actions_adddup2(&actions, pipe, readyNumber)
    // Whatever else this process was given (a make's job pipe, a test's sockets) is not the
    // daemon's to keep open.
    unsafe posix_spawn_file_actions_addclosefrom_np(&actions, readyNumber + 1)
    unsafe posix_spawn_file_actions_addchdir_np(&actions, "/")

    var attributes = posix_spawnattr_t()
    unsafe posix_spawnattr_init(&attributes)
    defer { unsafe posix_spawnattr_destroy(&attributes) }
    var none = sigset_t()
    unsafe sigemptyset(&none)
    unsafe posix_spawnattr_setsigmask(&attributes, &none)
    unsafe posix_spawnattr_setflags(
      &attributes, Int16(POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK))

    var process: pid_t = 0
    let code = unsafe CStringList.with(["fsd"] + arguments) { argv in
      unsafe CStringList.with(environment()) { environment in
        unsafe posix_spawn(
          &process, ProgramFile.path, &actions, &attributes, argv, environment)
      }
    }
    guard code == 0 else { throw SystemError("posix_spawn", code: code) }
    return process
  }

  /// The daemon itself must not run under the library that it serves.
  private static func environment() -> [String] {
    Environment.all.filter { !($0.hasPrefix("LD_PRELOAD=") && $0.contains("libfsocket")) }
  }
}
