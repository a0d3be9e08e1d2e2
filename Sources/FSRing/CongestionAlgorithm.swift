/// The congestion control algorithms. The raw value is what the option TCP_CONGESTION of a connection
/// carries through the command ring, and is part of the ABI.
public enum CongestionAlgorithm: UInt8, BitwiseCopyable, Sendable {
  /// RFC 9438.
  case cubic = 1
  /// RFC 5681 and RFC 6582; "reno" in Linux.
  case newReno = 2
  /// RFC 8257, for networks whose switches mark early.
  case dctcp = 3

  /// The name that Linux gives it (TCP_CONGESTION in tcp(7)).
  @inlinable
  public var name: StaticString {
    switch self {
    case .cubic: "cubic"
    case .newReno: "reno"
    case .dctcp: "dctcp"
    }
  }

  /// The algorithm of that name, of exactly these bytes; nil if there is none.
  @inlinable
  public init?(name: UnsafeRawBufferPointer) {
    var number: UInt8 = 1
    while let algorithm = Self(rawValue: number) {
      if unsafe algorithm.isNamed(name) {
        self = algorithm
        return
      }
      number += 1
    }
    return nil
  }

  @usableFromInline
  func isNamed(_ other: UnsafeRawBufferPointer) -> Bool {
    let name = self.name
    guard other.count == name.utf8CodeUnitCount else { return false }
    for index in 0..<other.count where unsafe other[index] != name.utf8Start[index] {
      return false
    }
    return true
  }
}
