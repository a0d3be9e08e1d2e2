// How large packets may be on a connection's path: what routers say (RFC 1191, RFC 8201), what is
// found out without them (RFC 4821, RFC 8899), and when both are forgotten.

extension Engine {
  /// Bytes of the IP and TCP headers without options.
  static func headerLength(isIPv4: Bool) -> Int { isIPv4 ? 40 : 60 }

  /// A new connection takes what is remembered of its destination.
  mutating func adoptPathSize(_ id: ConnectionID, now: Instant) {
    guard let known = pathSizes.find(connections[id].flow.remote, now: now) else { return }
    let header = Self.headerLength(isIPv4: connections[id].flow.local.isIPv4)
    let size = UInt16(max(Int(known.mtu) - header, 0))
    guard size < connections[id].pathSegmentSize else { return }
    limitPathSize(id, to: size, expiry: known.expiry)
  }

  /// A router says that a packet of `quoted` bytes did not fit, and which size would (0: an old one,
  /// which does not say).
  mutating func packetTooBig(_ id: ConnectionID, mtu: Int, quoted: Int, now: Instant) {
    let isIPv4 = connections[id].flow.local.isIPv4
    let header = Self.headerLength(isIPv4: isIPv4)
    let next = mtu == 0 ? Self.plateau(below: quoted) : mtu
    // A packet that was no larger than what fits cannot have been too big (RFC 5927 section 7.2).
    guard next < quoted else {
      drop(.icmpNoFlow)
      return
    }
    // Below the floor nobody has an honest reason to go; a forger has (RFC 5927 section 7.1).
    let floor = PathSearch.floor(isIPv4: isIPv4)
    let size = UInt16(clamping: max(next - header, Int(floor)))
    guard size < connections[id].pathSegmentSize else {
      // It was our probe that did not fit.
      let search = connections[id].pathSearch
      if search != .none {
        pathSearches[search].high = max(
          pathSearches[search].low, min(pathSearches[search].high, size))
      }
      return
    }
    counters.pathSizeReductions += 1
    pathSizes.set(
      connections[id].flow.remote, mtu: UInt16(clamping: Int(size) + header), now: now)
    limitPathSize(id, to: size, expiry: now + PathSizeTable.lifetime)
    resegment(id, now: now)
  }

  /// The sizes of common links (RFC 1191 section 7.1): the largest below that of a packet that did not
  /// fit.
  private static func plateau(below size: Int) -> Int {
    for plateau in [32000, 17914, 8166, 4352, 2002, 1492, 1006, 508, 296] where plateau < size {
      return plateau
    }
    return 68
  }

  /// Notes that a connection's segments may only be so large. The record is of what the path is
  /// known to carry; without room for one the size is never raised again.
  private mutating func limitPathSize(_ id: ConnectionID, to size: UInt16, expiry: Instant) {
    let search = connections[id].pathSearch
    if search != .none {
      pathSearches[search].low = size
      pathSearches[search].high = size
      pathSearches[search].expiry = expiry
    } else {
      let limit = connections[id].pathSegmentSize
      let new = PathSearch(low: size, high: size, limit: limit, expiry: expiry)
      connections[id].pathSearch = pathSearches.allocate(new) ?? .none
    }
    connections[id].pathSegmentSize = size
  }

  // MARK: Black holes

  /// Timeouts of one segment after which its size is suspected (R1 of RFC 9293 section 3.8.3, Linux's
  /// tcp_retries1).
  private static var suspicion: UInt8 { 3 }

  /// The retransmission timer has expired again: perhaps segments of this size vanish, and nobody
  /// says so (RFC 2923 section 2.1). The first time a common small size is tried, then half of it.
  mutating func suspectBlackHole(_ id: ConnectionID, now: Instant) {
    let isIPv4 = connections[id].flow.local.isIPv4
    guard connections[id].attempts >= Self.suspicion, connections[id].state >= .established else {
      return
    }
    let floor = PathSearch.floor(isIPv4: isIPv4)
    let current = connections[id].pathSegmentSize
    // Only a segment larger than what is tried next can be the victim.
    let outstanding = connections[id].sendMaximum - connections[id].sendUnacknowledged
    guard min(connections[id].maximumSegmentSize, current) > floor, outstanding > Int32(floor)
    else { return }
    let base = PathSearch.base(isIPv4: isIPv4)
    let size = max(floor, current > base ? base : current / 2)
    let high =
      connections[id].pathSearch == .none
      ? current : max(pathSearches[connections[id].pathSearch].high, current)
    limitPathSize(id, to: size, expiry: now + PathSizeTable.lifetime)
    if connections[id].pathSearch != .none { pathSearches[connections[id].pathSearch].high = high }
    counters.blackHolesSuspected += 1
  }

  // MARK: The search

  /// Tries a larger size, if it is time. False: no free frame. Only with everything in order: no loss
  /// is being repaired, and there is more than the probe to send.
  @inline(never)
  mutating func probePath(_ id: ConnectionID, now: Instant) -> Bool {
    let search = connections[id].pathSearch
    forgetOldPath(id, now: now)
    guard connections[id].attempts == 0, !isRecovering(id),
      records.mayAppend(to: connections[id].flight), let size = pathSearches[search].nextSize
    else { return true }
    let length = Int(min(size, connections[id].maximumSegmentSize)) - connections[id].optionLength
    let unsent = connections[id].sendQueueEnd - connections[id].sendNext
    guard length > Int(connections[id].segmentSize), unsent > Int32(length),
      connections[id].usableWindow(pipe: pipe(id)) >= length
    else { return true }
    let sequence = connections[id].sendNext
    guard sendNext(id, length: length, finishes: false, isLast: false, now: now) else {
      return false
    }
    pathSearches[search].probeSize = size
    pathSearches[search].probeSequence = sequence
    pathSearches[search].probeEnd = sequence + UInt32(length)
    counters.pathProbes += 1
    return true
  }

  /// What a router has said ten minutes ago is tried again at once (RFC 1191 section 6.3); what was found
  /// out by a black hole, by probes.
  private mutating func forgetOldPath(_ id: ConnectionID, now: Instant) {
    let search = connections[id].pathSearch
    guard pathSearches[search].expiry <= now, pathSearches[search].probeSize == 0 else { return }
    pathSearches[search].high = pathSearches[search].limit
    pathSearches[search].expiry = now + PathSizeTable.lifetime
  }

  /// A segment goes out; if bytes of a probe go out again, the probe was too large.
  @inline(never)
  mutating func noteTransmission(_ id: ConnectionID, _ sequence: SequenceNumber, _ length: Int) {
    _ = pathSearches[connections[id].pathSearch].sends(sequence, length)
  }

  /// Something was acknowledged; if it was a probe, its size is good.
  @inline(never)
  mutating func pathProbeAcknowledged(_ id: ConnectionID, now: Instant) {
    let search = connections[id].pathSearch
    guard pathSearches[search].acknowledged(connections[id].sendUnacknowledged) else { return }
    connections[id].pathSegmentSize = pathSearches[search].low
    pathSearches[search].expiry = now + PathSizeTable.lifetime
  }

  /// The connection needs no size any more.
  mutating func endPathSearch(_ id: ConnectionID) {
    let search = connections[id].pathSearch
    guard search != .none else { return }
    pathSearches.free(search)
    connections[id].pathSearch = .none
  }
}
