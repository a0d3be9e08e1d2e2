/// A set of ports. A handle: copies share it.
@safe
struct PortSet {
  private let words: UnsafeMutablePointer<UInt64>

  private static var wordCount: Int { 1024 }

  init() {
    unsafe words = .allocate(capacity: Self.wordCount)
    removeAll()
  }

  /// Frees the memory.
  func deallocate() { unsafe words.deallocate() }

  func contains(_ port: UInt16) -> Bool {
    unsafe words[Int(port >> 6)] >> UInt64(port & 63) & 1 != 0
  }

  func insert(_ port: UInt16) { unsafe words[Int(port >> 6)] |= 1 << UInt64(port & 63) }

  func removeAll() { unsafe words.initialize(repeating: 0, count: Self.wordCount) }
}
