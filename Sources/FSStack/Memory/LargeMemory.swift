import Glibc

/// Memory for what an engine has many of.
enum LargeMemory {
  private static var hugePage: Int { 2 << 20 }

  private static var cacheLine: Int { 64 }

  /// Room for `capacity` elements, not initialised; it begins with a cache line. Large ones are on huge
  /// pages where the system offers them (madvise(2)): with many connections each packet meets other pages
  /// than the one before, and their addresses would cost as much as their contents. Slabs are filled from
  /// the front, so that no page is there in vain. To be freed with `deallocate()`.
  static func allocate<Element: ~Copyable>(_ capacity: Int) -> UnsafeMutablePointer<Element> {
    let size = capacity * MemoryLayout<Element>.stride
    let isLarge = size >= 2 * hugePage
    let memory = UnsafeMutableRawPointer.allocate(
      byteCount: size, alignment: isLarge ? hugePage : cacheLine)
    // A hint: without it the pages are small.
    if isLarge { _ = unsafe madvise(memory, size, MADV_HUGEPAGE) }
    return unsafe memory.bindMemory(to: Element.self, capacity: capacity)
  }
}
