import Glibc

/// A file that is read at positions, such as the memory of a process.
struct BinaryFile {
  private let descriptor: Descriptor

  /// Opens a file for reading.
  init(_ path: String) throws(SystemError) {
    let number = unsafe open(path, O_RDONLY | O_CLOEXEC)
    guard number >= 0 else { throw SystemError("open \(path)") }
    descriptor = Descriptor(adopting: number)
  }

  /// That many bytes, or nil if not all of them can be read.
  func read(at position: UInt64, count: Int) -> [UInt8]? {
    guard let offset = off_t(exactly: position), count >= 0 else { return nil }
    var bytes = [UInt8](repeating: 0, count: count)
    let result = unsafe bytes.withUnsafeMutableBytes {
      unsafe pread(descriptor.number, $0.baseAddress, $0.count, offset)
    }
    return result == count ? bytes : nil
  }
}
