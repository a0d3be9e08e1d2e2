import CProcessor

// What the frames of a burst, a channel's commands and timers will need is asked for before it is needed: with
// many connections each is of another, and what is known of that is not in the cache. Always a few steps
// ahead: all at once would wait for each other.

/// The flows of the frames of a burst that has been announced.
struct AnnouncedFlows: BitwiseCopyable {
  private var hashes = InlineArray<64, UInt64>(repeating: 0)
  private var count = 0
  private var taken = 0

  /// Whether `next` was not called since the last `append`.
  var isFresh: Bool { taken == 0 }
  var isEmpty: Bool { taken == count }

  @inline(__always)
  mutating func append(_ hash: UInt64) {
    guard count < hashes.count else { return }
    hashes[count] = hash
    count += 1
  }

  /// The next flow; after the last one there is room for another burst.
  @inline(__always)
  mutating func next() -> UInt64 {
    let hash = hashes[taken]
    taken += 1
    if taken == count { (count, taken) = (0, 0) }
    return hash
  }
}

extension Engine {
  /// Frames, or commands, whose connections are asked for before the first of them is looked at.
  private static var near: UInt32 { 8 }
  /// Commands for which it is asked where their connections are.
  private static var far: UInt32 { 16 }

  /// Whether there are so many connections that most are not in the cache.
  @inline(__always)
  var hasManyConnections: Bool { connections.count > configuration.fewConnections }

  // MARK: Frames

  /// A frame that `receive` will be given, after all others of its burst have been announced. Only asks for
  /// memory: nothing is decided, counted or believed here.
  @inline(__always)
  public mutating func announce(_ frame: UnsafeRawBufferPointer) {
    // Where a new flow belongs nobody has looked before, however few there are.
    let isCold = hasManyConnections
    guard unsafe isCold || Flow.opens(plain: frame), let flow = unsafe Flow(ofPlain: frame) else {
      return
    }
    let hash = secret.hash(flow)
    flows.prefetch(hash)
    if isCold { announced.append(hash) }
  }

  /// A frame is received: asks for what a later one of the burst needs, by what the index says by now.
  @inline(__always)
  mutating func prefetchAnnounced() {
    if !announced.isEmpty { prefetchNextAnnounced() }
  }

  @inline(never)
  private mutating func prefetchNextAnnounced() {
    var count = announced.isFresh ? Self.near : 1
    while count > 0, !announced.isEmpty {
      if case .connection(let id) = flows.candidate(announced.next()) { prefetch(id) }
      count -= 1
    }
  }

  @inline(__always)
  private func prefetch(_ id: ConnectionID) {
    connections.prefetch(id)
    rows.prefetch(id)
  }

  // MARK: Commands

  /// The command at `position` of a channel is about to be executed, of `ready` commands.
  @inline(never)
  func prefetchCommands(_ channel: ChannelID, at position: UInt32, of ready: UInt32) {
    // First where each slot's connection is written, then the connections.
    var later = position == 0 ? 0 : position + Self.far
    while later < min(position + Self.far + 1, ready) {
      channels[channel].prefetch(slot: channels[channel].commands.element(at: later).slot)
      later += 1
    }
    later = position == 0 ? 0 : position + Self.near
    while later < min(position + Self.near + 1, ready) {
      let slot = channels[channel].commands.element(at: later).slot
      if let id = channels[channel].connection(on: slot) { prefetch(id) }
      later += 1
    }
  }

  // MARK: Timers

  /// A timer has fired: asks for the connection of one that will soon, what is looked at of it if there is
  /// nothing to do, or an acknowledgement to send.
  @inline(__always)
  func prefetchTimer() {
    let id = timers.upcoming
    if id != .none { connections.prefetch(id, bytes: 320) }
  }
}

extension Flow {
  /// What reaches to the end of the ports.
  private static var plainLength: Int { 14 + 20 + 4 }

  /// Whether a frame, if it is what most are, has a SYN.
  @inline(__always)
  static func opens(plain frame: UnsafeRawBufferPointer) -> Bool {
    guard frame.count > plainLength + 9, let base = frame.baseAddress else { return false }
    return unsafe TCPFlags(rawValue: base.byte(plainLength + 9)).contains(.syn)
  }

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
