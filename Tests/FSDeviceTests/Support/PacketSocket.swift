import FSDevice
import Glibc

/// A raw Ethernet socket: plays the other end of the cable.
final class PacketSocket {
  private let descriptor: Int32
  private var buffer = [UInt8](repeating: 0, count: 4096)

  /// Opens a socket on the interface, which must be in the calling thread's namespace.
  init(on name: String) throws {
    let everything = UInt16(3).bigEndian  // ETH_P_ALL
    descriptor = socket(17, Int32(SOCK_RAW.rawValue), Int32(everything))
    guard descriptor >= 0 else { throw SetUpFailure(message: "no packet socket") }
    var room: Int32 = 16 << 20
    setsockopt(descriptor, SOL_SOCKET, 33, &room, 4)  // SO_RCVBUFFORCE
    // struct sockaddr_ll
    var address = [UInt8](repeating: 0, count: 20)
    address.withUnsafeMutableBytes { bytes in
      bytes.storeBytes(of: UInt16(17), as: UInt16.self)
      bytes.storeBytes(of: everything, toByteOffset: 2, as: UInt16.self)
      bytes.storeBytes(of: Int32(if_nametoindex(name)), toByteOffset: 4, as: Int32.self)
    }
    let status = address.withUnsafeBytes { bytes in
      bytes.withMemoryRebound(to: sockaddr.self) { bind(descriptor, $0.baseAddress, 20) }
    }
    guard status == 0 else { throw SetUpFailure(message: "cannot bind to \(name)") }
  }

  deinit { close(descriptor) }

  func send(_ frame: [UInt8]) throws {
    guard Glibc.send(descriptor, frame, frame.count, 0) == frame.count else {
      throw SetUpFailure(message: "cannot send a frame: errno \(errno)")
    }
  }

  /// The next frame that has arrived, whoever sent it.
  func receive() -> [UInt8]? {
    let count = recv(descriptor, &buffer, buffer.count, Int32(MSG_DONTWAIT))
    return count > 0 ? Array(buffer[..<count]) : nil
  }
}
