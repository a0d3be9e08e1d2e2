import CShim

/// Descriptors kept open for the next socket() or accept(), so that it makes no system call: a
/// stack of numbers. Protected by the lock of its channel.
struct DescriptorPool {
  private var numbers: UnsafeMutablePointer<Int32>
  private(set) var count = 0

  static var capacity: Int { 512 }
  /// Bytes of memory that a pool needs.
  static var byteCount: Int { capacity * MemoryLayout<Int32>.stride }

  init(memory: UnsafeMutableRawPointer) {
    numbers = memory.bindMemory(to: Int32.self, capacity: Self.capacity)
  }

  /// Takes the number put in last, which is now none of ours.
  @inline(__always)
  mutating func take() -> Int32? {
    guard count > 0 else { return nil }
    count -= 1
    return numbers[count]
  }

  /// Keeps a descriptor; false if there are enough. The standard streams are never kept, because
  /// programs close them to have the next open() reuse their numbers.
  @inline(__always)
  mutating func put(_ fd: Int32, limit: Int) -> Bool {
    guard count < limit, count < Self.capacity, fd > 2 else { return false }
    descriptorAssign(fd, kind: .internal, index: 0, closeOnExec: true)
    numbers[count] = fd
    count += 1
    return true
  }

  /// Takes one number out, wherever it is; false if it is not there.
  mutating func remove(_ fd: Int32) -> Bool {
    for position in 0..<count where numbers[position] == fd {
      count -= 1
      numbers[position] = numbers[count]
      return true
    }
    return false
  }

  /// Closes all.
  mutating func closeAll() {
    while let fd = take() { closeInternal(fd) }
  }
}
