import CShim
import Synchronization

/// The state of the connection to the daemon.
struct Control {
  /// The socket, -1 for none.
  var descriptor: Int32 = -1
  /// The daemon has answered `hello`.
  var isIntroduced = false
  var lastRequest: UInt32 = 0
  /// After a failure: not to be tried again before this moment.
  var retryAt: UInt64 = 0
  /// Counts up with each connection: what was registered over another is void.
  var generation: UInt32 = 0
  /// Invitations that came while something else was awaited.
  var invitations: InlineArray<32, Invitation> = InlineArray(
    repeating: Invitation(engine: 0, listener: 0))
  var invitationCount = 0
}

/// The daemon asks for an acceptor of a listener on an engine.
struct Invitation {
  var engine: UInt32
  var listener: UInt32
}

/// Requests to the daemon. All of it under the control lock.
enum ControlConnection {
  /// How long an answer may take before the daemon counts as dead.
  private static var patience: Int { 5000 }
  /// How long a daemon that was not there is not asked for again.
  private static var pause: UInt64 { 1_000_000_000 }

  /// An answer, and the descriptors beside it.
  struct Reply {
    var message = ControlMessage(.hello, request: 0)
    var descriptors: InlineArray<4, Int32> = InlineArray(repeating: -1)
    var descriptorCount = 0

    /// Closes what came and is not wanted.
    func closeDescriptors() {
      for position in 0..<descriptorCount { _ = fs_sys_close(descriptors[position]) }
    }
  }

  /// A request with the next number.
  static func message(_ kind: ControlKind) -> ControlMessage {
    process.pointee.control.lastRequest &+= 1
    if process.pointee.control.lastRequest == 0 { process.pointee.control.lastRequest = 1 }
    return ControlMessage(kind, request: process.pointee.control.lastRequest)
  }

  /// Whether a daemon was missing a moment ago. Takes no lock.
  @inline(__always)
  static var isResting: Bool {
    let control = process.pointee.control.descriptor
    return control < 0 && process.pointee.control.retryAt != 0
      && monotonicNow() < process.pointee.control.retryAt
  }

  /// Connects and introduces the process, unless that is done; false if there is no daemon.
  static func ensure() -> Bool {
    guard connect() else { return false }
    if process.pointee.control.isIntroduced { return true }
    var reply = Reply()
    guard request(message(.hello), descriptor: -1, &reply) else { return false }
    guard reply.message.status == 0 else {
      fs_report(Int32(FS_REPORT_DAEMON_REFUSES), Int(reply.message.status))
      lost()
      return false
    }
    process.pointee.control.isIntroduced = true
    return true
  }

  /// Connects, and leaves the introduction for later.
  static func connect() -> Bool {
    if process.pointee.control.descriptor >= 0 { return true }
    if isResting { return false }
    let connected = moveToInternal(fs_control_connect())
    guard connected >= 0 else {
      process.pointee.control.retryAt = monotonicNow() + pause
      return false
    }
    process.pointee.control.descriptor = connected
    process.pointee.control.isIntroduced = false
    process.pointee.control.generation &+= 1
    return true
  }

  /// Sends a request; false if the daemon is gone, which has then been dealt with.
  private static func send(_ message: ControlMessage, descriptor: Int32) -> Bool {
    var message = message
    let control = process.pointee.control.descriptor
    guard control >= 0 else { return false }
    while true {
      let sent = withUnsafeMutablePointer(to: &message) {
        fs_sys_send_descriptor(control, $0, UInt(ControlMessage.size), descriptor, 0)
      }
      if sent == ControlMessage.size { return true }
      if sent == -Int(EINTR) { continue }
      if sent == -Int(EAGAIN), fs_sys_poll_for(control, Int16(POLLOUT), patience) > 0 { continue }
      lost()
      return false
    }
  }

  /// Sends a request whose answer does not matter.
  static func post(_ message: ControlMessage) {
    guard send(message, descriptor: -1) else { return }
    // Answers that nobody took would at last keep the daemon from sending any.
    collect()
  }

  /// Sends a request and waits for its answer; false if the daemon is gone, which has then been
  /// dealt with.
  static func request(_ message: ControlMessage, descriptor: Int32, _ reply: inout Reply) -> Bool {
    guard send(message, descriptor: descriptor) else { return false }
    let deadline = monotonicNow() + UInt64(patience) * 1_000_000
    while true {
      guard receive(&reply, deadline: deadline) else {
        lost()
        return false
      }
      if reply.message.request == message.request { return true }
      reply.closeDescriptors()
      remember(reply.message)
    }
  }

  /// Takes the next message from the daemon; false if it is gone.
  private static func receive(_ reply: inout Reply, deadline: UInt64) -> Bool {
    let control = process.pointee.control.descriptor
    while true {
      let result = receiveNow(control, &reply)
      if result == ControlMessage.size {
        return reply.message.magic == ControlMessage.magic
          && reply.message.version == ControlMessage.currentVersion
      }
      if result == -Int(EINTR) { continue }
      guard result == -Int(EAGAIN) else { return false }
      let now = monotonicNow()
      guard now < deadline else { return false }
      let rest = Int((deadline - now) / 1_000_000) + 1
      let polled = fs_sys_poll_for(control, Int16(POLLIN), rest)
      if polled == 0 { return false }
    }
  }

  private static func receiveNow(_ control: Int32, _ reply: inout Reply) -> Int {
    var descriptors: (Int32, Int32, Int32, Int32) = (-1, -1, -1, -1)
    var count: Int32 = 0
    let result = withUnsafeMutablePointer(to: &reply.message) { bytes in
      withUnsafeMutablePointer(to: &descriptors) {
        $0.withMemoryRebound(to: Int32.self, capacity: 4) {
          fs_sys_receive_descriptors(
            control, bytes, UInt(ControlMessage.size), $0, &count, Int32(MSG_DONTWAIT))
        }
      }
    }
    reply.descriptors[0] = descriptors.0
    reply.descriptors[1] = descriptors.1
    reply.descriptors[2] = descriptors.2
    reply.descriptors[3] = descriptors.3
    reply.descriptorCount = Int(count)
    return result
  }

  /// Keeps what the daemon says unasked.
  private static func remember(_ message: ControlMessage) {
    guard message.kind == ControlKind.invite.rawValue,
      process.pointee.control.invitationCount < 32
    else { return }
    process.pointee.control.invitations[process.pointee.control.invitationCount] = Invitation(
      engine: message.engine, listener: message.listener)
    process.pointee.control.invitationCount += 1
  }

  /// Reads what the daemon has said unasked, without waiting.
  static func collect() {
    while process.pointee.control.descriptor >= 0 {
      var reply = Reply()
      let result = receiveNow(process.pointee.control.descriptor, &reply)
      if result == -Int(EINTR) { continue }
      if result == -Int(EAGAIN) { return }
      guard result == ControlMessage.size else {
        lost()
        return
      }
      reply.closeDescriptors()
      remember(reply.message)
    }
  }

  /// The daemon is gone: its connections are dead, its listeners the kernel's alone.
  static func lost() {
    let control = process.pointee.control.descriptor
    guard control >= 0 else { return }
    fs_report(Int32(FS_REPORT_DAEMON_GONE), Int(control))
    process.pointee.control.descriptor = -1
    process.pointee.control.isIntroduced = false
    process.pointee.control.invitationCount = 0
    process.pointee.control.retryAt = monotonicNow() + pause
    closeInternal(control)
    ListenerTable.forgetRegistrations()
    for index in 0..<ChannelTable.count {
      let channel = ChannelTable.at(index)
      guard channel.isOpen, Lock.acquire(channel.lockWord) else { continue }
      channel.breakChannel()
      Lock.release(channel.lockWord)
    }
  }
}

/// The control socket, to be watched by whoever sleeps; -1 when there is none.
func controlDescriptor() -> Int32 {
  isInitialized ? process.pointee.control.descriptor : -1
}

/// Deals with what the daemon has said unasked, and with its end.
func processControlMessages() {
  let lock = processWord(.control)
  guard Lock.acquire(lock) else { return }
  ControlConnection.collect()
  Lock.release(lock)
  acceptInvitations()
}

/// Opens channels on engines that have connections and no acceptor.
func acceptInvitations() {
  guard process.pointee.control.invitationCount > 0 else { return }
  let lock = processWord(.control)
  while true {
    guard Lock.acquire(lock) else { return }
    var joined: (listener: Int32, channel: Int32) = (-1, -1)
    let count = process.pointee.control.invitationCount
    if count > 0 {
      let invitation = process.pointee.control.invitations[count - 1]
      process.pointee.control.invitationCount = count - 1
      joined = ListenerTable.accept(invitation)
    }
    Lock.release(lock)
    if joined.channel >= 0 {
      listenerJoined(Int32(ListenerTable.at(joined.listener).pointee.socket), joined.channel)
    }
    if count == 0 { return }
  }
}
