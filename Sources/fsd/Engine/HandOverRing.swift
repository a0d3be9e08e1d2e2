import Glibc
import Synchronization

/// Frames on their way from the engine that received them to the one that owns their flow.
///
/// One producer, one consumer, both threads of this process. A frame is copied in and read in
/// place, so neither side waits for the other and no memory is allocated. The pages are touched
/// only when frames really wander.
@safe
final class HandOverRing: Sendable {
  private struct Slot {
    var length: UInt32
    var interface: UInt32
  }

  /// Frames that fit.
  static let capacity: UInt32 = 2048
  private static let slotHeader = 16

  /// Longest frame.
  let frameSize: Int
  private nonisolated(unsafe) let memory: UnsafeMutableRawPointer
  private let byteCount: Int
  // The producer's and the consumer's index stand on cache lines of their own: the first and second
  // line of the memory.
  private var tail: UnsafeMutablePointer<Atomic<UInt32>> {
    unsafe memory.assumingMemoryBound(to: Atomic<UInt32>.self)
  }
  private var head: UnsafeMutablePointer<Atomic<UInt32>> {
    unsafe (memory + 128).assumingMemoryBound(to: Atomic<UInt32>.self)
  }

  /// Makes an empty ring for frames of up to `frameSize` bytes.
  init(frameSize: Int) throws(SystemError) {
    self.frameSize = frameSize
    byteCount = 4096 + Int(Self.capacity) * (Self.slotHeader + frameSize)
    let mapping = unsafe mmap(
      nil, byteCount, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
    guard let mapping = unsafe mapping, unsafe mapping != MAP_FAILED else {
      throw SystemError("mmap of a hand-over ring")
    }
    unsafe memory = unsafe mapping
  }

  deinit {
    unsafe munmap(memory, byteCount)
  }

  private func slot(_ index: UInt32) -> UnsafeMutableRawPointer {
    let position = Int(index % Self.capacity)
    return unsafe memory + 4096 + position * (Self.slotHeader + frameSize)
  }

  /// Copies a frame in; false when the ring is full or the frame too long. The producer's.
  func push(_ frame: UnsafeRawBufferPointer, interface: Int) -> Bool {
    let index = unsafe tail.pointee.load(ordering: .relaxed)
    let taken = unsafe head.pointee.load(ordering: .acquiring)
    guard index &- taken < Self.capacity, frame.count <= frameSize,
      let source = frame.baseAddress
    else { return false }
    let place = unsafe slot(index)
    unsafe place.storeBytes(
      of: Slot(length: UInt32(frame.count), interface: UInt32(interface)), as: Slot.self)
    unsafe (place + Self.slotHeader).copyMemory(from: source, byteCount: frame.count)
    unsafe tail.pointee.store(index &+ 1, ordering: .releasing)
    return true
  }

  /// Lends up to `maximum` frames, one after the other. Returns their number. The consumer's.
  func drain(maximum: Int, _ body: (UnsafeRawBufferPointer, Int) -> Void) -> Int {
    let index = unsafe head.pointee.load(ordering: .relaxed)
    let ready = unsafe tail.pointee.load(ordering: .acquiring) &- index
    let count = min(Int(ready), maximum)
    for position in 0..<count {
      let place = unsafe slot(index &+ UInt32(position))
      let entry = unsafe place.load(as: Slot.self)
      unsafe body(
        UnsafeRawBufferPointer(start: place + Self.slotHeader, count: Int(entry.length)),
        Int(entry.interface))
    }
    if count > 0 { unsafe head.pointee.store(index &+ UInt32(count), ordering: .releasing) }
    return count
  }

  /// Whether no frame waits.
  var isEmpty: Bool {
    unsafe tail.pointee.load(ordering: .acquiring) == head.pointee.load(ordering: .acquiring)
  }
}
