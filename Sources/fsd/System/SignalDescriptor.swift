import CLinux
import Glibc

/// Signals as something to read. Made before the first thread, which inherits that they are
/// blocked.
struct SignalDescriptor: Sendable {
  let descriptor: Descriptor

  /// Blocks the signals and receives them here from now on.
  init(_ signals: [Int32]) throws(SystemError) {
    var set = sigset_t()
    unsafe sigemptyset(&set)
    for number in signals { unsafe sigaddset(&set, number) }
    let code = unsafe pthread_sigmask(SIG_BLOCK, &set, nil)
    guard code == 0 else { throw SystemError("pthread_sigmask", code: code) }
    let number = unsafe signalfd(-1, &set, Int32(SFD_CLOEXEC | SFD_NONBLOCK))
    guard number >= 0 else { throw SystemError("signalfd") }
    descriptor = Descriptor(adopting: number)
  }

  /// Whether a signal is ignored, as nohup(1) has it.
  static func isIgnored(_ number: Int32) -> Bool {
    var action = sigaction()
    guard unsafe sigaction(number, nil, &action) == 0 else { return false }
    let ignoring = unsafe unsafeBitCast(SIG_IGN, to: Int.self)
    return unsafe unsafeBitCast(action.__sigaction_handler.sa_handler, to: Int.self) == ignoring
  }

  /// The next signal that has arrived.
  func take() -> Int32? {
    var record = signalfd_siginfo()
    let size = MemoryLayout<signalfd_siginfo>.size
    guard unsafe read(descriptor.number, &record, size) == size else { return nil }
    return Int32(record.ssi_signo)
  }
}
