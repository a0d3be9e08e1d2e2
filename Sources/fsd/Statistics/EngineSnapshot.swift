import FSDevice
import FSStack

/// What an engine's thread counts beside the engine itself.
struct LoopCounters: BitwiseCopyable, Sendable {
  /// Times round the loop.
  var rounds: UInt64 = 0
  /// Times the thread slept in the kernel because there was nothing to do.
  var sleeps: UInt64 = 0
  /// Times it was about to sleep and found something to do.
  var sleepsAverted: UInt64 = 0
  /// Writes to applications' eventfds.
  var wakeUps: UInt64 = 0
  /// Writes to other engines' eventfds after a hand-over.
  var engineWakeUps: UInt64 = 0
  /// Nanoseconds of rounds in which there was work.
  var busyNanoseconds: UInt64 = 0
  /// Nanoseconds of rounds without work.
  var idleNanoseconds: UInt64 = 0
  /// Nanoseconds asleep in the kernel.
  var sleepNanoseconds: UInt64 = 0
  /// Processor cycles (time-stamp counter) of rounds in which there was work.
  var busyCycles: UInt64 = 0
  /// Processor cycles of rounds without work.
  var idleCycles: UInt64 = 0
  /// Frames for another engine that found its hand-over ring full.
  var handOverFull: UInt64 = 0
  /// Tasks of the control thread carried out.
  var tasks: UInt64 = 0
  /// Receive bursts by size: element n counts those of 2^n to 2^(n+1) - 1 frames.
  var bursts = InlineArray<7, UInt64>(repeating: 0)

  /// Names of the elements of `bursts`.
  static let burstNames = ["1", "2_3", "4_7", "8_15", "16_31", "32_63", "64"]

  /// Counts one burst of at least one frame.
  @inline(__always)
  mutating func countBurst(_ frames: Int) {
    bursts[min(6, Int.bitWidth - 1 - frames.leadingZeroBitCount)] += 1
  }
}

/// One AF_XDP socket, as the statistics show it.
struct SocketSnapshot: Sendable {
  var interface: String
  var queue: Int
  var mode: String
  /// Counted by this process.
  var counters: [(name: String, value: UInt64)]
  /// Counted by the kernel.
  var kernel: [(name: String, value: UInt64)]
}

/// Everything an engine and its thread have counted, at one moment.
struct EngineSnapshot: Sendable {
  var index: Int
  var processor: Int
  var engine: EngineStatistics
  var loop: LoopCounters
  var sockets: [SocketSnapshot]
}
