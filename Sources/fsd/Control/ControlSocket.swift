import CLinux
import FSRing
import Glibc

/// SOCK_SEQPACKET sockets in the file system.
enum ControlSocket {
  /// Bytes a packet may have: a message and a statistics text.
  static let packetLimit = 8 << 20

  /// Listens at `path`. Whatever is there is the socket of a daemon that crashed: the caller holds
  /// the lock of the runtime directory. Processes of all users may connect.
  static func listen(at path: String) throws(SystemError) -> Descriptor {
    let socket = try make()
    _ = unsafe unlink(path)
    unsafe try withAddress(path) { address, length in
      unsafe bind(socket.number, address, length)
    }
    guard unsafe chmod(path, 0o666) == 0 else { throw SystemError("chmod \(path)") }
    guard Glibc.listen(socket.number, 128) == 0 else { throw SystemError("listen") }
    return socket
  }

  /// Connects to the daemon at `path`.
  static func connect(to path: String) throws(SystemError) -> Descriptor {
    let socket = try make()
    unsafe try withAddress(path) { address, length in
      unsafe Glibc.connect(socket.number, address, length)
    }
    return socket
  }

  /// Both ends of a connection; ours does not block, and says of each packet who has sent it.
  static func pair() throws(SystemError) -> (ours: Descriptor, theirs: Descriptor) {
    var numbers: (Int32, Int32) = (-1, -1)
    let result = unsafe withUnsafeMutableBytes(of: &numbers) {
      unsafe socketpair(
        AF_UNIX, Int32(SOCK_SEQPACKET.rawValue | SOCK_CLOEXEC.rawValue), 0,
        $0.bindMemory(to: Int32.self).baseAddress)
    }
    guard result == 0 else { throw SystemError("socketpair") }
    let ends = (ours: Descriptor(adopting: numbers.0), theirs: Descriptor(adopting: numbers.1))
    guard fcntl(ends.ours.number, F_SETFL, O_NONBLOCK) == 0 else { throw SystemError("fcntl") }
    var on: Int32 = 1
    guard unsafe setsockopt(ends.ours.number, SOL_SOCKET, SO_PASSCRED, &on, 4) == 0 else {
      throw SystemError("setsockopt(SO_PASSCRED)")
    }
    return ends
  }

  private static func make() throws(SystemError) -> Descriptor {
    let number = socket(AF_UNIX, Int32(SOCK_SEQPACKET.rawValue | SOCK_CLOEXEC.rawValue), 0)
    guard number >= 0 else { throw SystemError("socket") }
    return Descriptor(adopting: number)
  }

  /// Lets a socket send packets with long texts. Needs root; without, the system's limit stands.
  static func allowLongPackets(_ socket: Int32) {
    var size = Int32(packetLimit)
    _ = unsafe setsockopt(
      socket, SOL_SOCKET, SO_SNDBUFFORCE, &size, socklen_t(MemoryLayout<Int32>.size))
  }

  /// Longest path that an address can hold.
  static let pathLimit = 107

  private static func withAddress(
    _ path: String, _ call: (UnsafePointer<sockaddr>, socklen_t) -> Int32
  ) throws(SystemError) {
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    let bytes = Array(path.utf8)
    guard bytes.count <= pathLimit else { throw SystemError(path, code: ENAMETOOLONG) }
    unsafe withUnsafeMutableBytes(of: &address.sun_path) { unsafe $0.copyBytes(from: bytes) }
    let result = unsafe withUnsafePointer(to: &address) { address in
      unsafe address.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        unsafe call($0, socklen_t(MemoryLayout<sockaddr_un>.size))
      }
    }
    guard result == 0 else { throw SystemError(path) }
  }
}
