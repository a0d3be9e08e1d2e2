import CShim
import Synchronization

// setsockopt(2) on connections that engines carry. The lock is held.

/// Sets an option of an engine's connection: errors as those of the kernel for a socket in the same
/// state.
func setConnected(_ socket: SocketPointer, _ setting: OptionSetting) -> Int64 {
  if let structured = StructuredOption(level: setting.level, name: setting.name) {
    return structured.set(socket, setting)
  }
  guard let option = KeptOption(level: setting.level, name: setting.name) else {
    return setOther(socket, setting)
  }
  if option == FS_OPTION_CONGESTION { return setCongestionControl(socket, setting) }
  if option == FS_OPTION_PACING_RATE {
    let error = setPacingRate(socket, setting)
    if error == 0 { tellEngine(socket, option) }
    return error
  }
  var number: Int32 = 0
  let error = judge(option, socket, setting, &number)
  guard error == 0 else { return error }
  if option.has(FS_ONLY_UNBOUND) { return failure(EINVAL) }
  if option == FS_OPTION_WINDOW_CLAMP, number == 0, socket.pointee.state != .failed {
    return failure(EINVAL)
  }
  let known = socket.options.value(option) ?? (option.isSwitch ? 0 : nil)
  socket.keep(option, number)
  // TCP_QUICKACK is a wish for the moment, also when it was set before.
  if known != number || option == FS_OPTION_QUICKACK { tellEngine(socket, option) }
  if option == FS_OPTION_RCVLOWAT || option == FS_OPTION_OOBINLINE
    || option == FS_OPTION_NOTSENT_LOWAT || option == FS_OPTION_SNDBUF
  {
    reviewReadiness(socket)
  }
  return 0
}

/// What an option becomes when it is set to what was given: 0 or -errno.
func judge(
  _ option: KeptOption, _ socket: SocketPointer, _ setting: OptionSetting, _ number: inout Int32
) -> Int64 {
  if option.check == FS_CHECK_KERNEL { return askKernel(option, socket, setting, &number) }
  let error = setting.integer(&number)
  guard error == 0 else { return error }
  switch option.check {
  case FS_CHECK_SWITCH:
    number = number == 0 ? 0 : 1
    return 0
  case FS_CHECK_RANGE:
    return option.range.contains(number) ? 0 : failure(EINVAL)
  default:
    break
  }
  switch option.number {
  case FS_OPTION_SNDBUF:
    number = KernelLimits.known.sendBuffer(number)
  case FS_OPTION_RCVBUF:
    number = KernelLimits.known.receiveBuffer(number)
  case FS_OPTION_MAXSEG:
    return number == 0 || number >= 88 && number <= 32767 ? 0 : failure(EINVAL)
  case FS_OPTION_LINGER2:
    // 0 is what sysctl says, below it no wait at all.
    number = min(max(number, -1), 120)
  default:
    break
  }
  return 0
}

private func askKernel(
  _ option: KeptOption, _ socket: SocketPointer, _ setting: OptionSetting, _ number: inout Int32
) -> Int64 {
  let answer = KernelAnswer.toSetting(
    isIPv6: socket.pointee.isIPv6, option.level, option.name, reading: option.name, setting.value,
    setting.length)
  guard answer.result == 0 else { return Int64(answer.result) }
  number = answer.kept
  if option == FS_OPTION_RCVLOWAT,
    let size = socket.options.value(KeptOption(FS_OPTION_RCVBUF))
  {
    number = max(min(number, size / 2), 1)
  }
  let current = socket.options.value(option) ?? 0
  if option == FS_OPTION_TOS, current != number {
    socket.keep(KeptOption(FS_OPTION_PRIORITY), answer.priority)
  }
  return 0
}

/// An option that the shim does not keep. What the kernel would refuse is refused as it does; what
/// means nothing is accepted; the rest is something that the connection's engine does not do.
private func setOther(_ socket: SocketPointer, _ setting: OptionSetting) -> Int64 {
  var reading = setting.name
  if setting.level == SOL_SOCKET {
    if setting.name == SO_SNDBUFFORCE { reading = SO_SNDBUF }
    if setting.name == SO_RCVBUFFORCE { reading = SO_RCVBUF }
  }
  let answer = KernelAnswer.toSetting(
    isIPv6: socket.pointee.isIPv6, setting.level, setting.name, reading: reading, setting.value,
    setting.length)
  guard answer.result == 0 else { return Int64(answer.result) }
  // Who asks for what is so anyway may have it.
  if let before = answer.before, before == answer.kept, setting.level != SOL_TCP { return 0 }
  switch (setting.level, setting.name) {
  case (SOL_SOCKET, SO_SNDBUFFORCE), (SOL_SOCKET, SO_RCVBUFFORCE):
    let option = KeptOption(reading == SO_SNDBUF ? FS_OPTION_SNDBUF : FS_OPTION_RCVBUF)
    socket.keep(option, answer.kept)
    if option.has(FS_TO_ENGINE) { tellEngine(socket, option) }
    reviewReadiness(socket)
    return 0
  case (SOL_SOCKET, SO_BSDCOMPAT), (SOL_SOCKET, SO_CNX_ADVICE), (SOL_TCP, TCP_THIN_DUPACK):
    // Without effect in Linux too.
    return 0
  case (SOL_TCP, TCP_FASTOPEN), (SOL_TCP, TCP_FASTOPEN_CONNECT),
    (SOL_TCP, TCP_FASTOPEN_NO_COOKIE):
    // For sockets that are not connected.
    return failure(EINVAL)
  case (SOL_TCP, TCP_REPAIR):
    return failure(EPERM)
  case (SOL_SOCKET, SO_ZEROCOPY), (SOL_SOCKET, SO_PEEK_OFF):
    // What Linux says for protocols that cannot do it, so that programs know.
    fs_fell_back(Int32(FS_FALLBACK_REFUSED_OPTION))
    return failure(EOPNOTSUPP)
  default:
    fs_fell_back(Int32(FS_FALLBACK_REFUSED_OPTION))
    return failure(ENOPROTOOPT)
  }
}

extension UnsafeMutablePointer<Socket> {
  /// Remembers an option that is valid, and what follows from it on this side.
  func keep(_ option: KeptOption, _ number: Int32) {
    switch option.number {
    case FS_OPTION_LINGER2 where number == 0, FS_OPTION_MAXSEG where number == 0:
      options.forget(option)
      return
    case FS_OPTION_SNDBUF:
      pointee.sendLimit = UInt32(max(number, 0))
    case FS_OPTION_TIMESTAMP:
      options.forget(KeptOption(FS_OPTION_TIMESTAMPNS))
    case FS_OPTION_TIMESTAMPNS:
      options.forget(KeptOption(FS_OPTION_TIMESTAMP))
    default:
      break
    }
    options.set(option, number)
  }
}

// What the engine has to know.

/// Tells the engine an option that was kept, at once.
func tellEngine(_ socket: SocketPointer, _ option: KeptOption) {
  guard option.has(FS_TO_ENGINE), socket.pointee.state != .failed else { return }
  let channel = ChannelTable.at(socket.pointee.channel)
  channel.sendOption(socket, option)
  channel.publish()
}

extension UnsafeMutablePointer<Channel> {
  /// Tells the engine the options that were set before it had the connection.
  func sendOptions(_ socket: SocketPointer) {
    socket.options.forEach { option, value in
      if option.has(FS_TO_ENGINE), value != 0 || !option.isSwitch || option == FS_OPTION_QUICKACK {
        sendOption(socket, option)
      }
    }
  }

  fileprivate func sendOption(_ socket: SocketPointer, _ option: KeptOption) {
    var command = Command(.option, slot: socket.pointee.slot)
    command.length = option.key
    // What was forgotten is 0: as it is by itself.
    command.value = socket.options.value(option) ?? 0
    // Half a buffer is for what the kernel needs beside the bytes.
    if option == FS_OPTION_RCVBUF { command.value /= 2 }
    if option == FS_OPTION_PACING_RATE {
      let rate = socket.options.pacingRate
      command.value = Int32(bitPattern: UInt32(clamping: rate))
      command.localLow = rate
    }
    send(command)
  }
}

/// Something that decides about readiness has changed: what has become ready is an edge.
func reviewReadiness(_ socket: SocketPointer) {
  guard socket.pointee.state == .connected else { return }
  let before = socket.readiness.pointee.load(ordering: .relaxed)
  let channel = ChannelTable.at(socket.pointee.channel)
  channel.reviewRoom(socket)
  socket.updateReadiness()
  let news = socket.readiness.pointee.load(ordering: .relaxed) & ~before
  if news != 0 { channel.notifyOfOwn(socket, news & ~Ready.anyInput) }
}
