import FSRing

// Received bytes that are not simply the next ones.

extension Engine {
  /// A segment that is not simply the next one: trims it, queues it (SHLD-31), says so (MAY-13), and
  /// delivers all that has become contiguous before it is acknowledged (MUST-59).
  @inline(never)
  mutating func queueOrDeliver(
    _ id: ConnectionID, _ sequence: SequenceNumber, _ payload: UnsafeRawBufferPointer,
    isFinished: Bool, now: Instant
  ) {
    var start = sequence
    var bytes = unsafe payload
    var finished = isFinished
    let old = connections[id].receiveNext - start
    if old > 0 {
      let skipped = min(Int(old), bytes.count)
      if skipped > 0 { reportDuplicate(id, start, start + UInt32(skipped)) }
      unsafe bytes = UnsafeRawBufferPointer(rebasing: bytes[skipped...])
      start += UInt32(skipped)
      guard start == connections[id].receiveNext else { return }
      if bytes.count > 0, connections[id].reassembly == .none, connections[id].channel != .none {
        // The rest is simply the next one.
        unsafe deliverInOrder(id, bytes, isFinished: finished, now: now)
        return
      }
    }
    // Neither beyond the window, nor beyond a FIN that has come.
    var edge = connections[id].receiveEdge
    if let fin = reassembly.fin(of: connections[id].reassembly) { edge = min(edge, fin) }
    let room = Int(max(edge - start, 0))
    if bytes.count > room {
      unsafe bytes = UnsafeRawBufferPointer(rebasing: bytes[..<room])
      finished = false
    }
    if start != connections[id].receiveNext {
      counters.outOfOrder += 1
      changeUncommon(id) { $0.outOfOrderIn &+= 1 }
    }
    guard bytes.count > 0 || finished else {
      acknowledgeGap(id)
      return
    }
    if connections[id].channel == .none {
      unsafe enqueue(id, bytes, at: start, isFinished: finished)
      return
    }
    // At once: the peer learns of the gap, or that it is filled (RFC 5681 section 4.2). Before the
    // delivery, which may end the connection.
    acknowledgeGap(id)
    guard start == connections[id].receiveNext else {
      unsafe enqueue(id, bytes, at: start, isFinished: finished)
      return
    }
    // What fills the gap needs no place in the queue, which may be full.
    let taken = unsafe deliver(id, bytes)
    advance(id, by: taken)
    guard taken == bytes.count else { return }
    if finished {
      // The same FIN may be queued, from when it came without these bytes.
      forgetReassembly(id)
      finArrives(id, now: now)
    } else {
      drainReassembly(id, now: now)
    }
  }

  /// Moves RCV.NXT behind bytes that were delivered.
  private func advance(_ id: ConnectionID, by count: Int) {
    let old = connections[id].receiveNext
    connections[id].receiveNext = old + UInt32(count)
    let uncommon = connections[id].uncommon
    if count > 0, uncommon != .none { uncommonStates[uncommon].duplicatesOwed = 0 }
    reassembly.pass(&connections[id].reassembly, from: old, to: connections[id].receiveNext)
  }

  private mutating func enqueue(
    _ id: ConnectionID, _ bytes: UnsafeRawBufferPointer, at start: SequenceNumber, isFinished: Bool
  ) {
    let outcome = unsafe reassembly.insert(
      bytes, at: start, isFinished: isFinished, into: &connections[id].reassembly)
    if !outcome.isComplete { drop(.reassemblyFull) }
    if outcome.duplicate > 0 { reportDuplicate(id, start, start + outcome.duplicate) }
  }

  /// Notes bytes that came twice: the next acknowledgement reports them (RFC 2883). Of several
  /// ranges in one burst, the last one is, with those that it touches.
  func reportDuplicate(_ id: ConnectionID, _ left: SequenceNumber, _ right: SequenceNumber) {
    guard connections[id].flags.contains(.selectiveAcknowledgements) else { return }
    var block = SACKBlock(left: left, right: right)
    let known = uncommon(id).duplicateBlock
    if connections[id].flags.contains(.reportDuplicate), known.left <= right, left <= known.right {
      block = SACKBlock(left: min(known.left, left), right: max(known.right, right))
    }
    changeUncommon(id) { $0.duplicateBlock = block }
    connections[id].flags.insert(.reportDuplicate)
    enterQuickMode(id)
  }

  /// Takes everything that an application was given and has not read back into the queue of segments,
  /// as if it had just arrived, for another application. False if there is no room.
  mutating func takeBack(_ id: ConnectionID) -> Bool {
    var isComplete = true
    var end = connections[id].receiveNext
    if connections[id].state == .closeWait {
      // Its FIN will be delivered again, too.
      connections[id].state = .established
      end = end - UInt32(1)
      isComplete = unsafe putBack(
        UnsafeRawBufferPointer(start: nil, count: 0), at: end, isFinished: true, id)
    }
    var sequence = end - connections[id].unreadBytes
    connections[id].receiveNext = sequence
    let channel = connections[id].channel
    var chunk = connections[id].receiveHead
    while chunk != .max, isComplete {
      let bytes = unsafe channels[channel].unreadBytes(chunk)
      isComplete = unsafe putBack(bytes, at: sequence, isFinished: false, id)
      sequence += UInt32(bytes.count)
      chunk = channels[channel][receive: chunk].next
    }
    connections[id].tally.bytesReceived -= UInt64(connections[id].unreadBytes)
    freeReceived(id)
    takeBackUrgent(id)
    return isComplete
  }

  private func putBack(
    _ bytes: UnsafeRawBufferPointer, at sequence: SequenceNumber, isFinished: Bool,
    _ id: ConnectionID
  ) -> Bool {
    unsafe reassembly.insert(
      bytes, at: sequence, isFinished: isFinished, into: &connections[id].reassembly
    ).isComplete
  }

  /// Delivers queued bytes that have become contiguous, and the FIN behind them.
  mutating func drainReassembly(_ id: ConnectionID, now: Instant) {
    while true {
      let bytes = unsafe reassembly.bytes(
        of: connections[id].reassembly, at: connections[id].receiveNext)
      guard bytes.count > 0 else { break }
      let taken = unsafe deliver(id, bytes)
      advance(id, by: taken)
      guard taken == bytes.count else { return }
      acknowledgeSoon(id)
    }
    if reassembly.fin(of: connections[id].reassembly) == connections[id].receiveNext {
      forgetReassembly(id)
      finArrives(id, now: now)
    }
  }

  /// Gives back what was ahead of a gap.
  @inline(__always)
  func forgetReassembly(_ id: ConnectionID) {
    if connections[id].reassembly != .none { reassembly.removeAll(&connections[id].reassembly) }
  }
}
