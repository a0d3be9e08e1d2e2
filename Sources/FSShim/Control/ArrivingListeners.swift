import CShim

// Listening sockets that another process made: inherited through exec, or received beside a message
// (SCM_RIGHTS). They are entered as if this process had called listen() itself, but the daemon hears of
// one only when somebody waits for its connections, because many programs merely pass them on.

/// The library's constructor: looks at the descriptors that exec left open. Costs one poll(2) and a
/// getsockopt(2) for each of them.
func enterInheritedListeners() {
  let limit = Int32(clamping: fs_sys_descriptor_limit())
  var first: Int32 = 0
  var open: InlineArray<4, UInt64> = [0, 0, 0, 0]
  // Numbers are given out from below: a window without any open one is the last.
  while first < limit, findOpen(first, &open, limit) {
    for word in 0..<4 {
      while open[word] != 0 {
        fs_descriptor_arrived(first + Int32(word * 64 + open[word].trailingZeroBitCount))
        open[word] &= open[word] &- 1
      }
    }
    first += FS_DESCRIPTOR_WINDOW
  }
}

/// Marks which of the numbers in a window are open; false if none is.
private func findOpen(_ first: Int32, _ open: inout InlineArray<4, UInt64>, _ limit: Int32)
  -> Bool
{
  withUnsafeMutablePointer(to: &open) {
    fs_find_open(
      first, min(FS_DESCRIPTOR_WINDOW, limit - first),
      UnsafeMutableRawPointer($0).assumingMemoryBound(to: UInt64.self)) > 0
  }
}

/// A descriptor has come from another process. If it is a TCP socket that listens, engines may bring
/// its connections from now on; anything else is the kernel's.
@c @implementation
public func fs_descriptor_arrived(_ fd: Int32) {
  guard isInitialized, fd >= 0, fd < FS_DESCRIPTOR_LIMIT, DescriptorEntry.of(fd).raw == 0,
    KernelAnswer.integer(fd, SOL_SOCKET, SO_ACCEPTCONN) == 1
  else { return }
  let domain = KernelAnswer.integer(fd, SOL_SOCKET, SO_DOMAIN)
  guard domain == AF_INET || domain == AF_INET6,
    KernelAnswer.integer(fd, SOL_SOCKET, SO_PROTOCOL) == Int32(IPPROTO_TCP),
    !isKernelListener(fd), let cookie = ArrivingListener.cookie(fd)
  else { return }
  let closeOnExec = fs_sys_fcntl(fd, F_GETFD, 0) & FD_CLOEXEC != 0
  if ArrivingListener.joinKnown(fd, cookie, closeOnExec) { return }
  guard let index = SocketTable.take() else { return }
  let socket = SocketTable.at(index)
  SocketTable.reset(socket)
  socket.pointee.isIPv6 = domain == AF_INET6
  socket.pointee.flags = .usedInKernel
  if fs_sys_fcntl(fd, F_GETFL, 0) & O_NONBLOCK != 0 { socket.pointee.flags.insert(.nonblocking) }
  ArrivingListener.readOptions(fd, socket)
  let record = ListenerTable.take(
    Listener(socket: index, descriptor: fd, backlog: ArrivingListener.backlog(fd)))
  guard record >= 0 else {
    socket.pointee.state = .free
    SocketTable.giveBack(index)
    return
  }
  socket.pointee.listener = record
  socket.pointee.state = .listening
  descriptorAssign(fd, kind: .listener, index: index, closeOnExec: closeOnExec)
}

/// A descriptor has come beside a message. Who is sent a listener means to use it, and whoever sent it may
/// be about to go: the daemon has to know at once that the socket lives on.
@c @implementation
public func fs_rights_received(_ fd: Int32) {
  fs_descriptor_arrived(fd)
  guard isInitialized, descriptorKind(fd) == .listener else { return }
  let lock = processWord(.control)
  guard Lock.acquire(lock) else { return }
  var refused = false
  _ = ListenerTable.register(socketAt(socketIndex(fd)).pointee.listener, refused: &refused)
  Lock.release(lock)
}

/// Whether the kernel alone can serve a listener: it is bound to loopback, or has something that a
/// listener of engines cannot have (`OptionSetting.isKernelListeners`). A key of TCP_MD5SIG cannot be
/// seen from outside.
private func isKernelListener(_ fd: Int32) -> Bool {
  var storage = sockaddr_storage()
  var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
  guard fs_sys_getsockname(fd, &storage, &length) == 0 else { return true }
  let isLoopback = withUnsafePointer(to: &storage) {
    $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
      guard let endpoint = SocketEndpoint.read($0, length) else { return true }
      return endpoint.isKernelOnly && !endpoint.isWildcard
    }
  }
  if isLoopback { return true }
  var filterLength: socklen_t = 0
  var none: UInt8 = 0
  // The number of instructions of a filter; EACCES for one that is no classic one.
  let filter = fs_sys_getsockopt(fd, SOL_SOCKET, SO_GET_FILTER, &none, &filterLength)
  return filter != 0 || filterLength != 0
    || (KernelAnswer.integer(fd, SOL_SOCKET, SO_BINDTOIFINDEX) ?? 0) != 0
    || (KernelAnswer.integer(fd, SOL_IP, IP_MINTTL) ?? 0) != 0
    || (KernelAnswer.integer(fd, SOL_IPV6, 73) ?? 0) != 0  // IPV6_MINHOPCOUNT
}

/// What can be learned of a listener from its descriptor.
private enum ArrivingListener {
  static func cookie(_ fd: Int32) -> UInt64? {
    var cookie: UInt64 = 0
    var length = socklen_t(MemoryLayout<UInt64>.size)
    return fs_sys_getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &length) == 0 ? cookie : nil
  }

  /// The backlog: TCP_INFO of a listening socket tells it as tcpi_sacked.
  static func backlog(_ fd: Int32) -> Int32 {
    var info = tcp_info()
    var length = socklen_t(MemoryLayout<tcp_info>.size)
    guard fs_sys_getsockopt(fd, SOL_TCP, TCP_INFO, &info, &length) == 0 else { return SOMAXCONN }
    return Int32(clamping: info.tcpi_sacked)
  }

  /// If the process has the same socket already, makes the descriptor another one of it.
  static func joinKnown(_ fd: Int32, _ wanted: UInt64, _ closeOnExec: Bool) -> Bool {
    for record in 0..<ListenerTable.count where ListenerTable.at(record).pointee.isUsed {
      let known = ListenerTable.at(record).pointee.descriptor
      guard DescriptorEntry.of(known).kind == .listener, cookie(known) == wanted else { continue }
      return withSocket(known) { socket, entry in
        guard entry.kind == .listener, socket.pointee.listener == record else { return 0 }
        socket.pointee.references += 1
        descriptorAssign(fd, kind: .listener, index: entry.index, closeOnExec: closeOnExec)
        return 1
      } == 1
    }
    return false
  }

  /// Remembers the options that the listener has, and a new socket has not: accepted connections
  /// inherit them.
  static func readOptions(_ fd: Int32, _ socket: SocketPointer) {
    KernelAnswer.withNewSocket(socket.pointee.isIPv6) { fresh in
      for number in 0..<Int(FS_OPTION_COUNT) {
        let option = KeptOption(number)
        // This one the kernel sets by itself.
        if option == FS_OPTION_INCOMING_CPU { continue }
        guard let value = KernelAnswer.integer(fd, option.level, option.name),
          value != KernelAnswer.integer(fresh, option.level, option.name)
        else { continue }
        read(option.level, option.name, 8, from: fd, socket)
      }
    }
    read(SOL_SOCKET, SO_LINGER, socklen_t(MemoryLayout<linger>.size), from: fd, socket)
    read(SOL_SOCKET, SO_RCVTIMEO, socklen_t(MemoryLayout<timeval>.size), from: fd, socket)
    read(SOL_SOCKET, SO_SNDTIMEO, socklen_t(MemoryLayout<timeval>.size), from: fd, socket)
    if socket.pointee.isIPv6, let isOn = KernelAnswer.integer(fd, SOL_IPV6, IPV6_V6ONLY) {
      socket.keep(KeptOption(FS_OPTION_V6ONLY), isOn)
    }
  }

  private static func read(
    _ level: Int32, _ name: Int32, _ size: socklen_t, from fd: Int32, _ socket: SocketPointer
  ) {
    var value: InlineArray<2, UInt64> = [0, 0]
    var length = size
    guard fs_sys_getsockopt(fd, level, name, &value, &length) == 0 else { return }
    withUnsafePointer(to: &value) {
      let setting = OptionSetting(level: level, name: name, value: $0, length: length)
      _ = setting.note(from: fd, socket)
    }
  }
}
