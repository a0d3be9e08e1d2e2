import CardModel
import FSDevice
import Foundation
import Glibc

/// The model of an 82599 in this process, in place of the kernel.
final class ModelledCard: EthtoolTransport, @unchecked Sendable {
  let card: UnsafeMutablePointer<card>
  private let lock = NSLock()
  /// Called before each request, with its command.
  var beforeRequest: (UInt32) -> Void = { _ in }

  init(queues: UInt32, maximumQueues: UInt32 = 64) {
    card = .allocate(capacity: 1)
    card_initialize(card, queues, maximumQueues)
  }

  deinit { card.deallocate() }

  func exchange(_ request: UnsafeMutableRawBufferPointer, with interface: String) -> Int32 {
    guard interface == "card0", let base = request.baseAddress else { return ENODEV }
    beforeRequest(base.load(as: UInt32.self))
    return lock.withLock { card_exchange(card, base) }
  }

  /// The commands that have changed something since the last time, in order.
  func takeLog() -> [UInt32] {
    let count = Int(card.pointee.log_count)
    card.pointee.log_count = 0
    return withUnsafeBytes(of: &card.pointee.log) { bytes in
      Array(bytes.bindMemory(to: UInt32.self).prefix(count))
    }
  }

  func reset() { card_reset(card) }

  /// Turns the table by one queue.
  func turnTable() {
    withUnsafeMutableBytes(of: &card.pointee.table) { bytes in
      let table = bytes.bindMemory(to: UInt32.self)
      for index in table.indices { table[index] = (table[index] + 1) % card.pointee.queues }
    }
  }

  /// Writes the card as the preloaded model reads it.
  func write(to path: String) throws {
    try Data(bytes: card, count: MemoryLayout<CardModel.card>.size).write(
      to: URL(fileURLWithPath: path))
  }
}
