/// The number of a buffer.
struct ReassemblyID: SlabIndex, BitwiseCopyable {
  var raw: UInt32
}

/// The number of a connection's queue.
struct ReassemblyQueueID: SlabIndex, BitwiseCopyable {
  var raw: UInt32
}

/// The engine's memory for bytes that wait for those before them, or for an application to take the
/// connection.
///
/// A buffer holds an aligned stretch of 2048 sequence numbers of one connection, with a bit for each
/// byte that is there, and is found by hash. So the work for a segment depends on its own length
/// alone, and a window of so many bytes needs so much memory, whatever the segments are like: nobody
/// gains by sending tiny ones (CVE-2018-5390).
@safe
struct ReassemblyBuffers {
  /// Bytes that one buffer holds.
  static var bufferSize: Int { 2048 }
  private static var shift: UInt32 { 11 }

  /// One aligned stretch.
  private struct Buffer {
    var queue: ReassemblyQueueID
    /// Its sequence numbers, shifted right by `shift`.
    var number: UInt32
    var present = ByteMap()
  }

  /// What became of a segment.
  struct Outcome: Equatable {
    /// All of its bytes are queued now.
    var isComplete: Bool
    /// So many of its first bytes had been queued before.
    var duplicate: UInt32
  }

  private let buffers: Slab<ReassemblyID, Buffer>
  private let queues: Slab<ReassemblyQueueID, ReassemblyQueue>
  /// The buffers of each queue, in the order in which they were taken.
  private let links: LinkTable<ReassemblyID>
  private let index: HashIndex
  private let memory: UnsafeMutableRawPointer
  private let secret: Secret
  /// Buffers that one connection may have.
  let perConnection: UInt32

  /// `capacity` is in buffers, `queues` in connections.
  init(capacity: Int, queues: Int, secret: Secret) {
    buffers = Slab(capacity: capacity)
    self.queues = Slab(capacity: queues)
    links = LinkTable(capacity: capacity)
    index = HashIndex(capacity: capacity)
    unsafe memory = .allocate(byteCount: capacity * Self.bufferSize, alignment: 64)
    self.secret = secret
    perConnection = UInt32(max(capacity / 4, 1))
  }

  /// Frees the memory.
  func deallocate() {
    buffers.deallocate()
    queues.deallocate()
    links.deallocate()
    index.deallocate()
    unsafe memory.deallocate()
  }

  /// Buffers in use.
  var count: Int { Int(buffers.count) }

  /// Buffers of one queue.
  func count(of queue: ReassemblyQueueID) -> Int {
    queue == .none ? 0 : Int(queues[queue].count)
  }

  // MARK: Queueing

  /// Queues a segment, at RCV.NXT or after it and within the window. Bytes that are there already
  /// stay: content that conflicts with it is ignored, as is everything behind a FIN.
  func insert(
    _ payload: UnsafeRawBufferPointer, at sequence: SequenceNumber, isFinished: Bool,
    into queue: inout ReassemblyQueueID
  ) -> Outcome {
    if queue == .none {
      guard let new = queues.allocate(ReassemblyQueue()) else {
        return Outcome(isComplete: false, duplicate: 0)
      }
      queue = new
    }
    var end = sequence + UInt32(payload.count)
    if let fin = queues[queue].fin {
      end = min(end, fin)
    } else if isFinished {
      queues[queue].fin = end
    }
    let length = Int(max(end - sequence, 0))
    var position = 0
    var duplicate = 0
    while position < length {
      let start = sequence + UInt32(position)
      let offset = Int(start.value) & (Self.bufferSize - 1)
      let part = min(Self.bufferSize - offset, length - position)
      guard let buffer = buffer(of: queue, at: start) else { break }
      if duplicate == position {
        duplicate += buffers[buffer].present.run(from: offset, to: offset + part, isPresent: true)
      }
      let bytes = unsafe UnsafeRawBufferPointer(rebasing: payload[position..<position + part])
      unsafe fill(buffer, at: offset, bytes)
      position += part
    }
    let isComplete = position == length
    let isFIN = isComplete && isFinished && queues[queue].fin == end
    let reached = sequence + UInt32(position) + (isFIN ? 1 : 0)
    if reached > sequence { queues[queue].report(sequence, reached) }
    release(&queue)
    return Outcome(isComplete: isComplete, duplicate: UInt32(duplicate))
  }

  /// The buffer for a sequence number; a new one if there is none. Nil when there is no room.
  private func buffer(of queue: ReassemblyQueueID, at sequence: SequenceNumber) -> ReassemblyID? {
    if let id = find(queue, sequence) { return id }
    let number = sequence.value >> Self.shift
    if queues[queue].count >= perConnection || buffers.count == buffers.capacity {
      guard prune(queue, behind: sequence) || takeFromOther(queue, number) else { return nil }
    }
    guard let id = buffers.allocate(Buffer(queue: queue, number: number)) else { return nil }
    index.insert(hash(queue, number), id.raw)
    links.append(id, to: &queues[queue].buffers)
    queues[queue].count += 1
    return id
  }

  /// Frees the connection's most recent buffer if that lies behind `sequence`: as in Linux, what is
  /// farther from being needed gives way. What was reported of it is reported no longer (RFC 2018
  /// section 8).
  private func prune(_ queue: ReassemblyQueueID, behind sequence: SequenceNumber) -> Bool {
    let last = queues[queue].buffers.last
    guard last != .none else { return false }
    guard SequenceNumber(buffers[last].number << Self.shift) > sequence else { return false }
    freeLast(of: queue)
    return true
  }

  /// When all buffers are in use a connection that has fewer than another takes the most recent of that one's. Which
  /// other is left to chance: whoever has many is met often, so that nobody keeps the rest out with tiny segments
  /// on many connections.
  private func takeFromOther(_ queue: ReassemblyQueueID, _ number: UInt32) -> Bool {
    guard buffers.count == buffers.capacity else { return false }
    let met = ReassemblyID(raw: UInt32(hash(queue, number) % UInt64(buffers.capacity)))
    let owner = buffers[met].queue
    guard queues[owner].count > queues[queue].count + 1 else { return false }
    freeLast(of: owner)
    return true
  }

  private func freeLast(of queue: ReassemblyQueueID) {
    free(queues[queue].buffers.last)
    queues[queue].blockCount = 0
  }

  private func fill(_ id: ReassemblyID, at offset: Int, _ bytes: UnsafeRawBufferPointer) {
    let target = unsafe memory + Int(id.raw) * Self.bufferSize
    let end = offset + bytes.count
    var position = offset
    while position < end {
      position += buffers[id].present.run(from: position, to: end, isPresent: true)
      let count = buffers[id].present.run(from: position, to: end, isPresent: false)
      if count > 0, let source = bytes.baseAddress {
        unsafe (target + position).copyMemory(from: source + position - offset, byteCount: count)
      }
      position += count
    }
    buffers[id].present.insert(from: offset, to: end)
  }

  private func hash(_ queue: ReassemblyQueueID, _ number: UInt32) -> UInt64 {
    let key = UInt64(queue.raw) << 32 | UInt64(number)
    return Secret.mix(key ^ secret.words.0, secret.words.1)
  }

  private func find(_ queue: ReassemblyQueueID, _ sequence: SequenceNumber) -> ReassemblyID? {
    let number = sequence.value >> Self.shift
    let buffers = self.buffers
    return index.find(hash(queue, number)) {
      let id = ReassemblyID(raw: $0)
      return buffers[id].queue == queue && buffers[id].number == number
    }.map(ReassemblyID.init(raw:))
  }

  // MARK: Taking

  /// The queued bytes that begin at `sequence`, as far as they stand in one buffer; empty if there
  /// are none. They stay until `pass`.
  func bytes(of queue: ReassemblyQueueID, at sequence: SequenceNumber) -> UnsafeRawBufferPointer {
    guard queue != .none, let id = find(queue, sequence) else {
      return unsafe UnsafeRawBufferPointer(start: nil, count: 0)
    }
    let offset = Int(sequence.value) & (Self.bufferSize - 1)
    var count = buffers[id].present.run(from: offset, to: Self.bufferSize, isPresent: true)
    if let fin = queues[queue].fin { count = min(count, Int(max(fin - sequence, 0))) }
    return unsafe UnsafeRawBufferPointer(
      start: memory + Int(id.raw) * Self.bufferSize + offset, count: count)
  }

  /// The number of the FIN that is queued.
  func fin(of queue: ReassemblyQueueID) -> SequenceNumber? {
    queue == .none ? nil : queues[queue].fin
  }

  /// RCV.NXT has moved: frees what is behind it.
  func pass(
    _ queue: inout ReassemblyQueueID, from old: SequenceNumber, to new: SequenceNumber
  ) {
    guard queue != .none else { return }
    var start = SequenceNumber(old.value & ~UInt32(Self.bufferSize - 1))
    while new - start >= Int32(Self.bufferSize) {
      if let id = find(queue, start) { free(id) }
      start += UInt32(Self.bufferSize)
    }
    // The buffer in which RCV.NXT stands now may hold nothing but what was passed.
    if let id = find(queue, new) {
      let offset = Int(new.value) & (Self.bufferSize - 1)
      let rest = Self.bufferSize - offset
      if buffers[id].present.run(from: offset, to: Self.bufferSize, isPresent: false) == rest {
        free(id)
      }
    }
    queues[queue].forgetBlocks(upTo: new)
    release(&queue)
  }

  private func free(_ id: ReassemblyID) {
    let queue = buffers[id].queue
    index.remove(hash(queue, buffers[id].number), id.raw)
    links.remove(id, from: &queues[queue].buffers)
    queues[queue].count -= 1
    buffers.free(id)
  }

  /// Frees a queue in which nothing is left.
  private func release(_ queue: inout ReassemblyQueueID) {
    guard queues[queue].count == 0, queues[queue].fin == nil else { return }
    queues.free(queue)
    queue = .none
  }

  /// Frees everything that a connection has queued.
  func removeAll(_ queue: inout ReassemblyQueueID) {
    guard queue != .none else { return }
    while queues[queue].buffers.first != .none { free(queues[queue].buffers.first) }
    queues.free(queue)
    queue = .none
  }

  // MARK: Selective acknowledgement

  /// Puts ranges that are queued behind the first `count` of `blocks`: the one with the most recent
  /// segment first, then those that were reported before (RFC 2018 section 4). Returns how many
  /// blocks there are then, at most `limit`.
  func selectiveBlocks(
    of queue: ReassemblyQueueID, after count: Int, limit: Int,
    into blocks: inout InlineArray<4, SACKBlock>
  ) -> Int {
    guard queue != .none else { return count }
    var total = count
    for position in 0..<queues[queue].blockCount where total < limit {
      blocks[total] = queues[queue].blocks[position]
      total += 1
    }
    return total
  }
}
