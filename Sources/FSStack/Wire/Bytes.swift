/// Unaligned loads and stores of header fields. Whoever uses them has checked the length before.
extension UnsafeRawPointer {
  @inline(__always)
  func byte(_ offset: Int) -> UInt8 {
    unsafe load(fromByteOffset: offset, as: UInt8.self)
  }

  /// Two bytes as they stand in memory.
  @inline(__always)
  func native16(_ offset: Int) -> UInt16 {
    unsafe loadUnaligned(fromByteOffset: offset, as: UInt16.self)
  }

  /// Four bytes as they stand in memory.
  @inline(__always)
  func native32(_ offset: Int) -> UInt32 {
    unsafe loadUnaligned(fromByteOffset: offset, as: UInt32.self)
  }

  /// Eight bytes as they stand in memory.
  @inline(__always)
  func native64(_ offset: Int) -> UInt64 {
    unsafe loadUnaligned(fromByteOffset: offset, as: UInt64.self)
  }

  /// A field of two bytes in network order.
  @inline(__always)
  func network16(_ offset: Int) -> UInt16 {
    unsafe UInt16(bigEndian: native16(offset))
  }

  /// A field of four bytes in network order.
  @inline(__always)
  func network32(_ offset: Int) -> UInt32 {
    unsafe UInt32(bigEndian: native32(offset))
  }
}

extension UnsafeMutableRawPointer {
  /// Stores the bytes of `value` as they are in memory.
  @inline(__always)
  func putNative<T: BitwiseCopyable>(_ value: T, at offset: Int) {
    unsafe storeBytes(of: value, toByteOffset: offset, as: T.self)
  }

  /// Stores an integer in network order.
  @inline(__always)
  func putNetwork<T: FixedWidthInteger & BitwiseCopyable>(_ value: T, at offset: Int) {
    unsafe storeBytes(of: value.bigEndian, toByteOffset: offset, as: T.self)
  }
}
