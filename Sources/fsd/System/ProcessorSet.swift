import CLinux
import Glibc

/// Processors, as the kernel's affinity calls name them.
struct ProcessorSet: Equatable {
  private(set) var members: [Int] = []

  /// Processors a mask can name.
  static let limit = 4096

  mutating func insert(_ processor: Int) {
    guard !members.contains(processor) else { return }
    members.append(processor)
    members.sort()
  }

  /// Lends the kernel's form of the set.
  func withMask<Result>(_ body: (UnsafePointer<cpu_set_t>, Int) -> Result) -> Result {
    var words = [UInt](repeating: 0, count: Self.limit / UInt.bitWidth)
    for member in members where member < Self.limit {
      words[member / UInt.bitWidth] |= 1 << (member % UInt.bitWidth)
    }
    return unsafe words.withUnsafeBytes { bytes in
      guard let base = bytes.baseAddress else { preconditionFailure("an empty mask") }
      return unsafe body(base.assumingMemoryBound(to: cpu_set_t.self), bytes.count)
    }
  }

  /// The processors this process may run on.
  static func allowed() throws(SystemError) -> ProcessorSet {
    var words = [UInt](repeating: 0, count: limit / UInt.bitWidth)
    let result = unsafe words.withUnsafeMutableBytes { bytes in
      guard let base = bytes.baseAddress else { return Int32(-1) }
      return unsafe sched_getaffinity(0, bytes.count, base.assumingMemoryBound(to: cpu_set_t.self))
    }
    guard result >= 0 else { throw SystemError("sched_getaffinity") }
    var set = ProcessorSet()
    for processor in 0..<limit
    where words[processor / UInt.bitWidth] & (1 << (processor % UInt.bitWidth)) != 0 {
      set.members.append(processor)
    }
    return set
  }
}
