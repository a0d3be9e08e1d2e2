import CLinux
import Glibc
import Synchronization

/// Closing what other processes have, or had, too. The last close(2) of a socket that lingers waits for its peer, that of
/// a file of FUSE for whoever serves it: neither may hold up the control thread, so that each is closed by a
/// thread made for it.
enum ForeignDescriptors {
  private struct State {
    var threads = 0
    var waiting: [Int32] = []
  }

  private static let state = Mutex(State())

  /// Threads at a time. What comes while all of them are stuck waits.
  static let threadLimit = 256

  /// Closes a descriptor soon, and does not wait for it.
  static func close(_ number: Int32) {
    let mayStart = state.withLock { state in
      guard state.threads < threadLimit else { return false }
      state.threads += 1
      return true
    }
    if mayStart, startThread(number) { return }
    // One that listens does not linger, and must not outlive its application.
    if ListeningSocket.isListening(number) {
      Glibc.close(number)
    } else {
      state.withLock { $0.waiting.append(number) }
    }
  }

  /// Whether all are closed.
  static var isIdle: Bool { state.withLock { $0.threads == 0 } }

  private static func startThread(_ number: Int32) -> Bool {
    var attributes = pthread_attr_t()
    unsafe pthread_attr_init(&attributes)
    defer { unsafe pthread_attr_destroy(&attributes) }
    unsafe pthread_attr_setdetachstate(&attributes, Int32(PTHREAD_CREATE_DETACHED))
    unsafe pthread_attr_setstacksize(&attributes, 1 << 17)
    var thread = pthread_t()
    let created = unsafe pthread_create(
      &thread, &attributes,
      { argument in
        ForeignDescriptors.closeAll(from: Int32(Int(bitPattern: argument)))
        return nil
      }, UnsafeMutableRawPointer(bitPattern: Int(number)))
    if created != 0 { state.withLock { $0.threads -= 1 } }
    return created == 0
  }

  /// In a thread: closes one, and then whatever has waited meanwhile.
  private static func closeAll(from first: Int32) {
    var next: Int32? = first
    while let number = next {
      Glibc.close(number)
      next = state.withLock { state in
        let waiting = state.waiting.popLast()
        if waiting == nil { state.threads -= 1 }
        return waiting
      }
    }
  }
}
