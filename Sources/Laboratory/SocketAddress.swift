import Foundation

/// An IPv4 or IPv6 address and a port, for the socket calls.
public struct SocketAddress: Sendable {
  private var storage = sockaddr_storage()
  private let length: socklen_t
  /// AF_INET or AF_INET6.
  public let family: Int32

  /// Reads an address from text.
  public init(_ text: String, port: Int) throws {
    if text.contains(":") {
      var address = sockaddr_in6()
      address.sin6_family = sa_family_t(AF_INET6)
      address.sin6_port = UInt16(port).bigEndian
      guard unsafe inet_pton(AF_INET6, text, &address.sin6_addr) == 1 else {
        throw LaboratoryError("not an IPv6 address: \(text)")
      }
      unsafe withUnsafeMutableBytes(of: &storage) {
        unsafe $0.storeBytes(of: address, as: sockaddr_in6.self)
      }
      (family, length) = (AF_INET6, socklen_t(MemoryLayout<sockaddr_in6>.size))
    } else {
      var address = sockaddr_in()
      address.sin_family = sa_family_t(AF_INET)
      address.sin_port = UInt16(port).bigEndian
      guard unsafe inet_pton(AF_INET, text, &address.sin_addr) == 1 else {
        throw LaboratoryError("not an IPv4 address: \(text)")
      }
      unsafe withUnsafeMutableBytes(of: &storage) {
        unsafe $0.storeBytes(of: address, as: sockaddr_in.self)
      }
      (family, length) = (AF_INET, socklen_t(MemoryLayout<sockaddr_in>.size))
    }
  }

  /// Calls `body` with what bind(2) and connect(2) take.
  public func withPointer<Result>(
    _ body: (UnsafePointer<sockaddr>, socklen_t) throws -> Result
  ) rethrows -> Result {
    unsafe try withUnsafePointer(to: storage) { pointer in
      unsafe try pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        unsafe try body($0, length)
      }
    }
  }
}
