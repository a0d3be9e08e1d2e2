import CLinux
import Glibc

/// Lines on standard error, which is the log file of a daemon in the background.
enum Log {
  /// Writes one line with the time of day in UTC.
  static func note(_ text: String) {
    var now = timespec()
    unsafe clock_gettime(CLOCK_REALTIME, &now)
    var parts = unsafe tm()
    unsafe gmtime_r(&now.tv_sec, &parts)
    var date = [UInt8](repeating: 0, count: 32)
    let count = unsafe date.withUnsafeMutableBytes { bytes in
      unsafe bytes.withMemoryRebound(to: CChar.self) {
        unsafe strftime($0.baseAddress, $0.count, "%Y-%m-%dT%H:%M:%S", &parts)
      }
    }
    let milliseconds = String(1000 + now.tv_nsec / 1_000_000).dropFirst()
    complain("\(String(decoding: date[..<count], as: UTF8.self)).\(milliseconds)Z \(text)")
  }

  /// Writes one line as it is, for the person who typed the command.
  static func complain(_ text: String) {
    var bytes = Array("\(text)\n".utf8)
    unsafe bytes.withUnsafeMutableBytes {
      _ = unsafe write(STDERR_FILENO, $0.baseAddress, $0.count)
    }
  }
}
