import CLaboratory
import Foundation

/// A raw Ethernet socket on one interface.
final class PacketPort: Sendable {
  let descriptor: Int32

  /// Opens a socket on an interface of the calling thread's namespace.
  init(on interface: String) throws {
    descriptor = unsafe lab_open_packet_socket(interface)
    guard descriptor >= 0 else {
      throw LaboratoryError(
        unsafe "no packet socket on \(interface): \(String(cString: strerror(errno)))")
    }
  }

  deinit { close(descriptor) }

  /// The next frame that has arrived.
  func receive() -> [UInt8]? {
    var count = 0
    let bytes = unsafe [UInt8](unsafeUninitializedCapacity: 2048) { buffer, used in
      count = unsafe recv(descriptor, buffer.baseAddress, buffer.count, Int32(MSG_DONTWAIT))
      used = max(count, 0)
    }
    return count > 0 ? bytes : nil
  }

  func send(_ bytes: [UInt8]) -> Bool {
    unsafe Foundation.send(descriptor, bytes, bytes.count, Int32(MSG_DONTWAIT)) == bytes.count
  }
}
