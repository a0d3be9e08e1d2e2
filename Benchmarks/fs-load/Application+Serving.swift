import FSRing
import Foundation
import Laboratory

/// The server behind a proxy that is under load: every request gets the same response.
extension Application {
  /// The end of a request without body.
  private static let blankLine: UInt32 = 0x0a0d_0a0d

  /// Takes an event of a connection that the proxy has opened.
  mutating func serve(_ event: Event) throws {
    let place = index(event.slot)
    if event.flags & EventFlags.data != 0 {
      let bytes = unsafe channel.bytes(of: event)
      unsafe connections[place].unconsumed += UInt32(bytes.count)
      // A proxy sends its requests whole, one after the other.
      if unsafe isRequest(bytes) { try respond(event.slot) }
    }
    let isOpen = unsafe connections[place].phase == .serving
    if isOpen, unsafe connections[place].peerFinished { try close(event.slot) }
  }

  private func isRequest(_ bytes: UnsafeRawBufferPointer) -> Bool {
    guard bytes.count >= 4 else { return false }
    let end = unsafe bytes.loadUnaligned(fromByteOffset: bytes.count - 4, as: UInt32.self)
    return end == Self.blankLine
  }

  private mutating func respond(_ slot: UInt32) throws {
    let place = index(slot)
    let hasSent = unsafe channel.send(
      exchange.response.count, from: ChannelEnd.responseOffset, on: slot,
      &connections[place].chunks)
    guard hasSent else { throw LaboratoryError("no chunk is free for a response") }
    if order.kind.isShort { return try close(slot) }
    consume(slot)
  }
}
