import CShim

/// setsockopt(2).
@c @implementation
public func fs_setsockopt(
  _ fd: Int32, _ level: Int32, _ name: Int32, _ value: UnsafeRawPointer?, _ length: socklen_t
) -> Int64 {
  guard Int32(bitPattern: length) >= 0 else { return failure(EINVAL) }
  KernelSocket.settle(fd)
  let setting = OptionSetting(level: level, name: name, value: value, length: length)
  var isOfListener = false
  let result = withSocket(fd) { socket, entry in
    guard socket.isOurs else { return failure(ENOTCONN) }
    switch entry.kind {
    case .undecided:
      return setUndecided(fd, socket, setting)
    case .listener:
      // The engines' connections would not have it, and the application would not know.
      if setting.isKernelListeners {
        fs_fell_back(Int32(FS_FALLBACK_REFUSED_OPTION))
        return failure(ENOPROTOOPT)
      }
      let result = setting.apply(to: fd)
      guard result == 0 else { return result }
      setting.note(from: fd, socket)
      isOfListener = setting.concernsListeners
      return 0
    default:
      return setConnected(socket, setting)
    }
  }
  if isOfListener { refreshListener(fd) }
  return result
}

/// One call of setsockopt(2).
struct OptionSetting {
  let level: Int32
  let name: Int32
  let value: UnsafeRawPointer?
  let length: socklen_t

  /// Sets it on a socket of the kernel.
  func apply(to fd: Int32) -> Int64 {
    Int64(fs_sys_setsockopt(fd, level, name, value, length))
  }

  /// The integer that was given, for an option that takes no less: EINVAL and EFAULT as in
  /// sk_setsockopt of Linux. An address that is no null pointer and yet bad ends the program here,
  /// as it does in libc.
  func integer(_ number: inout Int32) -> Int64 {
    guard length >= 4 else { return failure(EINVAL) }
    guard let value else { return failure(EFAULT) }
    number = value.loadUnaligned(as: Int32.self)
    return 0
  }

  /// Whether it is something that a listener of an engine cannot have, so that the socket has to
  /// listen in the kernel alone.
  var isKernelListeners: Bool {
    switch (level, name) {
    case (SOL_TCP, TCP_MD5SIG), (SOL_TCP, TCP_MD5SIG_EXT), (SOL_TCP, 38),  // TCP_AO_ADD_KEY
      (SOL_SOCKET, SO_ATTACH_FILTER), (SOL_SOCKET, SO_ATTACH_BPF), (SOL_SOCKET, SO_BINDTODEVICE),
      (SOL_SOCKET, SO_BINDTOIFINDEX), (SOL_IP, IP_MINTTL), (SOL_IPV6, 73):  // IPV6_MINHOPCOUNT
      return true
    default:
      return false
    }
  }

  /// Whether the engines have to know it of a listener.
  var concernsListeners: Bool {
    KeptOption(level: level, name: name)?.has(FS_OF_LISTENERS) ?? false
  }

  /// Remembers what the kernel's socket has now, for connections that inherit it and for one that an
  /// engine will carry. False if it is nothing that the shim keeps.
  @discardableResult
  func note(from fd: Int32, _ socket: SocketPointer) -> Bool {
    if let structured = StructuredOption(level: level, name: name) {
      _ = structured.set(socket, self)
      return true
    }
    if level == SOL_SOCKET, name == SO_SNDBUFFORCE || name == SO_RCVBUFFORCE {
      let plain = name == SO_SNDBUFFORCE ? SO_SNDBUF : SO_RCVBUF
      guard let size = KernelAnswer.integer(fd, level, plain) else { return true }
      socket.keep(KeptOption(plain == SO_SNDBUF ? FS_OPTION_SNDBUF : FS_OPTION_RCVBUF), size)
      return true
    }
    guard let option = KeptOption(level: level, name: name) else { return false }
    if option == FS_OPTION_CONGESTION {
      socket.keepCongestionControl(of: fd)
    } else if option == FS_OPTION_PACING_RATE {
      _ = setPacingRate(socket, self)
    } else if let number = KernelAnswer.integer(fd, level, name) {
      socket.keep(option, number)
      if option == FS_OPTION_TOS, let priority = KernelAnswer.integer(fd, SOL_SOCKET, SO_PRIORITY) {
        socket.keep(KeptOption(FS_OPTION_PRIORITY), priority)
      }
    }
    return true
  }
}

/// An option of a socket whose fate is open: remembered, if no question to the kernel is needed for
/// it; else the kernel's socket gets it, and everything remembered before it.
private func setUndecided(_ fd: Int32, _ socket: SocketPointer, _ setting: OptionSetting) -> Int64 {
  if !socket.pointee.flags.contains(.touched) {
    if let structured = StructuredOption(level: setting.level, name: setting.name) {
      return structured.set(socket, setting)
    }
    if let option = KeptOption(level: setting.level, name: setting.name),
      option.check != FS_CHECK_KERNEL,
      option.number != FS_OPTION_CONGESTION, option.number != FS_OPTION_PACING_RATE
    {
      var number: Int32 = 0
      let error = judge(option, socket, setting, &number)
      guard error == 0 else { return error }
      socket.keep(option, number)
      return 0
    }
  }
  flushToKernel(fd, socket)
  let result = setting.apply(to: fd)
  guard result == 0 else { return result }
  if setting.isKernelListeners { socket.pointee.flags.insert(.kernelListener) }
  // Who asks for something special on an outgoing connection shall have it.
  if !setting.note(from: fd, socket) { socket.pointee.flags.insert(.kernelOnly) }
  return 0
}

/// Hands over to the kernel's socket what was remembered of options. Calls may be repeated.
func flushOptions(_ fd: Int32, _ socket: SocketPointer) {
  socket.options.forEach { option, kept in
    if option == FS_OPTION_CONGESTION || option == FS_OPTION_PACING_RATE {
      flushSpecial(option, fd, socket)
      return
    }
    var value = kept
    // The kernel doubles what it is given.
    if option == FS_OPTION_SNDBUF || option == FS_OPTION_RCVBUF { value /= 2 }
    _ = fs_sys_setsockopt(
      fd, option.level, option.name, &value, UInt32(MemoryLayout<Int32>.size))
  }
  let lingers = socket.pointee.flags.contains(.linger)
  if lingers || socket.pointee.lingerSeconds != 0 {
    var value = linger(l_onoff: 1, l_linger: socket.pointee.lingerSeconds)
    let length = UInt32(MemoryLayout<linger>.size)
    _ = fs_sys_setsockopt(fd, SOL_SOCKET, SO_LINGER, &value, length)
    value.l_onoff = 0
    if !lingers { _ = fs_sys_setsockopt(fd, SOL_SOCKET, SO_LINGER, &value, length) }
  }
  flushTimeout(fd, SO_RCVTIMEO, socket.pointee.receiveTimeout)
  flushTimeout(fd, SO_SNDTIMEO, socket.pointee.sendTimeout)
}

/// Those whose value is no integer.
private func flushSpecial(_ option: KeptOption, _ fd: Int32, _ socket: SocketPointer) {
  if option == FS_OPTION_PACING_RATE {
    var rate = socket.options.pacingRate
    _ = fs_sys_setsockopt(fd, option.level, option.name, &rate, UInt32(MemoryLayout<UInt64>.size))
  } else if let number = socket.options.value(option),
    let name = CongestionAlgorithm(rawValue: UInt8(truncatingIfNeeded: number))?.name
  {
    _ = fs_sys_setsockopt(
      fd, option.level, option.name, name.utf8Start, UInt32(name.utf8CodeUnitCount))
  }
}

private func flushTimeout(_ fd: Int32, _ name: Int32, _ nanoseconds: UInt64) {
  guard nanoseconds != 0 else { return }
  var value = StructuredOption.time(nanoseconds)
  if nanoseconds == Socket.noTime { value.tv_sec = -1 }
  _ = fs_sys_setsockopt(fd, SOL_SOCKET, name, &value, UInt32(MemoryLayout<timeval>.size))
}
