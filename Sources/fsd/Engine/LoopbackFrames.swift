import FSStack
import Glibc

/// Memory for the frames that an engine sends to itself: connections between two programs of this
/// host. The pages are touched only when there are such connections.
@safe
final class LoopbackFrames: @unchecked Sendable {
  /// Bytes of one frame: large, because no link limits them.
  static let frameSize = 16384
  /// Largest IP packet in a frame, behind the Ethernet header.
  static let mtu = frameSize - 14
  private static let count = 1024

  /// What the engine may send. It belongs to the engine's thread.
  nonisolated(unsafe) let queue: TransmitQueue
  private nonisolated(unsafe) let memory: UnsafeMutableRawPointer

  /// Reserves the memory.
  init() throws(SystemError) {
    let mapping = unsafe mmap(
      nil, Self.frameSize * Self.count, PROT_READ | PROT_WRITE,
      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
    guard let mapping = unsafe mapping, unsafe mapping != MAP_FAILED else {
      throw SystemError("mmap of loopback frames")
    }
    unsafe memory = unsafe mapping
    unsafe queue = unsafe TransmitQueue(
      base: mapping, frameSize: Self.frameSize,
      frames: (0..<Self.count).reversed().map { UInt64($0 * Self.frameSize) })
  }

  deinit {
    unsafe queue.deallocate()
    unsafe munmap(memory, Self.frameSize * Self.count)
  }
}
