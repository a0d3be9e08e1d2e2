import FSRing
import Synchronization

// Events for applications, posted at the end of a burst: one event tells everything that has
// happened to a connection, and an application is woken once, and only if it sleeps.

extension Engine {
  /// The connection has something to tell its application.
  @inline(__always)
  mutating func markDirty(_ id: ConnectionID) {
    let channel = connections[id].channel
    guard channel != .none, connections[id].slot != .max, !ownerLinks.contains(id) else { return }
    ownerLinks.append(id, to: &channels[channel].dirty)
  }

  /// Posts what channels must know, and notes which applications sleep.
  mutating func postEvents() {
    for raw in 0..<channels.watermark {
      let channel = ChannelID(raw: raw)
      guard channels.isAllocated(channel) else { continue }
      if !channels[channel].hasNews, !channels[channel].hasEventsWaiting { continue }
      guard !channels[channel].isClosed else { continue }
      var isUrgent = false
      guard post(channel, &isUrgent) else {
        violate(channel, .eventIndexImpossible)
        continue
      }
      let hasPosted = channels[channel].events.hasUnpublished
      if hasPosted { channels[channel].events.publish() }
      let hasChanged = channels[channel].noteEventsWaiting()
      // A full ring must be emptied, whatever is in it: what comes behind may be urgent. An
      // application that has been woken for it is not woken again before it has made room.
      let mustMakeRoom = channels[channel].hasEventsWaiting && (hasPosted || hasChanged)
      if isUrgent || mustMakeRoom { wake(channel) }
    }
  }

  /// Wakes the application if it sleeps: what it waits for has been posted.
  mutating func wake(_ channel: ChannelID) {
    channels[channel].wantsSpace = false
    ring(channel)
  }

  /// Wakes the application if it sleeps; however often in a burst, once.
  mutating func ring(_ channel: ChannelID) {
    guard !channels[channel].isWaking else { return }
    atomicMemoryFence(ordering: .sequentiallyConsistent)
    if channels[channel].applicationSleeps {
      counters.wakeUps += 1
      channels[channel].isWaking = true
      wakeUps.append(channel)
    }
  }

  /// Posts the events of one channel as far as its ring has room. False: the ring's index is
  /// impossible. An event is urgent unless it only returns send chunks and nobody waits for them.
  private mutating func post(_ channel: ChannelID, _ isUrgent: inout Bool) -> Bool {
    while !channels[channel].dirty.isEmpty {
      let id = channels[channel].dirty.first
      let isOrphan = connections[id].flags.contains(.orphaned)
      // Room is room, also from a connection that was closed.
      if isOrphan, channels[channel].wantsSpace { isUrgent = true }
      let isComplete =
        isOrphan ? postReturned(id, channel) : post(id, channel, &isUrgent)
      guard let isComplete else { return false }
      guard isComplete else { return true }
      ownerLinks.remove(id, from: &channels[channel].dirty)
      if isOrphan, connections[id].sendHead == .max {
        releaseSlot(id)
        if connections[id].state == .closed { forget(id) }
      }
    }
    while channels[channel].hasSlotNews {
      guard let free = channels[channel].events.freeCount() else { return false }
      guard free > 0, let event = channels[channel].takeSlotNews() else { return true }
      if event.flags & EventFlags.failed != 0 { isUrgent = true }
      channels[channel].events.append(event)
      counters.events += 1
    }
    return true
  }

  /// Tells how many bytes of a closed connection have been acknowledged.
  private mutating func postReturned(_ id: ConnectionID, _ channel: ChannelID) -> Bool? {
    guard let free = channels[channel].events.freeCount() else { return nil }
    guard free > 0 else { return false }
    var event = Event(.progress, slot: connections[id].slot)
    event.acknowledged = connections[id].unreportedAcknowledged
    connections[id].unreportedAcknowledged = 0
    channels[channel].events.append(event)
    counters.events += 1
    return true
  }

  /// Posts the events of one connection. False: the ring is full, the rest comes later. Nil: its
  /// index is impossible.
  private mutating func post(
    _ id: ConnectionID, _ channel: ChannelID, _ isUrgent: inout Bool
  ) -> Bool? {
    while true {
      guard let free = channels[channel].events.freeCount() else { return nil }
      guard free > 0 else { return false }
      var event = Event(
        connections[id].flags.contains(.announced) ? .progress : .accepted,
        slot: connections[id].slot)
      if event.kind == EventKind.accepted.rawValue { announce(id, &event) }
      if connections[id].flags.contains(.reportConnected) { reportConnected(id, &event) }
      attachProgress(id, &event)
      attachPiece(id, channel, &event)
      var isLast = connections[id].receiveUnposted == .max
      if isLast {
        passUrgent(id)
        if connections[id].flags.contains(.reportUrgent) {
          // With `accepted` there is no place for it.
          if event.kind == EventKind.accepted.rawValue {
            isLast = false
          } else {
            attachUrgent(id, &event)
          }
        }
        if isLast { attachEnd(id, &event) }
      }
      if event.flags != 0 || event.kind == EventKind.accepted.rawValue
        || channels[channel].wantsSpace
      {
        isUrgent = true
      }
      channels[channel].events.append(event)
      counters.events += 1
      if isLast { return true }
    }
  }

  /// What has become of the bytes that were sent.
  @inline(__always)
  private func attachProgress(_ id: ConnectionID, _ event: inout Event) {
    event.acknowledged = connections[id].unreportedAcknowledged
    connections[id].unreportedAcknowledged = 0
    guard event.kind == EventKind.progress.rawValue else { return }
    event.congestionWindow = connections[id].congestion.window
    event.inFlight = connections[id].bytesInFlight
  }

  private func announce(_ id: ConnectionID, _ event: inout Event) {
    let connection = connections[id]
    event.listener = connection.acceptedBy ?? .max
    event.localHigh = connection.flow.local.high
    event.localLow = connection.flow.local.low
    event.localPort = connection.flow.localPort
    event.remoteHigh = connection.flow.remote.high
    event.remoteLow = connection.flow.remote.low
    event.remotePort = connection.flow.remotePort
    event.maximumSegmentSize = UInt16(clamping: connections[id].segmentSize)
    connections[id].flags.insert(.announced)
    if connections[id].flags.contains(.reportPaused) {
      event.flags |= EventFlags.paused
      connections[id].flags.remove(.reportPaused)
    }
  }

  private func reportConnected(_ id: ConnectionID, _ event: inout Event) {
    event.flags |= EventFlags.connected
    event.localHigh = connections[id].flow.local.high
    event.localLow = connections[id].flow.local.low
    event.localPort = connections[id].flow.localPort
    event.maximumSegmentSize = UInt16(clamping: connections[id].segmentSize)
    connections[id].flags.remove(.reportConnected)
  }

  /// Puts the next received piece into the event, if there is one.
  @inline(__always)
  private func attachPiece(_ id: ConnectionID, _ channel: ChannelID, _ event: inout Event) {
    let chunk = connections[id].receiveUnposted
    guard chunk != .max else { return }
    var record = channels[channel][receive: chunk]
    event.flags |= EventFlags.data
    event.chunk = chunk
    event.offset = record.posted
    event.length = record.filled - record.posted
    record.posted = record.filled
    channels[channel][receive: chunk] = record
    connections[id].receiveUnposted = record.next
  }

  /// With the last piece go the facts that come after all bytes.
  private func attachEnd(_ id: ConnectionID, _ event: inout Event) {
    if connections[id].flags.contains(.reportFinished) {
      event.flags |= EventFlags.peerFinished
      connections[id].flags.remove(.reportFinished)
    }
    if connections[id].flags.contains(.reportFailed) {
      event.flags |= EventFlags.failed
      event.error = uncommon(id).error
      connections[id].flags.remove(.reportFailed)
    }
    if connections[id].flags.contains(.reportMoved) {
      event.flags |= EventFlags.moved
      connections[id].flags.remove(.reportMoved)
    }
  }

  /// Gives `body` the channels whose applications sleep and must be woken.
  public mutating func drainWakeups(_ body: (ChannelID) -> Void) {
    guard !wakeUps.isEmpty else { return }
    for channel in wakeUps where channels.isAllocated(channel) {
      channels[channel].isWaking = false
      body(channel)
    }
    wakeUps.removeAll(keepingCapacity: true)
  }
}
