import FSStack
import Glibc

/// A TCP socket of the kernel, with a time limit on everything.
final class KernelSocket {
  let descriptor: Int32

  init(descriptor: Int32) {
    self.descriptor = descriptor
    var limit = timeval(tv_sec: 2, tv_usec: 0)
    for option in [SO_RCVTIMEO, SO_SNDTIMEO] {
      setsockopt(descriptor, SOL_SOCKET, option, &limit, socklen_t(MemoryLayout<timeval>.size))
    }
  }

  deinit { close(descriptor) }

  /// A listening socket on all IPv4 addresses.
  static func listen(port: UInt16) throws -> KernelSocket {
    let result = KernelSocket(descriptor: socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0))
    var on: Int32 = 1
    setsockopt(result.descriptor, SOL_SOCKET, SO_REUSEADDR, &on, 4)
    guard result.withAddress(IPAddress(v4: 0, 0, 0, 0), port, Glibc.bind) == 0,
      Glibc.listen(result.descriptor, 16) == 0
    else { throw SetUpFailure(message: "cannot listen on \(port): errno \(errno)") }
    return result
  }

  /// A connected socket; nil if there was no answer, or a refusal.
  static func connect(to address: IPAddress, port: UInt16, from local: UInt16 = 0) -> KernelSocket?
  {
    let result = KernelSocket(descriptor: socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0))
    if local != 0 {
      guard result.withAddress(IPAddress(v4: 0, 0, 0, 0), local, Glibc.bind) == 0 else {
        return nil
      }
    }
    return result.withAddress(address, port, Glibc.connect) == 0 ? result : nil
  }

  func accept() -> KernelSocket? {
    let accepted = Glibc.accept(descriptor, nil, nil)
    return accepted >= 0 ? KernelSocket(descriptor: accepted) : nil
  }

  func send(_ text: String) { _ = Glibc.send(descriptor, text, text.utf8.count, 0) }

  func receive() -> String {
    var buffer = [UInt8](repeating: 0, count: 4096)
    let count = recv(descriptor, &buffer, buffer.count, 0)
    return String(decoding: buffer[..<max(count, 0)], as: UTF8.self)
  }

  private func withAddress(
    _ address: IPAddress, _ port: UInt16,
    _ body: (Int32, UnsafePointer<sockaddr>?, socklen_t) -> Int32
  ) -> Int32 {
    var raw = sockaddr_in()
    raw.sin_family = sa_family_t(AF_INET)
    raw.sin_port = port.bigEndian
    raw.sin_addr.s_addr = address.withBytes { $0.loadUnaligned(as: UInt32.self) }
    return withUnsafePointer(to: raw) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        body(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
      }
    }
  }
}
