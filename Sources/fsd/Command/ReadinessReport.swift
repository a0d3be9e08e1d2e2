import Glibc

/// How a daemon in the background tells the `fsd start` that waits for it how things went: one
/// letter, then the text for the person.
struct ReadinessReport {
  /// The pipe's end; nil in the foreground without a waiting `fsd start`.
  let descriptor: Int32?

  static let readyMark = UInt8(ascii: "R")
  static let failureMark = UInt8(ascii: "F")

  /// The daemon serves.
  func ready(_ lines: [String]) {
    guard let descriptor else {
      for line in lines { Log.note(line) }
      return
    }
    write(Self.readyMark, lines.joined(separator: "\n"), to: descriptor)
  }

  /// It does not.
  func failed(_ text: String) {
    guard let descriptor else { return }
    write(Self.failureMark, text, to: descriptor)
  }

  private func write(_ mark: UInt8, _ text: String, to descriptor: Int32) {
    var bytes = [mark] + Array(text.utf8)
    unsafe bytes.withUnsafeMutableBytes {
      _ = unsafe Glibc.write(descriptor, $0.baseAddress, $0.count)
    }
    close(descriptor)
  }

  /// What arrived through the pipe, read to its end.
  enum Outcome: Equatable {
    case ready(String)
    case failed(String)
    /// The daemon ended without a word.
    case silence
  }

  /// Waits for the daemon's word.
  static func read(from descriptor: Int32) -> Outcome {
    var bytes: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 4096)
    while true {
      let count = unsafe buffer.withUnsafeMutableBytes {
        unsafe Glibc.read(descriptor, $0.baseAddress, $0.count)
      }
      if count < 0 && errno == EINTR { continue }
      guard count > 0 else { break }
      bytes += buffer[..<count]
    }
    let text = String(decoding: bytes.dropFirst(), as: UTF8.self)
    switch bytes.first {
    case readyMark: return .ready(text)
    case failureMark: return .failed(text)
    default: return .silence
    }
  }
}
