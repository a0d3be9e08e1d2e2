/// The sent and unacknowledged chunks of one connection, oldest first. It belongs to the slot, not
/// to the socket: after close() the acknowledgements still come. Cleared memory is an empty queue.
struct SendQueue {
  /// Valid unless `chunks` is 0.
  var head: UInt32 = 0
  /// Valid unless `chunks` is 0.
  var tail: UInt32 = 0
  /// Bytes sent and not acknowledged.
  var bytes: UInt32 = 0
  /// Chunks that hold them.
  var chunks: UInt32 = 0
  /// Bytes of the first chunk that are acknowledged.
  var headAcknowledged: UInt32 = 0
}

/// The send chunks of a channel: which are free, and how the others are queued.
///
/// Free ones are a stack over the records, so that the memory used last, which is in the cache, is
/// used next; those never used are behind a watermark, so that their pages are not touched.
struct SendChunks {
  /// Per chunk: the next of the same list, and the bytes sent with it.
  struct Record {
    var next: UInt32
    var length: UInt32
  }

  let records: UnsafeMutablePointer<Record>
  let count: UInt32
  private(set) var free: UInt32
  private var firstFree: UInt32 = .max
  private var watermark: UInt32 = 0

  init(records: UnsafeMutablePointer<Record>, count: UInt32) {
    self.records = records
    self.count = count
    free = count
  }

  /// Chunks that one connection may have now. Everyone may take as much as is left over, so that a
  /// few fast connections get much and many get an equal share; a reserve is only for those that
  /// have next to nothing.
  @inline(__always)
  var allowance: UInt32 { max(free / 2, 2) }

  /// Takes a free chunk.
  @inline(__always)
  mutating func take() -> UInt32? {
    let chunk: UInt32
    if firstFree != .max {
      chunk = firstFree
      firstFree = records[Int(chunk)].next
    } else {
      guard watermark < count else { return nil }
      chunk = watermark
      watermark += 1
    }
    free -= 1
    return chunk
  }

  /// Gives back a chunk that was taken and not sent.
  @inline(__always)
  mutating func giveBack(_ chunk: UInt32) {
    records[Int(chunk)].next = firstFree
    firstFree = chunk
    free += 1
  }

  /// Notes that a chunk is on its way.
  @inline(__always)
  func sent(_ chunk: UInt32, length: UInt32, on queue: inout SendQueue) {
    records[Int(chunk)] = Record(next: .max, length: length)
    if queue.chunks == 0 {
      queue.head = chunk
    } else {
      records[Int(queue.tail)].next = chunk
    }
    queue.tail = chunk
    queue.bytes &+= length
    queue.chunks &+= 1
  }

  /// `count` more bytes of a connection are acknowledged: frees the chunks they cover. False if
  /// fewer were sent.
  @inline(__always)
  mutating func acknowledged(_ count: UInt32, on queue: inout SendQueue) -> Bool {
    guard count <= queue.bytes else { return false }
    queue.bytes &-= count
    var covered = queue.headAcknowledged &+ count
    while queue.chunks > 0 {
      let chunk = queue.head
      let record = records[Int(chunk)]
      if covered < record.length { break }
      covered &-= record.length
      queue.head = record.next
      queue.chunks &-= 1
      giveBack(chunk)
    }
    queue.headAcknowledged = covered
    return true
  }

  /// Frees every chunk of a connection that is gone.
  mutating func freeAll(on queue: inout SendQueue) {
    _ = acknowledged(queue.bytes, on: &queue)
  }
}
