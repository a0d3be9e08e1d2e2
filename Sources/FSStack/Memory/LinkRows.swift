import CProcessor

/// Four words for each element of a slab, side by side in half a cache line: what several tables keep of an
/// element costs one wait for memory, not one for each table. A word of zero is a table's first state.
@safe
struct LinkRows<Index: SlabIndex & BitwiseCopyable> {
  /// Base-2 logarithm of the words in a row.
  static var shift: Int { 2 }

  private let words: UnsafeMutablePointer<UInt64>

  init(capacity: Int) {
    unsafe words = LargeMemory.allocate(capacity << Self.shift)
    unsafe words.initialize(repeating: 0, count: capacity << Self.shift)
  }

  /// Frees the memory.
  func deallocate() { unsafe words.deallocate() }

  /// Where the first element's word of a column stands; each element has its word `1 << shift` further.
  func column<Word: BitwiseCopyable>(_ number: Int) -> UnsafeMutablePointer<Word> {
    precondition(number < 1 << Self.shift && MemoryLayout<Word>.stride == 8)
    return unsafe UnsafeMutableRawPointer(words + number).assumingMemoryBound(to: Word.self)
  }

  /// Asks for an element's row in the cache.
  @inline(__always)
  func prefetch(_ index: Index) { unsafe fs_prefetch(words + Int(index.raw) &<< Self.shift) }
}
