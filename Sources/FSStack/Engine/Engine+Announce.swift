import CProcessor

// What the frames of a burst will need is brought into the cache before the first of them is processed:
// with many connections each packet belongs to another, and the processor waits for memory once for
// all of a burst instead of for each packet.

/// The flows of the frames of a burst that has been announced.
struct AnnouncedFlows: BitwiseCopyable {
  private var hashes = InlineArray<64, UInt64>(repeating: 0)
  private var count = 0

  var isEmpty: Bool { count == 0 }

  @inline(__always)
  mutating func append(_ hash: UInt64) {
    guard count < hashes.count else { return }
    hashes[count] = hash
    count += 1
  }

  @inline(__always)
  mutating func removeAll(_ body: (UInt64) -> Void) {
    for position in 0..<count { body(hashes[position]) }
    count = 0
  }
}

extension Engine {
  /// A frame that `receive` will be given, after all others of its burst have been announced. Only asks for
  /// memory: nothing is decided, counted or believed here.
  @inline(__always)
  public mutating func announce(_ frame: UnsafeRawBufferPointer) {
    guard hasManyConnections, let flow = unsafe Flow(ofPlain: frame)
    else {
      return
    }
    let hash = secret.hash(flow)
    flows.prefetch(hash)
    announced.append(hash)
  }

  /// The first frame of the burst is received: what the index says is there by now.
  @inline(__always)
  mutating func prefetchAnnounced() {
    guard !announced.isEmpty else { return }
    let (connections, flows, rows) = (self.connections, self.flows, self.rows)
    announced.removeAll { hash in
      guard let raw = flows.find(hash, where: { _ in true }) else { return }
      let id = ConnectionID(raw: raw)
      connections.prefetch(id)
      rows.prefetch(id)
    }
  }

  /// Whether there are so many connections that most are not in the cache.
  @inline(__always)
  var hasManyConnections: Bool { connections.count > configuration.fewConnections }

  /// The same for the next commands of a channel: those from `begin` on, below `end`. First where each slot's
  /// connection is written, then the connections.
  @inline(never)
  func prefetchCommands(_ channel: ChannelID, from begin: UInt32, to end: UInt32) {
    for position in begin..<end {
      channels[channel].prefetch(slot: channels[channel].commands.element(at: position).slot)
    }
    for position in begin..<end {
      let slot = channels[channel].commands.element(at: position).slot
      guard let id = channels[channel].connection(on: slot) else { continue }
      connections.prefetch(id)
      rows.prefetch(id)
    }
  }

  /// The same for a timer that will fire soon: what is looked at if there is nothing to do, or an
  /// acknowledgement to send.
  @inline(__always)
  func prefetchTimer() {
    let id = timers.upcoming
    if id != .none { connections.prefetch(id, bytes: 320) }
  }
}

extension Flow {
  /// What reaches to the end of the ports.
  private static var plainLength: Int { 14 + 20 + 4 }

  /// The flow of a frame, if it is what most are: IPv4 without options, TCP, no VLAN tag. Nothing but its
  /// length has been checked.
  @inline(__always)
  init?(ofPlain frame: UnsafeRawBufferPointer) {
    guard frame.count >= Self.plainLength, unsafe NetworkLayer.isPlainIPv4(frame),
      let base = frame.baseAddress, unsafe base.byte(14) == 0x45,
      unsafe base.byte(23) == NetworkLayer.tcp
    else { return nil }
    unsafe self.init(
      local: IPAddress(v4Native: base.native32(30)), localPort: base.network16(36),
      remote: IPAddress(v4Native: base.native32(26)), remotePort: base.network16(34))
  }
}
