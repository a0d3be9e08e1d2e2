import FSRing

// setsockopt(2) on connections: level and name are Linux's numbers.

extension Engine {
  private enum Level {
    static var socket: Int { 1 }
    static var ip: Int { 0 }
    static var tcp: Int { 6 }
    static var ipv6: Int { 41 }
  }

  /// Applies an integer option; one that the engine does not know changes nothing.
  mutating func setOption(
    _ id: ConnectionID, level: Int, name: Int, value: Int32, now: Instant
  ) {
    guard connections[id].state != .closed else { return }
    switch (level, name) {
    case (Level.tcp, 1):  // TCP_NODELAY
      set(id, .noDelay, value != 0)
      if value != 0 { push(id) }
    case (Level.tcp, 3):  // TCP_CORK
      set(id, .cork, value != 0)
      if value == 0 { push(id) }
    case (Level.socket, 9):  // SO_KEEPALIVE (MAY-5)
      set(id, .keepAlive, value != 0)
      armKeepAlive(id, isNew: true, now: now)
    case (Level.socket, 47):  // SO_MAX_PACING_RATE, bytes per second; all ones for no limit
      setMaximumPacingRate(id, UInt32(bitPattern: value))
    case (Level.tcp, 4):  // TCP_KEEPIDLE
      changeUncommon(id) { $0.keepAliveIdle = UInt16(max(1, min(value, 32767))) }
      armKeepAlive(id, now: now)
    case (Level.tcp, 5):  // TCP_KEEPINTVL
      changeUncommon(id) { $0.keepAliveInterval = UInt16(max(1, min(value, 32767))) }
    case (Level.tcp, 6):  // TCP_KEEPCNT
      changeUncommon(id) { $0.keepAliveProbes = UInt8(max(1, min(value, 127))) }
    case (Level.tcp, 7):  // TCP_SYNCNT
      changeUncommon(id) { $0.synchronizeRetries = UInt8(max(1, min(value, 127))) }
    case (Level.tcp, 8):  // TCP_LINGER2; beyond Linux's TCP_FIN_TIMEOUT_MAX it is that
      changeUncommon(id) { $0.finishTimeout = value < 0 ? -1 : Int16(min(value, 120)) }
    case (Level.tcp, 18):  // TCP_USER_TIMEOUT, milliseconds
      changeUncommon(id) { $0.userTimeout = UInt32(max(0, value)) }
    case (Level.tcp, 13):  // TCP_CONGESTION, as a `CongestionAlgorithm`
      if let algorithm = UInt8(exactly: value).flatMap(CongestionAlgorithm.init(rawValue:)) {
        connections[id].congestion.select(algorithm)
      }
    case (Level.tcp, 2):
      // TCP_MAXSEG, zero for none; before the SYN it is what that announces, too
      guard value > 0 else {
        changeUncommon(id) { $0.userSegmentSize = 0 }
        return
      }
      let size = UInt16(max(88, min(value, 32767)))
      changeUncommon(id) { $0.userSegmentSize = size }
      connections[id].maximumSegmentSize = min(connections[id].maximumSegmentSize, size)
    case (Level.tcp, 25):  // TCP_NOTSENT_LOWAT; zero is Linux's tcp_notsent_lowat, no mark
      changeUncommon(id) { $0.unsentLowWater = value == 0 ? .max : UInt32(bitPattern: value) }
      markDirty(id)
    case (Level.tcp, 12):  // TCP_QUICKACK
      setQuickAcknowledgement(id, value != 0)
    case (Level.socket, 8):  // SO_RCVBUF: it no longer grows by itself; the window never shrinks
      let limit = connections[id].receiveScale == 0 ? 65535 : configuration.receiveBuffer
      connections[id].receiveBuffer = min(max(UInt32(max(value, 0)), 4096), limit)
      connections[id].flags.insert(.receiveBufferLocked)
    case (Level.socket, 18):  // SO_RCVLOWAT
      setReceiveLowWater(id, UInt32(max(value, 0)))
    case (Level.tcp, 10):  // TCP_WINDOW_CLAMP; Linux's least is half of SOCK_MIN_RCVBUF
      changeUncommon(id) { $0.windowClamp = value == 0 ? .max : max(UInt32(max(value, 0)), 1152) }
    case (Level.ip, 1), (Level.ipv6, 67):  // IP_TOS, IPV6_TCLASS (MUST-48, SHLD-21), not ECN
      connections[id].trafficClass = UInt8(truncatingIfNeeded: value) & 0xfc
    case (Level.ip, 2), (Level.ipv6, 16):  // IP_TTL, IPV6_UNICAST_HOPS
      connections[id].hopLimit = value > 0 && value < 256 ? UInt8(value) : 64
    default:
      return
    }
  }

  private func set(_ id: ConnectionID, _ flag: ConnectionFlags, _ on: Bool) {
    if on {
      connections[id].flags.insert(flag)
    } else {
      connections[id].flags.remove(flag)
    }
  }

  /// A held partial segment goes out now.
  private mutating func push(_ id: ConnectionID) {
    guard connections[id].hasUnsent else { return }
    connections[id].flags.insert(.pushNow)
    scheduleOutput(id)
  }
}
