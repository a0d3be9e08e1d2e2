import CLinux
import FSRing
import Glibc

/// One packet of the control socket: a message, the descriptors beside it and the text behind it.
struct ControlPacket {
  var message: ControlMessage
  var descriptors: [Descriptor] = []
  /// UTF-8; only replies to the command line have any.
  var text: [UInt8] = []
  /// Who has sent it, as the kernel says on sockets with SO_PASSCRED.
  var sender: ControlConnection.Peer?

  /// Descriptors that a packet can bring: as many as the kernel lets anybody send (SCM_MAX_FD). What has no
  /// place here it would close itself, and let the control thread wait for that.
  static let descriptorLimit = 253

  /// What can be wrong with a received packet.
  enum Malformation: Error, Equatable, CustomStringConvertible {
    case length(Int)
    case descriptorsTruncated
    case magic(UInt32)
    case version(UInt16)
    case kind(UInt16)
    case descriptorCount(ControlKind, Int)

    var description: String {
      switch self {
      case .length(let count): "a packet of \(count) bytes instead of \(ControlMessage.size)"
      case .descriptorsTruncated: "more descriptors than a packet may bring"
      case .magic(let value): "magic number 0x\(String(value, radix: 16))"
      case .version(let value):
        "protocol version \(value), this is \(ControlMessage.currentVersion)"
      case .kind(let value): "unknown request kind \(value)"
      case .descriptorCount(let kind, let count): "\(count) descriptors with a \(kind) request"
      }
    }
  }

  /// What arrived.
  enum Arrival {
    case packet(ControlPacket)
    case malformed(Malformation)
    /// The peer is gone.
    case end
    /// Nothing is there now.
    case empty
  }
}

/// SCM_RIGHTS by hand: the macros of <sys/socket.h> are not visible in Swift.
private enum RightsHeader {
  static let size = MemoryLayout<cmsghdr>.size
  static let spaceForLimit = size + ControlPacket.descriptorLimit * 4
  /// SCM_CREDENTIALS: a GNU name.
  static let credentials: Int32 = 2
  static let spaceForCredentials = size + 16
}

extension ControlPacket {
  /// Receives one packet without waiting.
  ///
  /// Every descriptor that came is owned by the result or closed, without waiting for that.
  static func receive(from socket: Int32, textLimit: Int = 0) -> Arrival {
    var body = [UInt8](repeating: 0, count: ControlMessage.size + textLimit)
    var control = [UInt8](
      repeating: 0, count: RightsHeader.spaceForCredentials + RightsHeader.spaceForLimit)
    var flags: Int32 = 0
    var controlLength = 0
    var failure: Int32 = 0
    let count = unsafe body.withUnsafeMutableBytes { body in
      unsafe control.withUnsafeMutableBytes { control in
        var vector = unsafe iovec(iov_base: body.baseAddress, iov_len: body.count)
        return unsafe withUnsafeMutablePointer(to: &vector) { vector in
          var header = unsafe msghdr()
          unsafe header.msg_iov = vector
          unsafe header.msg_iovlen = 1
          unsafe header.msg_control = control.baseAddress
          unsafe header.msg_controllen = control.count
          let count = unsafe recvmsg(
            socket, &header,
            Int32(MSG_DONTWAIT | MSG_CMSG_CLOEXEC | MSG_TRUNC))
          failure = errno
          flags = unsafe header.msg_flags
          controlLength = unsafe header.msg_controllen
          return count
        }
      }
    }
    if count < 0 {
      // The peer is gone and has not read everything: told once, before what it has still said.
      if failure == ECONNRESET { return receive(from: socket, textLimit: textLimit) }
      return failure == EAGAIN || failure == EINTR ? .empty : .end
    }
    let (descriptors, sender) = ancillary(control[..<min(controlLength, control.count)])
    if count == 0 && descriptors.isEmpty { return .end }
    guard flags & Int32(MSG_CTRUNC) == 0 else { return .malformed(.descriptorsTruncated) }
    guard count >= ControlMessage.size, count <= body.count else {
      return .malformed(.length(count))
    }
    let message = unsafe body.withUnsafeBytes { unsafe $0.loadUnaligned(as: ControlMessage.self) }
    guard message.magic == ControlMessage.magic else { return .malformed(.magic(message.magic)) }
    guard message.version == ControlMessage.currentVersion else {
      return .malformed(.version(message.version))
    }
    return .packet(
      ControlPacket(
        message: message, descriptors: descriptors,
        text: Array(body[ControlMessage.size..<count]), sender: sender))
  }

  /// Takes all that still comes, and closes what it brings. The kernel would do so when the socket is closed, and
  /// let the control thread wait for that.
  static func discardAll(from socket: Int32) {
    shutdown(socket, Int32(SHUT_RD))
    while true {
      switch receive(from: socket) {
      case .packet, .malformed: continue
      case .end, .empty: return
      }
    }
  }

  private static func ancillary(
    _ control: ArraySlice<UInt8>
  ) -> ([Descriptor], ControlConnection.Peer?) {
    var found: [Descriptor] = []
    var sender: ControlConnection.Peer?
    unsafe control.withUnsafeBytes { bytes in
      var offset = 0
      while offset + RightsHeader.size <= bytes.count {
        let header = unsafe bytes.loadUnaligned(fromByteOffset: offset, as: cmsghdr.self)
        let length = Int(header.cmsg_len)
        guard length >= RightsHeader.size, offset + length <= bytes.count else { return }
        if header.cmsg_level == SOL_SOCKET, header.cmsg_type == Int32(SCM_RIGHTS) {
          for position in stride(from: offset + RightsHeader.size, to: offset + length, by: 4) {
            let number = unsafe bytes.loadUnaligned(fromByteOffset: position, as: Int32.self)
            found.append(Descriptor(adopting: number, isForeign: true))
          }
        }
        if header.cmsg_level == SOL_SOCKET, header.cmsg_type == RightsHeader.credentials,
          length >= RightsHeader.size + MemoryLayout<ucred>.size
        {
          let credentials = unsafe bytes.loadUnaligned(
            fromByteOffset: offset + RightsHeader.size, as: ucred.self)
          sender = ControlConnection.Peer(process: credentials.pid, user: credentials.uid)
        }
        offset += (length + 7) & ~7
      }
    }
    return (found, sender)
  }

  /// Sends the packet without waiting. The descriptors stay open on this side.
  func send(to socket: Int32) throws(SystemError) {
    var body = [UInt8](repeating: 0, count: ControlMessage.size)
    unsafe body.withUnsafeMutableBytes {
      unsafe $0.storeBytes(of: message, as: ControlMessage.self)
    }
    // What lies between and behind the fields is whatever the stack held: not for other processes.
    for position in Self.endOfFields..<ControlMessage.size { body[position] = 0 }
    body += text
    var control: [UInt8] = []
    if !descriptors.isEmpty {
      var header = cmsghdr()
      header.cmsg_len = RightsHeader.size + descriptors.count * 4
      header.cmsg_level = SOL_SOCKET
      header.cmsg_type = Int32(SCM_RIGHTS)
      unsafe withUnsafeBytes(of: header) { unsafe control.append(contentsOf: $0) }
      for descriptor in descriptors {
        unsafe withUnsafeBytes(of: descriptor.number) { unsafe control.append(contentsOf: $0) }
      }
      control += [UInt8](repeating: 0, count: (8 - control.count % 8) % 8)
    }
    let sent = try retrying("sendmsg") {
      Self.transmit(&body, &control, to: socket)
    }
    guard sent == body.count else { throw SystemError("sendmsg", code: EMSGSIZE) }
  }

  private static var endOfFields: Int {
    (MemoryLayout<ControlMessage>.offset(of: \.localLow) ?? ControlMessage.size)
      + MemoryLayout<UInt64>.size
  }

  private static func transmit(
    _ body: inout [UInt8], _ control: inout [UInt8], to socket: Int32
  ) -> Int {
    unsafe body.withUnsafeMutableBytes { body in
      unsafe control.withUnsafeMutableBytes { control in
        var vector = unsafe iovec(iov_base: body.baseAddress, iov_len: body.count)
        return unsafe withUnsafeMutablePointer(to: &vector) { vector in
          var header = unsafe msghdr()
          unsafe header.msg_iov = vector
          unsafe header.msg_iovlen = 1
          unsafe header.msg_control = control.isEmpty ? nil : control.baseAddress
          unsafe header.msg_controllen = control.count
          return unsafe sendmsg(
            socket, &header, Int32(MSG_DONTWAIT | MSG_NOSIGNAL))
        }
      }
    }
  }
}
