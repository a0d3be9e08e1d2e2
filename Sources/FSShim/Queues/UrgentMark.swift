/// Where the urgent byte of a stream is, and what has become of it: urg_data and urg_seq of Linux.
///
/// The byte is in the receive queue like any other; unless SO_OOBINLINE is set, reads leave it out.
struct UrgentMark {
  enum State: UInt8 {
    /// There is no mark, or reading has gone past it.
    case none
    /// The peer has announced it, the byte has not come.
    case announced
    /// The byte is there for MSG_OOB.
    case present
    /// MSG_OOB has read it; the place is still ahead of what was read.
    case read
  }

  var state = State.none
  /// The byte, if it is `present`.
  var byte: UInt8 = 0
  /// Bytes that a read would find before it.
  private(set) var distance: UInt32 = 0

  /// Whether the next byte to be read is the urgent one, come or not.
  var isNext: Bool { state != .none && distance == 0 }

  /// The peer has announced a mark so many bytes behind the next one to be read. False if that is
  /// nothing new: already read, or not ahead of the one that is known.
  mutating func announce(_ distance: Int64) -> Bool {
    guard distance >= 0, distance <= Int64(UInt32.max) else { return false }
    if state != .none, distance <= Int64(self.distance) { return false }
    state = .announced
    self.distance = UInt32(distance)
    return true
  }

  /// So many bytes were read, the urgent one counted if it is among them.
  mutating func consumed(_ count: UInt32) {
    guard state != .none else { return }
    if count > distance {
      state = .none
    } else {
      distance -= count
    }
  }
}

extension ReceivePieces {
  /// Where the byte is that so many others in the queue precede: chunk and offset in it; nil if the
  /// queue ends before.
  func locate(_ position: UInt32, in queue: ReceiveQueue) -> (chunk: UInt32, offset: Int)? {
    guard position < queue.count else { return nil }
    var left = position
    var chunk = queue.head
    while chunk != .max {
      let piece = records[Int(chunk)]
      if left < UInt32(piece.length) { return (chunk, Int(piece.offset) + Int(left)) }
      left -= UInt32(piece.length)
      chunk = piece.next
    }
    return nil
  }
}
