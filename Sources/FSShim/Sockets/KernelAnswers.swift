import CShim

/// What the kernel says of options: the shim asks a new socket instead of knowing better. So values,
/// errors and privileges are those of the kernel that runs, whatever its version and its sysctls.
enum KernelAnswer {
  /// The answer to setsockopt(2).
  struct Setting {
    /// 0 or -errno.
    var result: Int32 = -ENOBUFS
    /// What getsockopt(2) then says, and said before.
    var kept: Int32 = 0
    var before: Int32?
    /// What it says of SO_PRIORITY, which IP_TOS changes too.
    var priority: Int32 = 0
  }

  /// Sets an option on a new socket; `reading` is the name under which the kernel then tells its
  /// value. ENOBUFS if no socket can be had.
  static func toSetting(
    isIPv6: Bool, _ level: Int32, _ name: Int32, reading: Int32, _ value: UnsafeRawPointer?,
    _ length: socklen_t
  ) -> Setting {
    var answer = Setting()
    withNewSocket(isIPv6) { fd in
      answer.before = integer(fd, level, reading)
      answer.result = fs_sys_setsockopt(fd, level, name, value, length)
      guard answer.result == 0 else { return }
      answer.kept = integer(fd, level, reading) ?? 0
      answer.priority = integer(fd, SOL_SOCKET, SO_PRIORITY) ?? 0
    }
    return answer
  }

  /// An integer option of a kernel socket.
  static func integer(_ fd: Int32, _ level: Int32, _ name: Int32) -> Int32? {
    var value: Int32 = 0
    var length = socklen_t(MemoryLayout<Int32>.size)
    return fs_sys_getsockopt(fd, level, name, &value, &length) == 0 ? value : nil
  }

  /// Calls `body` with a new socket of the kernel, if one can be had.
  static func withNewSocket(_ isIPv6: Bool, _ body: (Int32) -> Void) {
    let fd = fs_sys_socket(
      isIPv6 ? AF_INET6 : AF_INET, Int32(SOCK_STREAM.rawValue) | SocketTypeFlag.closeOnExec, 0)
    guard fd >= 0 else { return }
    body(fd)
    _ = fs_sys_close(fd)
  }
}

/// What buffer sizes and time-outs become, learned from the kernel once: programs set these for
/// every connection, and a new socket costs more than the connection does.
struct KernelLimits {
  private var isKnown = false
  // What SO_SNDBUF and SO_RCVBUF tell after the smallest and the largest number was set. Until the
  // kernel can be asked, its usual values.
  private var sendLowest: Int32 = 4608
  private var sendHighest: Int32 = 425_984
  private var receiveLowest: Int32 = 2304
  private var receiveHighest: Int32 = 425_984
  /// Microseconds of a jiffy, to which time-outs are rounded up.
  private var tick: UInt64 = 4000

  /// The limits of this process.
  static var known: KernelLimits {
    if !process.pointee.limits.isKnown { learn() }
    return process.pointee.limits
  }

  private static func learn() {
    KernelAnswer.withNewSocket(false) { fd in
      var limits = KernelLimits()
      limits.sendLowest = after(fd, SO_SNDBUF, 0) ?? limits.sendLowest
      limits.sendHighest = after(fd, SO_SNDBUF, .max) ?? limits.sendHighest
      limits.receiveLowest = after(fd, SO_RCVBUF, 0) ?? limits.receiveLowest
      limits.receiveHighest = after(fd, SO_RCVBUF, .max) ?? limits.receiveHighest
      var time = timeval(tv_sec: 0, tv_usec: 1)
      var length = socklen_t(MemoryLayout<timeval>.size)
      if fs_sys_setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &time, length) == 0,
        fs_sys_getsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &time, &length) == 0, time.tv_usec > 0
      {
        limits.tick = UInt64(time.tv_usec)
      }
      limits.isKnown = true
      process.pointee.limits = limits
    }
  }

  private static func after(_ fd: Int32, _ name: Int32, _ value: Int32) -> Int32? {
    var value = value
    let length = socklen_t(MemoryLayout<Int32>.size)
    guard fs_sys_setsockopt(fd, SOL_SOCKET, name, &value, length) == 0 else { return nil }
    return KernelAnswer.integer(fd, SOL_SOCKET, name)
  }

  /// The size that SO_SNDBUF makes of a number: twice as much, within bounds; a negative number is
  /// a very large one.
  func sendBuffer(_ number: Int32) -> Int32 { size(number, sendLowest, sendHighest) }

  /// Likewise for SO_RCVBUF.
  func receiveBuffer(_ number: Int32) -> Int32 { size(number, receiveLowest, receiveHighest) }

  private func size(_ number: Int32, _ lowest: Int32, _ highest: Int32) -> Int32 {
    max(Int32(min(UInt32(bitPattern: number), UInt32(highest) / 2)) * 2, lowest)
  }

  /// Seconds of the longest SO_LINGER, as it reads back.
  var longestLinger: Int32 {
    Int32(truncatingIfNeeded: Int64.max / Int64(1_000_000 / tick))
  }

  /// A time-out's fraction of a second in whole jiffies: microseconds.
  func rounded(microseconds: UInt64) -> UInt64 { (microseconds + tick - 1) / tick * tick }
}
