import ArgumentParser
import Glibc

/// Where a daemon keeps what belongs to one run.
struct RuntimePaths: Equatable, Sendable {
  /// The directory, absolute.
  let directory: String

  /// Where it is unless the user moves it.
  static let standard = "/run/fsd"
  /// The environment variable that moves it, for the command line and for applications.
  static let variable = "FSD_RUNTIME_DIR"

  /// The directory given, else the one in the environment, else the standard one.
  init(option: String?) throws {
    var path = option ?? Environment.value(Self.variable) ?? Self.standard
    if path.isEmpty { path = Self.standard }
    path = try Self.absolute(path)
    while path.count > 1, path.hasSuffix("/") { path.removeLast() }
    directory = path
    guard socket.utf8.count <= ControlSocket.pathLimit else {
      throw Failure(
        "the runtime directory's name is too long: \(socket) must fit in "
          + "\(ControlSocket.pathLimit) bytes")
    }
  }

  /// A path from the root; the daemon runs there.
  static func absolute(_ path: String) throws -> String {
    if path.hasPrefix("/") { return path }
    guard let current = unsafe getcwd(nil, 0) else { throw SystemError("getcwd") }
    defer { unsafe free(current) }
    return unsafe String(cString: current) + "/" + path
  }

  /// The control socket.
  var socket: String { directory + "/fsd.sock" }
  /// Number of the daemon's process; locked while it runs.
  var processFile: String { directory + "/fsd.pid" }
  /// The log of a daemon in the background.
  var log: String { directory + "/fsd.log" }
  /// What was changed in the system and must be undone.
  var journal: String { directory + "/restore" }
}

/// The option that every command has.
struct RuntimeOptions: ParsableArguments {
  @Option(
    name: .customLong("runtime-dir"),
    help: ArgumentHelp(
      "Directory of the control socket (default: $FSD_RUNTIME_DIR, else /run/fsd).",
      valueName: "dir"))
  var directory: String?

  /// The paths in that directory.
  func paths() throws -> RuntimePaths { try RuntimePaths(option: directory) }
}

/// The process's environment.
enum Environment {
  /// A variable's value.
  static func value(_ name: String) -> String? {
    guard let value = unsafe getenv(name) else { return nil }
    return unsafe String(cString: value)
  }

  /// All variables, as NAME=VALUE.
  static var all: [String] {
    var list: [String] = []
    var entry = unsafe environ
    while let text = unsafe entry.pointee {
      list.append(unsafe String(cString: text))
      unsafe entry += 1
    }
    return list
  }
}
