import ArgumentParser
import Glibc

/// `fsd run`.
struct Run: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Run a command under libfsocket.so.",
    discussion: """
      The command's listening sockets and outgoing connections on the daemon's interfaces go through \
      the engines; everything else, and everything when no daemon runs, goes through the kernel.

        fsd run -- nginx -c /etc/nginx/nginx.conf
      """)

  @Flag(
    help: ArgumentHelp(
      "Bind each thread that accepts or connects to its engine's processor, or one beside it. Nothing else "
        + "changes a program's affinity."))
  var pin = false

  @OptionGroup var runtime: RuntimeOptions

  @Argument(parsing: .captureForPassthrough, help: "The command and its arguments.")
  var command: [String] = []

  func run() throws {
    var command = command
    var directory = runtime.directory
    var pin = pin
    // Passthrough takes everything from the first unknown word on, `--` included.
    while true {
      if directory == nil, command.first == "--runtime-dir", command.count >= 2 {
        directory = command[1]
        command.removeFirst(2)
      } else if command.first == "--pin" {
        pin = true
        command.removeFirst()
      } else {
        break
      }
    }
    if command.first == "--" { command.removeFirst() }
    guard let program = command.first else {
      throw ValidationError("Name the command to run: fsd run -- COMMAND...")
    }
    let library = try Library.find()
    let present = Environment.value("LD_PRELOAD").map { ":" + $0 } ?? ""
    unsafe setenv("LD_PRELOAD", library + present, 1)
    if pin { unsafe setenv("FSD_PIN", "1", 1) }
    if let directory {
      unsafe setenv(RuntimePaths.variable, try RuntimePaths.absolute(directory), 1)
    }
    let code = unsafe CStringList.with(command) { arguments in
      _ = unsafe execvp(program, arguments)
      return errno
    }
    Log.complain("fsd run: \(program): \(SystemError.text(of: code))")
    // As shells do: not found, or not executable.
    throw ExitCode(code == ENOENT ? 127 : 126)
  }
}

/// The library that is preloaded.
enum Library {
  static let name = "libfsocket.so"

  /// Where it may be, seen from the directory of the fsd program: beside it as `make` leaves it, or
  /// as `make install` puts it.
  static let places = ["", "../lib", "../lib/fastsocket"]

  /// The library's path.
  static func find() throws -> String {
    let directory = ProgramFile.directory
    for place in places {
      let path = (place.isEmpty ? directory : directory + "/" + place) + "/" + name
      if unsafe access(path, R_OK) == 0 { return ProgramFile.canonical(path) }
    }
    throw Failure(
      "\(name) is not beside \(directory)/fsd, nor in ../lib or ../lib/fastsocket from there; "
        + "build it with 'make', or install it with 'make install'")
  }
}
