import Glibc

/// The file of the program that runs.
enum ProgramFile {
  /// Its path, without symbolic links.
  static var path: String { canonical("/proc/self/exe") }

  /// Its directory.
  static var directory: String {
    let path = path
    return String(path[..<(path.lastIndex(of: "/") ?? path.startIndex)])
  }

  /// A path without symbolic links; as it is, if there is nothing there.
  static func canonical(_ path: String) -> String {
    guard let resolved = unsafe realpath(path, nil) else { return path }
    defer { unsafe free(resolved) }
    return unsafe String(cString: resolved)
  }
}
