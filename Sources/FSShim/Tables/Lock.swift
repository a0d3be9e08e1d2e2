import CShim
import Synchronization

/// A word of this process's memory that several threads change.
typealias SharedWord = UnsafeMutablePointer<Atomic<UInt32>>

/// The number of the calling thread.
@inline(__always)
func currentThreadID() -> UInt32 {
  let known = fs_thread_state().pointee.identifier
  if known != 0 { return known }
  let asked = UInt32(fs_sys_gettid())
  fs_thread_state().pointee.identifier = asked
  return asked
}

/// Nanoseconds of the monotonic clock.
func monotonicNow() -> UInt64 { fs_now() }

/// A lock between the threads of this process: 0 is free, else the owner's thread number, with the
/// highest bit while others wait.
///
/// It knows its owner so that a signal handler that interrupted the owner is refused instead of
/// waiting for ever, and so that a forked child can take a lock whose owner stayed in the parent.
enum Lock {
  private static var wanted: UInt32 { 0x8000_0000 }

  /// Takes the lock; false if the calling thread has it already.
  @inline(__always)
  static func acquire(_ word: SharedWord) -> Bool {
    let me = currentThreadID()
    let (taken, found) = word.pointee.compareExchange(
      expected: 0, desired: me, ordering: .acquiring)
    return taken || wait(word, me, found)
  }

  /// Takes the lock if it is free.
  @inline(__always)
  static func tryAcquire(_ word: SharedWord) -> Bool {
    word.pointee.compareExchange(
      expected: 0, desired: currentThreadID(), ordering: .acquiring
    ).exchanged
  }

  /// Gives the lock back.
  @inline(__always)
  static func release(_ word: SharedWord) {
    if word.pointee.exchange(0, ordering: .releasing) & wanted != 0 { wake(word) }
  }

  @inline(never)
  private static func wake(_ word: SharedWord) {
    _ = fs_sys_futex_wake(UnsafeMutableRawPointer(word).assumingMemoryBound(to: UInt32.self), 1)
  }

  @inline(never)
  private static func wait(_ word: SharedWord, _ me: UInt32, _ first: UInt32) -> Bool {
    if first & ~wanted == me { return false }
    for _ in 0..<50 {
      fs_pause()
      if word.pointee.compareExchange(expected: 0, desired: me, ordering: .acquiring).exchanged {
        return true
      }
    }
    let raw = UnsafeMutableRawPointer(word).assumingMemoryBound(to: UInt32.self)
    while true {
      let found = word.pointee.load(ordering: .relaxed)
      if found == 0 {
        let taken = word.pointee.compareExchange(
          expected: 0, desired: me | wanted, ordering: .acquiring
        ).exchanged
        if taken { return true }
        continue
      }
      let marked = found | wanted
      if found != marked {
        let done = word.pointee.compareExchange(
          expected: found, desired: marked, ordering: .relaxed
        ).exchanged
        if !done { continue }
      }
      // The owner may have died with the lock, or stayed behind in the parent of a fork.
      if fs_sys_futex_wait_for(raw, marked, 50_000_000) == -Int(ETIMEDOUT),
        fs_sys_thread_exists(found & ~wanted) == 0,
        word.pointee.compareExchange(
          expected: marked, desired: me | wanted, ordering: .acquiring
        ).exchanged
      {
        return true
      }
    }
  }
}
