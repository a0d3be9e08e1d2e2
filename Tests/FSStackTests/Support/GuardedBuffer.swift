import Glibc

/// Memory whose end is the end of what may be read: the page after it is inaccessible, so that a
/// parser that looks one byte too far crashes the test.
final class GuardedBuffer {
  private let mapping: UnsafeMutableRawPointer
  private let size: Int
  private static let page = 4096

  init(capacity: Int = 64 * 1024) {
    size = (capacity + Self.page - 1) / Self.page * Self.page
    let flags = MAP_PRIVATE | MAP_ANONYMOUS
    guard let memory = mmap(nil, size + Self.page, PROT_READ | PROT_WRITE, flags, -1, 0),
      memory != MAP_FAILED, mprotect(memory + size, Self.page, PROT_NONE) == 0
    else { fatalError("no memory") }
    mapping = memory
  }

  deinit { munmap(mapping, size + Self.page) }

  /// Places `bytes` before the end of the memory.
  func place(_ bytes: some Collection<UInt8>) -> UnsafeRawBufferPointer {
    let start = mapping + (size - bytes.count)
    let target = UnsafeMutableRawBufferPointer(start: start, count: bytes.count)
    target.copyBytes(from: bytes)
    return UnsafeRawBufferPointer(target)
  }
}
