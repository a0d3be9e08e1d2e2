import CLaboratory
import Foundation
import Laboratory

/// The thread's place and time.
enum Processor {
  static func pin(to core: Int) throws {
    guard lab_pin_to_core(Int32(core)) == 0 else {
      throw LaboratoryError("there is no core \(core)")
    }
  }

  /// Processor seconds of this thread.
  static var threadSeconds: Double {
    var time = timespec()
    unsafe clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
  }

  /// Waits until a descriptor can be read, for less than a second.
  static func wait(_ descriptor: Int32, nanoseconds: UInt64) {
    lab_wait(descriptor, -1, min(nanoseconds, 999_999_999))
  }
}
