/// The number of a queued segment.
struct ReassemblyID: SlabIndex, BitwiseCopyable {
  var raw: UInt32
}

/// A segment that waits for the bytes before it, or for an application to take the connection.
struct ReassemblySegment {
  var sequence: SequenceNumber
  var length: UInt32
  var isFinished: Bool
  var next: ReassemblyID

  /// One past its last byte, without FIN.
  var end: SequenceNumber { sequence + length }
}

/// The engine's memory for segments ahead of a gap. Each connection has a short list in sequence
/// order, without overlaps; both the lists and the memory are bounded.
@safe
struct ReassemblyBuffers {
  /// Bytes that one buffer holds.
  static let bufferSize = 2048
  /// Segments that one connection may queue.
  static let perConnection: UInt16 = 1024

  let segments: Slab<ReassemblyID, ReassemblySegment>
  private let memory: UnsafeMutableRawPointer

  init(capacity: Int) {
    segments = Slab(capacity: capacity)
    unsafe memory = .allocate(byteCount: capacity * Self.bufferSize, alignment: 64)
  }

  /// Frees the memory.
  func deallocate() {
    segments.deallocate()
    unsafe memory.deallocate()
  }

  /// The bytes of a queued segment.
  func bytes(_ id: ReassemblyID) -> UnsafeRawBufferPointer {
    let length = Int(segments[id].length)
    return unsafe UnsafeRawBufferPointer(
      start: memory + Int(id.raw) * Self.bufferSize, count: length)
  }

  /// Queues the parts of a segment that are not queued yet, up to the next queued segment.
  /// False when there is no room.
  func insert(
    _ payload: UnsafeRawBufferPointer, at sequence: SequenceNumber, isFinished: Bool,
    into connection: inout Connection
  ) -> Bool {
    var start = sequence
    let end = sequence + UInt32(payload.count)
    var previous = ReassemblyID.none
    var next = connection.reassemblyHead
    while next != .none, segments[next].sequence <= start {
      // What is already there is kept: content that conflicts with it is ignored.
      if segments[next].end > start { start = segments[next].end }
      if segments[next].isFinished { return true }
      previous = next
      next = segments[next].next
    }
    var stop = end
    var finished = isFinished
    if next != .none, segments[next].sequence < stop {
      stop = segments[next].sequence
      finished = false
    }
    let length = stop - start
    guard length > 0 || (length == 0 && finished) else { return true }
    guard connection.reassemblyCount < Self.perConnection, length <= Int32(Self.bufferSize),
      let id = segments.allocate(
        ReassemblySegment(
          sequence: start, length: UInt32(length), isFinished: finished, next: next))
    else { return false }
    if length > 0 {
      unsafe (memory + Int(id.raw) * Self.bufferSize).copyMemory(
        from: payload.baseAddress.unsafelyUnwrapped + Int(start - sequence),
        byteCount: Int(length))
    }
    if previous == .none {
      connection.reassemblyHead = id
    } else {
      segments[previous].next = id
    }
    connection.reassemblyCount += 1
    connection.reassemblyNewest = start
    return true
  }

  /// Takes the first queued segment off the list; its buffer is free.
  func removeFirst(of connection: inout Connection) {
    let id = connection.reassemblyHead
    connection.reassemblyHead = segments[id].next
    connection.reassemblyCount -= 1
    segments.free(id)
  }

  /// Frees everything that a connection has queued.
  func removeAll(of connection: inout Connection) {
    while connection.reassemblyHead != .none { removeFirst(of: &connection) }
  }

  /// The ranges queued for a connection, adjacent ones joined: first the one that holds the most
  /// recent segment, then the others in order (RFC 2018 section 4). At most `limit`.
  func selectiveBlocks(
    of connection: inout Connection, limit: Int, into blocks: inout InlineArray<4, SACKBlock>
  ) -> Int {
    var count = 0
    var newest = SACKBlock()
    var id = connection.reassemblyHead
    while id != .none {
      var block = SACKBlock(left: segments[id].sequence, right: segments[id].end)
      id = segments[id].next
      while id != .none, segments[id].sequence == block.right {
        block.right = segments[id].end
        id = segments[id].next
      }
      guard block.right > block.left else { continue }
      if block.left <= connection.reassemblyNewest, connection.reassemblyNewest < block.right {
        newest = block
      } else if count < limit - 1 {
        blocks[count + 1] = block
        count += 1
      }
    }
    if newest.left != newest.right {
      blocks[0] = newest
      return count + 1
    }
    for index in 0..<count { blocks[index] = blocks[index + 1] }
    return count
  }
}
