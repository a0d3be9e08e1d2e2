// The bytes an application has queued: chunks of its channel, in the order of the stream.

extension Engine {
  /// Copies queued bytes into a frame and returns their sum.
  @inline(__always)
  func gather(
    _ id: ConnectionID, at sequence: SequenceNumber, length: Int, to target: UnsafeMutableRawPointer
  ) -> UInt64 {
    guard length > 0 else { return 0 }
    let channel = connections[id].channel
    let isAgain = sequence < connections[id].sendMaximum
    var (chunk, chunkSequence) =
      isAgain ? locateAgain(id, sequence) : locateNew(id, sequence)
    var sum: UInt64 = 0
    var copied = 0
    while copied < length {
      let record = channels[channel][send: chunk]
      let skip = Int((sequence + UInt32(copied)) - chunkSequence)
      let count = min(Int(record.length) - skip, length - copied)
      let part = unsafe Checksum.copy(
        from: channels[channel].sendBytes(chunk) + skip, to: target + copied, count: count)
      sum &+= copied & 1 == 0 ? part : Checksum.swapForOddOffset(part)
      copied += count
      if copied < length {
        chunkSequence += UInt32(record.length)
        chunk = record.next
      }
    }
    if isAgain {
      let recovery = connections[id].recovery
      if recovery != .none {
        recoveries[recovery].sendCursor = chunk
        recoveries[recovery].sendCursorSequence = chunkSequence
      }
    } else {
      connections[id].sendCursor = chunk
      connections[id].sendCursorSequence = chunkSequence
    }
    return sum
  }

  /// The chunk of bytes that are sent for the first time.
  @inline(__always)
  private func locateNew(
    _ id: ConnectionID, _ sequence: SequenceNumber
  ) -> (UInt32, SequenceNumber) {
    locate(id, sequence, connections[id].sendCursor, connections[id].sendCursorSequence)
  }

  /// The chunk of bytes that are sent again. They have a cursor of their own: new and old bytes go out
  /// in turn.
  private func locateAgain(
    _ id: ConnectionID, _ sequence: SequenceNumber
  ) -> (UInt32, SequenceNumber) {
    let recovery = connections[id].recovery
    guard recovery != .none else { return locate(id, sequence, .max, sequence) }
    return locate(
      id, sequence, recoveries[recovery].sendCursor, recoveries[recovery].sendCursorSequence)
  }

  /// The chunk that holds a sequence number: from the cursor on, if that is not beyond it.
  @inline(__always)
  private func locate(
    _ id: ConnectionID, _ sequence: SequenceNumber, _ cursor: UInt32,
    _ cursorSequence: SequenceNumber
  ) -> (UInt32, SequenceNumber) {
    var chunk = cursor
    var start = cursorSequence
    if chunk == .max || sequence < start {
      chunk = connections[id].sendHead
      start = connections[id].sendHeadSequence
    }
    while true {
      let record = channels[connections[id].channel][send: chunk]
      if sequence < start + UInt32(record.length) { return (chunk, start) }
      start += UInt32(record.length)
      chunk = record.next
    }
  }

  /// Gives back the chunks whose bytes are acknowledged, `count` bytes in all.
  @inline(__always)
  mutating func freeAcknowledged(_ id: ConnectionID, _ count: UInt32) {
    guard count > 0 else { return }
    counters.payloadAcknowledged += UInt64(count)
    connections[id].tally.bytesAcknowledged &+= UInt64(count)
    if connections[id].flags.contains(.urgentQueued) { urgentAcknowledged(id) }
    let channel = connections[id].channel
    while connections[id].sendHead != .max {
      let chunk = connections[id].sendHead
      let record = channels[channel][send: chunk]
      let end = connections[id].sendHeadSequence + UInt32(record.length)
      guard end <= connections[id].sendUnacknowledged else { break }
      freeSendHead(id, record)
      connections[id].sendHeadSequence = end
    }
    returnBytes(id, count)
  }

  /// The application is told that it has the chunks of so many bytes again. One that never reads what it is
  /// told can have more acknowledged than its chunks hold: it is told of no more than can be counted.
  @inline(__always)
  mutating func returnBytes(_ id: ConnectionID, _ count: UInt32) {
    let (sum, isTooMuch) = connections[id].unreportedAcknowledged.addingReportingOverflow(count)
    connections[id].unreportedAcknowledged = isTooMuch ? .max : sum
    markDirty(id)
  }

  /// TCP_NOTSENT_LOWAT: as in Linux the application may write again when less than half of the mark
  /// is unsent.
  mutating func reportUnsent(_ id: ConnectionID) {
    let unsent = UInt64(connections[id].unsentBytes)
    if unsent * 2 < UInt64(uncommon(id).unsentLowWater) { markDirty(id) }
  }

  private func freeSendHead(_ id: ConnectionID, _ record: SendChunk) {
    let channel = connections[id].channel
    let chunk = connections[id].sendHead
    channels[channel][send: chunk].length = 0
    channels[channel].sendChunksInUse -= 1
    if connections[id].sendCursor == chunk { connections[id].sendCursor = .max }
    let recovery = connections[id].recovery
    if recovery != .none, recoveries[recovery].sendCursor == chunk {
      recoveries[recovery].sendCursor = .max
    }
    connections[id].sendHead = record.next
    if record.next == .max { connections[id].sendTail = .max }
  }

  /// Gives back everything queued.
  func freeQueued(_ id: ConnectionID) {
    guard connections[id].channel != .none else { return }
    while connections[id].sendHead != .max {
      freeSendHead(id, channels[connections[id].channel][send: connections[id].sendHead])
    }
  }
}
