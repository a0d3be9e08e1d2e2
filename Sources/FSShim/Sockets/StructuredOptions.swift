import CShim

/// Options whose values are structures.
enum StructuredOption {
  case linger
  case receiveTimeout
  case sendTimeout

  init?(level: Int32, name: Int32) {
    guard level == SOL_SOCKET else { return nil }
    switch name {
    case SO_LINGER: self = .linger
    // With 64-bit time both names mean the same structure.
    case SO_RCVTIMEO, 66: self = .receiveTimeout
    case SO_SNDTIMEO, 67: self = .sendTimeout
    default: return nil
    }
  }

  /// Sets it on a socket of ours: sk_setsockopt and sock_set_timeout of Linux.
  func set(_ socket: SocketPointer, _ setting: OptionSetting) -> Int64 {
    var number: Int32 = 0
    let error = setting.integer(&number)
    guard error == 0, let value = setting.value else { return error }
    if self == .linger {
      guard setting.length >= socklen_t(MemoryLayout<CShim.linger>.size) else {
        return failure(EINVAL)
      }
      let option = value.loadUnaligned(as: CShim.linger.self)
      if option.l_onoff != 0 {
        socket.pointee.flags.insert(.linger)
        // A negative time is as long as the kernel can count jiffies, and reads back cut to 32 bits.
        socket.pointee.lingerSeconds =
          option.l_linger >= 0 ? option.l_linger : KernelLimits.known.longestLinger
      } else {
        socket.pointee.flags.remove(.linger)
      }
      return 0
    }
    guard setting.length >= socklen_t(MemoryLayout<timeval>.size) else { return failure(EINVAL) }
    let option = value.loadUnaligned(as: timeval.self)
    guard option.tv_usec >= 0, option.tv_usec < 1_000_000 else { return failure(EDOM) }
    let timeout = Self.nanoseconds(option)
    if self == .receiveTimeout {
      socket.pointee.receiveTimeout = timeout
    } else {
      socket.pointee.sendTimeout = timeout
    }
    return 0
  }

  /// As the kernel rounds it. A time of centuries is none at all.
  private static func nanoseconds(_ time: timeval) -> UInt64 {
    if time.tv_sec < 0 { return Socket.noTime }
    guard time.tv_sec < 1 << 33 else { return 0 }
    let fraction = KernelLimits.known.rounded(microseconds: UInt64(time.tv_usec))
    return UInt64(time.tv_sec) * 1_000_000_000 + fraction * 1000
  }

  /// The opposite.
  static func time(_ nanoseconds: UInt64) -> timeval {
    timeval(
      tv_sec: Int(nanoseconds / 1_000_000_000), tv_usec: Int(nanoseconds % 1_000_000_000 / 1000))
  }

  /// Answers what a socket of ours has.
  func get(_ socket: SocketPointer, _ reading: OptionReading) -> Int64 {
    switch self {
    case .linger:
      let isOn = socket.pointee.flags.contains(.linger)
      var option = CShim.linger(l_onoff: isOn ? 1 : 0, l_linger: socket.pointee.lingerSeconds)
      return reading.put(&option, MemoryLayout<CShim.linger>.size)
    case .receiveTimeout, .sendTimeout:
      var option = Self.time(
        self == .receiveTimeout ? socket.pointee.receiveTimeout : socket.pointee.sendTimeout)
      return reading.put(&option, MemoryLayout<timeval>.size)
    }
  }
}

/// SO_MAX_PACING_RATE: 32 bits, of which all set mean no limit, or 64.
func setPacingRate(_ socket: SocketPointer, _ setting: OptionSetting) -> Int64 {
  var number: Int32 = 0
  let error = setting.integer(&number)
  guard error == 0, let value = setting.value else { return error }
  if setting.length == 8 {
    socket.options.pacingRate = value.loadUnaligned(as: UInt64.self)
  } else {
    socket.options.pacingRate = number == -1 ? .max : UInt64(UInt32(bitPattern: number))
  }
  socket.keep(KeptOption(FS_OPTION_PACING_RATE), 0)
  return 0
}

/// Answers SO_MAX_PACING_RATE.
func getPacingRate(_ socket: SocketPointer, _ reading: OptionReading) -> Int64 {
  var rate = socket.options.pacingRate
  if reading.capacity >= 8 { return reading.put(&rate, 8) }
  return reading.put(Int32(bitPattern: UInt32(clamping: rate)))
}
