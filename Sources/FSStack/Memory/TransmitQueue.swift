/// The frames that one engine may send on one interface, and those waiting to be sent.
///
/// A handle: copies share the state. The engine takes a free frame, fills it and commits it; the
/// port moves committed frames to its transmit ring and recycles them when the kernel is done.
@safe
public struct TransmitQueue {
  private struct State {
    var freeCount: Int
    var pendingHead: Int
    var pendingCount: Int
  }

  private struct Pending {
    var offset: UInt64
    var length: Int
  }

  private let base: UnsafeMutableRawPointer
  private let free: UnsafeMutablePointer<UInt64>
  private let pending: UnsafeMutablePointer<Pending>
  private let state: UnsafeMutablePointer<State>
  /// Frames in all.
  public let capacity: Int
  /// Bytes of one frame.
  public let frameSize: Int

  /// Creates a queue over frames of `frameSize` bytes at the given offsets from `base`.
  public init(base: UnsafeMutableRawPointer, frameSize: Int, frames: [UInt64]) {
    unsafe self.base = unsafe base
    self.frameSize = frameSize
    capacity = frames.count
    unsafe free = .allocate(capacity: frames.count)
    unsafe pending = .allocate(capacity: frames.count)
    unsafe state = .allocate(capacity: 1)
    unsafe state.initialize(
      to: State(freeCount: frames.count, pendingHead: 0, pendingCount: 0))
    for (index, offset) in frames.enumerated() { unsafe free[index] = offset }
  }

  /// Frees the bookkeeping, not the frames; the handle and its copies are void afterwards.
  public func deallocate() {
    unsafe free.deallocate()
    unsafe pending.deallocate()
    unsafe state.deallocate()
  }

  /// Frames neither pending nor with the kernel.
  public var freeCount: Int { unsafe state.pointee.freeCount }
  /// Frames waiting for `takePending`.
  public var pendingCount: Int { unsafe state.pointee.pendingCount }

  /// Takes a free frame: the most recently recycled one, whose cache lines are warm.
  func allocate() -> UInt64? {
    guard unsafe state.pointee.freeCount > 0 else { return nil }
    unsafe state.pointee.freeCount -= 1
    return unsafe free[state.pointee.freeCount]
  }

  /// The first byte of a frame.
  func frame(_ offset: UInt64) -> UnsafeMutableRawPointer { unsafe base + Int(offset) }

  /// Queues a filled frame of `length` bytes.
  func commit(_ offset: UInt64, length: Int) {
    precondition(length <= frameSize && pendingCount < capacity)
    let head = unsafe state.pointee.pendingHead
    var position = head + pendingCount
    if position >= capacity { position -= capacity }
    unsafe pending[position] = Pending(offset: offset, length: length)
    unsafe state.pointee.pendingCount += 1
  }

  /// Gives `body` the pending frames in order, until it returns false: that frame stays first.
  public func takePending(_ body: (UInt64, Int) -> Bool) {
    while unsafe state.pointee.pendingCount > 0 {
      let head = unsafe state.pointee.pendingHead
      let entry = unsafe pending[head]
      guard body(entry.offset, entry.length) else { return }
      unsafe state.pointee.pendingHead = head + 1 == capacity ? 0 : head + 1
      unsafe state.pointee.pendingCount -= 1
    }
  }

  /// Makes a frame that the kernel has sent free again.
  public func recycle(_ offset: UInt64) {
    precondition(freeCount < capacity)
    unsafe free[state.pointee.freeCount] = offset
    unsafe state.pointee.freeCount += 1
  }
}
