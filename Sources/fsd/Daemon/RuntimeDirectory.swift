import CLinux
import Glibc

/// The directory of one daemon: who runs in it, and what is left of one that crashed.
enum RuntimeDirectory {
  /// Makes the directory if it is missing; true when it was. One that is there must be nobody else's: what is
  /// found in it is believed, and written to as root.
  static func make(_ path: String) throws(Failure) -> Bool {
    if unsafe mkdir(path, 0o755) == 0 {
      // Applications of all users look for the socket in it, whatever the umask says.
      unsafe chmod(path, 0o755)
      return true
    }
    let code = errno
    guard code == EEXIST else {
      throw Failure("cannot make the runtime directory \(path): \(SystemError.text(of: code))")
    }
    try checkOwner(path)
    return false
  }

  private static func checkOwner(_ path: String) throws(Failure) {
    var status = stat()
    guard unsafe lstat(path, &status) == 0 else {
      throw Failure("cannot use the runtime directory \(path): \(SystemError.text(of: errno))")
    }
    guard status.st_mode & S_IFMT == S_IFDIR else {
      throw Failure("the runtime directory \(path) is no directory")
    }
    guard [0, geteuid()].contains(status.st_uid), status.st_mode & (S_IWGRP | S_IWOTH) == 0 else {
      throw Failure(
        "the runtime directory \(path) must be root's or one's own, and writable by nobody else")
    }
  }

  /// The process that holds the lock, if one does. Its file alone means nothing: a crashed daemon
  /// leaves it, but not the lock.
  static func runningDaemon(_ paths: RuntimePaths) -> Int32? {
    let file = unsafe open(paths.processFile, O_RDONLY | O_CLOEXEC)
    guard file >= 0 else { return nil }
    defer { close(file) }
    if flock(file, LOCK_SH | LOCK_NB) == 0 { return nil }
    return processNumber(in: file) ?? 0
  }

  private static func processNumber(in file: Int32) -> Int32? {
    var bytes = [UInt8](repeating: 0, count: 16)
    let count = unsafe bytes.withUnsafeMutableBytes {
      unsafe pread(file, $0.baseAddress, $0.count, 0)
    }
    guard count > 0 else { return nil }
    return Int32(String(decoding: bytes[..<count].prefix { $0 != 0x0a }, as: UTF8.self))
  }

  /// The sentence for a second daemon.
  static func alreadyRunning(_ process: Int32, _ paths: RuntimePaths) -> Failure {
    Failure(
      "a daemon is already running in \(paths.directory) (process \(process)); stop it with "
        + "'fsd stop', or choose another --runtime-dir")
  }

  /// Takes the lock and writes the process number. The lock goes with the process, however it ends.
  static func lock(_ paths: RuntimePaths) throws -> Descriptor {
    let number = unsafe open(paths.processFile, O_RDWR | O_CREAT | O_CLOEXEC, 0o644)
    guard number >= 0 else {
      throw Failure("cannot open \(paths.processFile): \(SystemError.text(of: errno))")
    }
    let file = Descriptor(adopting: number)
    guard flock(number, LOCK_EX | LOCK_NB) == 0 else {
      throw alreadyRunning(processNumber(in: number) ?? 0, paths)
    }
    var text = Array("\(getpid())\n".utf8)
    let written = unsafe text.withUnsafeMutableBytes {
      ftruncate(number, 0) == 0 ? unsafe pwrite(number, $0.baseAddress, $0.count, 0) : -1
    }
    guard written == text.count else {
      throw Failure("cannot write \(paths.processFile): \(SystemError.text(of: errno))")
    }
    return file
  }

  /// Removes a directory that was made for a daemon that did not start, with its log: the person
  /// has been told why.
  static func removeEmpty(_ paths: RuntimePaths) {
    _ = unsafe unlink(paths.log)
    _ = unsafe rmdir(paths.directory)
  }
}
