import Glibc

/// Why something on an interface could not be done.
public enum DeviceError: Error, Equatable, CustomStringConvertible {
  /// No interface of this name is in the network namespace.
  case noSuchInterface(String)
  /// The interface runs an XDP program that is not ours.
  case alreadyAttached(interface: String, programID: UInt32)
  /// The queue has an AF_XDP socket that is not ours.
  case queueBusy(interface: String, queue: Int)
  /// The kernel or the device cannot do it; the sentence says what.
  case unsupported(String)
  /// A system call failed.
  case system(operation: String, subject: String, errno: Int32)

  /// One sentence for the person who started the daemon.
  public var description: String {
    switch self {
    case .noSuchInterface(let name):
      return "no such interface: \(name)"
    case .alreadyAttached(let interface, let programID):
      return "XDP program already attached to \(interface) by someone else"
        + " (program id \(programID))"
    case .queueBusy(let interface, let queue):
      return "queue \(queue) of \(interface) is taken by another AF_XDP socket"
    case .unsupported(let sentence):
      return sentence
    case .system(let operation, let subject, let code):
      return "\(operation) \(subject): \(DeviceError.text(of: code))"
    }
  }

  /// The errno value that says it best.
  public var code: Int32 {
    switch self {
    case .noSuchInterface: ENODEV
    case .alreadyAttached, .queueBusy: EBUSY
    case .unsupported: EOPNOTSUPP
    case .system(_, _, let code): code
    }
  }

  /// What the C library says about an error number.
  static func text(of code: Int32) -> String {
    unsafe strerror(code).map { unsafe String(cString: $0) } ?? "error \(code)"
  }

  /// The error of the system call that has just failed.
  static func last(_ operation: String, _ subject: String) -> DeviceError {
    .system(operation: operation, subject: subject, errno: errno)
  }
}
