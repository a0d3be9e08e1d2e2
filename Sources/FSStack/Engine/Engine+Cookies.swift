// SYN cookies: passive opens of which nothing is remembered, when an endpoint's SYN cache is full.

extension Engine {
  /// Answers a SYN without remembering it.
  mutating func sendCookie(
    answering segment: inout Segment, _ flow: Flow, _ offer: SynchronizeOffer,
    endpoint: EndpointID, interface: Int, now: Instant
  ) {
    var offer = offer
    if !offer.flags.contains(.timestamps) {
      // Only the timestamp can carry these.
      offer.windowScale = SegmentOptions.absentWindowScale
      offer.flags = []
    }
    let cookie = SynchronizeCookie.encode(
      flow, sequence: offer.sequence, maximumSegmentSize: offer.maximumSegmentSize, secret: secret,
      now: now)
    let offset = secret.timestampOffset(flow.local, flow.remote)
    let clock = SynchronizeCookie.timestamp(timestamp(0, now: now), offer)
    var header = OutgoingHeader()
    header.destinationMAC = segment.sourceMAC
    header.vlan = segment.vlan
    sendSynchronizeAcknowledgement(
      &header, flow, offer, endpoint: endpoint, initial: cookie, timestamp: clock &+ offset,
      interface: interface)
    listeners.endpoints[endpoint].cookieSentAt = now
    counters.cookiesSent += 1
  }

  /// An acknowledgement that is of no connection, for a listener. True: it was dealt with; false: it
  /// acknowledges no cookie, and is to be answered with RST.
  mutating func cookieArrives(
    _ segment: inout Segment, _ payload: UnsafeRawBufferPointer, _ flow: Flow, hash: UInt64,
    endpoint: EndpointID, interface: Int, now: Instant
  ) -> Bool {
    let sentAt = listeners.endpoints[endpoint].cookieSentAt
    guard sentAt != .never, now - sentAt <= SynchronizeCookie.validity else { return false }
    guard let offer = decode(&segment, flow, now: now) else {
      counters.cookiesFailed += 1
      return false
    }
    counters.cookiesReceived += 1
    guard listeners.endpoints[endpoint].hasRoom else {
      drop(.listenQueueFull)
      return true
    }
    let open = PassiveOpen(
      offer: offer, initial: segment.acknowledgement - UInt32(1), endpoint: endpoint,
      interface: interface)
    unsafe completePassiveOpen(open, &segment, payload, flow, hash: hash, now: now)
    return true
  }

  /// What the SYN offered, by the acknowledgement of the cookie.
  private func decode(
    _ segment: inout Segment, _ flow: Flow, now: Instant
  ) -> SynchronizeOffer? {
    let sequence = segment.sequence - UInt32(1)
    guard
      let size = SynchronizeCookie.decode(
        segment.acknowledgement - UInt32(1), flow, sequence: sequence, secret: secret, now: now)
    else { return nil }
    var offer = SynchronizeOffer(sequence: sequence, maximumSegmentSize: size)
    guard segment.options.hasTimestamp, segment.options.timestampEcho != 0 else { return offer }
    offer.flags.insert(.timestamps)
    offer.recentTimestamp = segment.options.timestampValue
    let offset = secret.timestampOffset(flow.local, flow.remote)
    let isRecent = SynchronizeCookie.takeOptions(
      segment.options.timestampEcho &- offset, clock: timestamp(0, now: now), into: &offer)
    if configuration.ecn == .off, configuration.congestionAlgorithm != .dctcp {
      // No cookie of ours says so: the echo has been changed.
      offer.flags.remove(.congestionNotification)
    }
    return isRecent ? offer : nil
  }
}
