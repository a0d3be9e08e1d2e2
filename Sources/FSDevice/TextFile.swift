import Glibc

/// Small files, those of /proc above all, read and written whole.
package enum TextFile {
  /// What the file holds.
  package static func read(_ path: String) throws(DeviceError) -> String {
    let file = unsafe open(path, O_RDONLY | O_CLOEXEC)
    guard file >= 0 else { throw .last("open", path) }
    defer { close(file) }
    var bytes: [UInt8] = []
    var part = [UInt8](repeating: 0, count: 65536)
    while true {
      let count = unsafe part.withUnsafeMutableBytes { buffer in
        unsafe Glibc.read(file, buffer.baseAddress, buffer.count)
      }
      guard count >= 0 else { throw .last("read", path) }
      guard count > 0 else { return String(decoding: bytes, as: UTF8.self) }
      bytes += part[..<count]
    }
  }

  /// The first line of a file of /proc or /sys, empty if there is none.
  package static func readLine(_ path: String) throws(DeviceError) -> String {
    try read(path).split(separator: "\n").first.map(String.init) ?? ""
  }

  /// Replaces the contents, in one write as /proc wants it. Makes the file if it is missing.
  static func write(_ text: String, to path: String) throws(DeviceError) {
    let file = unsafe open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
    guard file >= 0 else { throw .last("open", path) }
    defer { close(file) }
    let bytes = Array(text.utf8)
    let count = unsafe bytes.withUnsafeBytes { buffer in
      unsafe Glibc.write(file, buffer.baseAddress, buffer.count)
    }
    guard count == bytes.count else { throw .last("write", path) }
  }

  /// Replaces the contents so that a reader finds the old ones or the new ones, whenever the writer ends or the
  /// disk is full. Not for /proc and /sys.
  static func replace(_ path: String, with text: String) throws(DeviceError) {
    let new = path + ".new"
    // When it has its name there is nothing to remove.
    defer { _ = unsafe unlink(new) }
    try write(text, to: new)
    guard unsafe rename(new, path) == 0 else { throw .last("rename", new) }
  }
}
