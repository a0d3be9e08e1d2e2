import CLaboratory
import Foundation

/// The monotonic clock, in seconds.
public enum MonotonicTime {
  /// Seconds since some moment in the past.
  public static var now: Double { Double(nanoseconds) / 1e9 }

  /// The same in nanoseconds.
  public static var nanoseconds: UInt64 {
    var time = timespec()
    unsafe clock_gettime(CLOCK_MONOTONIC, &time)
    return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
  }
}

/// Asks again and again until `condition` holds; false when it still does not after `seconds`.
@discardableResult
public func waitUntil(
  seconds: Double, every interval: Double = 0.01, _ condition: () throws -> Bool
) rethrows -> Bool {
  let deadline = MonotonicTime.now + seconds
  while try !condition() {
    guard MonotonicTime.now < deadline else { return false }
    usleep(UInt32(interval * 1e6))
  }
  return true
}
