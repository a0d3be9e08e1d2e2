/// The Internet checksum (RFC 1071), summed in the byte order of the machine.
///
/// A sum is that of the 32-bit words of the data, in 64 bits. It is below 2^32 for every four bytes
/// summed, so that sums of parts of a packet may be added with `&+` and never overflow. Only
/// `fold` makes 16 bits of it; these then stand in memory order, whatever the machine.
enum Checksum {
  /// Adds `bytes`, which begin at an even offset of the data summed, to `sum`.
  @inline(__always)
  static func add(_ bytes: UnsafeRawBufferPointer, to sum: UInt64) -> UInt64 {
    guard let base = bytes.baseAddress else { return sum }
    return unsafe add(base, count: bytes.count, to: sum)
  }

  /// As above.
  @inline(__always)
  static func add(_ base: UnsafeRawPointer, count: Int, to sum: UInt64) -> UInt64 {
    if count >= blockSize {
      return unsafe addBlocks(base, count: count, to: sum)
    }
    return unsafe addWords(base, count: count, to: sum)
  }

  /// Copies `count` bytes and returns their sum, which is valid for data at an even offset.
  @inline(never)
  static func copy(
    from source: UnsafeRawPointer, to destination: UnsafeMutableRawPointer, count: Int
  ) -> UInt64 {
    var lanes = SIMD4<UInt64>()
    var offset = 0
    while count - offset >= blockSize {
      let first = unsafe source.loadUnaligned(fromByteOffset: offset, as: SIMD4<UInt64>.self)
      let second = unsafe source.loadUnaligned(fromByteOffset: offset + 32, as: SIMD4<UInt64>.self)
      unsafe destination.storeBytes(of: first, toByteOffset: offset, as: SIMD4<UInt64>.self)
      unsafe destination.storeBytes(of: second, toByteOffset: offset + 32, as: SIMD4<UInt64>.self)
      lanes = lanes &+ halves(first) &+ halves(second)
      offset += blockSize
    }
    let tail = count - offset
    unsafe (destination + offset).copyMemory(from: source + offset, byteCount: tail)
    return unsafe addWords(source + offset, count: tail, to: lanes.wrappedSum())
  }

  /// The sum that the same data has when it begins at an odd offset.
  @inline(__always)
  static func swapForOddOffset(_ sum: UInt64) -> UInt64 {
    UInt64(fold(sum).byteSwapped)
  }

  /// The sum as 16 bits in memory order. A header's checksum field is its complement; data summed
  /// with a correct checksum in it gives 0xffff.
  @inline(__always)
  static func fold(_ sum: UInt64) -> UInt16 {
    let once = halves(sum)
    let twice = (once & 0xffff) &+ (once >> 16 & 0xffff) &+ (once >> 32)
    let thrice = (twice & 0xffff) &+ (twice >> 16)
    return UInt16(truncatingIfNeeded: thrice &+ (thrice >> 16))
  }

  /// The two 32-bit words of eight bytes, added.
  @inline(__always)
  static func halves(_ word: UInt64) -> UInt64 {
    (word & 0xffff_ffff) &+ (word >> 32)
  }

  // MARK: -

  /// From this size on, vector registers pay.
  private static var blockSize: Int { 64 }

  @inline(__always)
  private static func halves(_ words: SIMD4<UInt64>) -> SIMD4<UInt64> {
    (words & 0xffff_ffff) &+ (words &>> 32)
  }

  @inline(never)
  private static func addBlocks(_ base: UnsafeRawPointer, count: Int, to sum: UInt64) -> UInt64 {
    var lanes = SIMD4<UInt64>()
    var offset = 0
    while count - offset >= blockSize {
      let first = unsafe base.loadUnaligned(fromByteOffset: offset, as: SIMD4<UInt64>.self)
      let second = unsafe base.loadUnaligned(fromByteOffset: offset + 32, as: SIMD4<UInt64>.self)
      lanes = lanes &+ halves(first) &+ halves(second)
      offset += blockSize
    }
    return unsafe addWords(base + offset, count: count - offset, to: sum &+ lanes.wrappedSum())
  }

  @inline(__always)
  private static func addWords(_ base: UnsafeRawPointer, count: Int, to sum: UInt64) -> UInt64 {
    var sum = sum
    var offset = 0
    while count - offset >= 8 {
      sum = unsafe sum &+ halves(base.native64(offset))
      offset += 8
    }
    if count & 4 != 0 {
      sum = unsafe sum &+ UInt64(base.native32(offset))
      offset += 4
    }
    if count & 2 != 0 {
      sum = unsafe sum &+ UInt64(base.native16(offset))
      offset += 2
    }
    if count & 1 != 0 {
      // The last byte is the first of a pair whose second is zero.
      sum = unsafe sum &+ UInt64(UInt16(littleEndian: UInt16(base.byte(offset))))
    }
    return sum
  }
}
