/// The received and unread bytes of one socket: pieces of receive chunks, in order.
///
/// The records of the pieces are the channel's (`ReceivePieces`): one per chunk suffices, because
/// the engine fills a chunk from front to back for one connection, so that a piece of the newest
/// chunk continues the one before.
struct ReceiveQueue {
  var head: UInt32 = .max
  var tail: UInt32 = .max
  /// Bytes in the queue.
  var count: UInt32 = 0
}

/// One piece: bytes in a receive chunk.
struct ReceivePiece {
  var next: UInt32
  var offset: UInt16
  var length: UInt16
}

/// The records of the pieces of all receive chunks of a channel, indexed by chunk.
struct ReceivePieces {
  let records: UnsafeMutablePointer<ReceivePiece>
  let chunkCount: UInt32
  let chunkSize: UInt32

  /// Appends bytes; false if the engine announced something impossible.
  @inline(__always)
  func append(_ chunk: UInt32, offset: UInt16, length: UInt16, to queue: inout ReceiveQueue)
    -> Bool
  {
    guard chunk < chunkCount, length > 0, UInt32(offset) + UInt32(length) <= chunkSize else {
      return false
    }
    if queue.tail == chunk {
      guard records[Int(chunk)].offset &+ records[Int(chunk)].length == offset else { return false }
      records[Int(chunk)].length &+= length
    } else {
      records[Int(chunk)] = ReceivePiece(next: .max, offset: offset, length: length)
      if queue.tail == .max {
        queue.head = chunk
      } else {
        records[Int(queue.tail)].next = chunk
      }
      queue.tail = chunk
    }
    queue.count &+= UInt32(length)
    return true
  }

  /// Takes `count` bytes off the first piece, which has as many.
  @inline(__always)
  func dropFirst(_ count: UInt32, of queue: inout ReceiveQueue) {
    let chunk = Int(queue.head)
    queue.count &-= count
    if UInt32(records[chunk].length) == count {
      queue.head = records[chunk].next
      if queue.head == .max { queue.tail = .max }
    } else {
      records[chunk].offset &+= UInt16(count)
      records[chunk].length &-= UInt16(count)
    }
  }
}
