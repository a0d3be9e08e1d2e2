import CProcessor

/// An open-addressing index from a 64-bit hash to element numbers; the elements stay where they are.
///
/// Linear probing, at most half full, removal by shifting back, so there are no tombstones and a
/// lookup that misses ends at the first empty place. The upper half of the hash is stored beside
/// the number, so that elements are looked at only when they almost certainly match.
@safe
struct HashIndex {
  private struct Entry {
    var tag: UInt32
    /// The element's number plus one; zero is empty.
    var number: UInt32
  }

  private let entries: UnsafeMutablePointer<Entry>
  private let mask: Int

  init(capacity: Int) {
    var size = 16
    while size < capacity * 2 { size *= 2 }
    mask = size - 1
    unsafe entries = LargeMemory.allocate(size)
    unsafe entries.initialize(repeating: Entry(tag: 0, number: 0), count: size)
  }

  /// Frees the memory.
  func deallocate() {
    unsafe entries.deallocate()
  }

  @inline(__always)
  private static func tag(_ hash: UInt64) -> UInt32 { UInt32(truncatingIfNeeded: hash >> 32) }

  /// Where an entry with this tag would like to be. The tag alone decides, so that `remove` can
  /// compute it without the element.
  @inline(__always)
  private func home(_ tag: UInt32) -> Int { Int(tag) & mask }

  /// The number inserted under `hash` for which `matches` is true.
  @inline(__always)
  func find(_ hash: UInt64, where matches: (UInt32) -> Bool) -> UInt32? {
    let tag = Self.tag(hash)
    var position = home(tag)
    while true {
      let entry = unsafe entries[position]
      if entry.number == 0 { return nil }
      if entry.tag == tag && matches(entry.number - 1) { return entry.number - 1 }
      position = (position + 1) & mask
    }
  }

  /// Asks for the place of a hash in the cache.
  @inline(__always)
  func prefetch(_ hash: UInt64) { unsafe fs_prefetch(entries + home(Self.tag(hash))) }

  /// Adds a number. There must be room: the owner's slab is half as large.
  func insert(_ hash: UInt64, _ number: UInt32) {
    let tag = Self.tag(hash)
    var position = home(tag)
    while unsafe entries[position].number != 0 { position = (position + 1) & mask }
    unsafe entries[position] = Entry(tag: tag, number: number + 1)
  }

  /// Removes a number that was inserted under `hash`.
  func remove(_ hash: UInt64, _ number: UInt32) {
    var hole = home(Self.tag(hash))
    while unsafe entries[hole].number != number + 1 {
      precondition(unsafe entries[hole].number != 0, "not in the index")
      hole = (hole + 1) & mask
    }
    var next = hole
    while true {
      next = (next + 1) & mask
      let entry = unsafe entries[next]
      if entry.number == 0 { break }
      // An entry may fill the hole unless its home lies cyclically after the hole.
      if (next - home(entry.tag)) & mask >= (next - hole) & mask {
        unsafe entries[hole] = entry
        hole = next
      }
    }
    unsafe entries[hole] = Entry(tag: 0, number: 0)
  }
}
