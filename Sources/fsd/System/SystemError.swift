import Glibc

/// A system call that failed: which, and why.
struct SystemError: Error, Equatable, CustomStringConvertible {
  /// The call, and where it helps what it was applied to.
  let call: String
  /// The errno value.
  let code: Int32

  /// Records `errno` as it is now.
  init(_ call: String, code: Int32 = errno) {
    self.call = call
    self.code = code
  }

  var description: String { "\(call): \(Self.text(of: code))" }

  /// The system's words for an errno value.
  static func text(of code: Int32) -> String {
    guard let text = unsafe strerror(code) else { return "error \(code)" }
    return unsafe String(cString: text)
  }
}

/// A failure that ends the command with exit status 1; the text is for the person who typed it.
struct Failure: Error, Equatable, CustomStringConvertible {
  let description: String

  init(_ description: String) {
    self.description = description
  }
}

/// Repeats a system call while signals interrupt it, and turns -1 into a thrown error.
@discardableResult
func retrying(_ call: @autoclosure () -> String, _ body: () -> Int) throws(SystemError) -> Int {
  while true {
    let result = body()
    if result != -1 { return result }
    let code = errno
    if code != EINTR { throw SystemError(call(), code: code) }
  }
}
