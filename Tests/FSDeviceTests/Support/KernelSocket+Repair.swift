@testable import FSStack
import Glibc

@testable import FSDevice

// What an engine would have known of a connection: taken from one of the kernel's.

extension KernelSocket {
  private static let tcp = Int32(IPPROTO_TCP)

  func number(_ name: Int32) -> UInt32 {
    var value: UInt32 = 0
    var length = socklen_t(4)
    getsockopt(descriptor, Self.tcp, name, &value, &length)
    return value
  }

  func set(_ level: Int32, _ name: Int32, _ value: Int32) -> Bool {
    var value = value
    return setsockopt(descriptor, level, name, &value, 4) == 0
  }

  /// struct tcp_info, as far as the tests need it: state, options, window scales.
  var information: [UInt8] {
    var bytes = [UInt8](repeating: 0, count: 8)
    var length = socklen_t(8)
    getsockopt(descriptor, Self.tcp, TCP_INFO, &bytes, &length)
    return bytes
  }

  /// Takes a connection from the kernel, silently. `unread` is what it has received and nobody has
  /// read. Nil when it cannot be.
  func dismantle(
    flow: FlowAddress, unread: [UInt8] = [], unacknowledged: [UInt8] = [], unsent: [UInt8] = [],
    isReadOver: Bool = false, isWriteShut: Bool = false
  ) -> ExportedConnection? {
    let information = self.information
    guard set(Self.tcp, TCP_REPAIR, 1), set(Self.tcp, TCP_REPAIR_QUEUE, 2) else { return nil }
    let sendNext = number(TCP_QUEUE_SEQ)
    guard set(Self.tcp, TCP_REPAIR_QUEUE, 1) else { return nil }
    let receiveNext = number(TCP_QUEUE_SEQ)
    var window = tcp_repair_window()
    var length = socklen_t(MemoryLayout<tcp_repair_window>.size)
    guard getsockopt(descriptor, Self.tcp, TCP_REPAIR_WINDOW, &window, &length) == 0 else {
      return nil
    }
    let timestamp = number(TCP_TIMESTAMP)
    // In repair mode nothing is sent.
    dup2(open("/dev/null", O_RDONLY), descriptor)
    return ExportedConnection(
      address: flow, sendUnacknowledged: sendNext, receiveNext: receiveNext,
      sendWindow: window.snd_wnd, largestSendWindow: window.max_window,
      windowUpdateSequence: window.snd_wl1,
      receiveWindow: window.rcv_wup &+ window.rcv_wnd &- receiveNext,
      sendScale: information[6] & 15, receiveScale: information[6] >> 4,
      maximumSegmentSize: 1460, permitsSelectiveAcknowledgements: information[5] & 2 != 0,
      timestamp: information[5] & 1 != 0 ? timestamp : nil, isReadOver: isReadOver,
      isWriteShut: isWriteShut, unread: unread, unacknowledged: unacknowledged, unsent: unsent,
      listener: nil, channel: ChannelID(raw: 0), ownedSince: Instant(nanoseconds: 0))
  }

  /// Both ends of a connected socket.
  var flow: FlowAddress? {
    var ends: [(IPAddress, UInt16)] = []
    for call in [getsockname, getpeername] {
      var address = sockaddr_in()
      var length = socklen_t(MemoryLayout<sockaddr_in>.size)
      let status = withUnsafeMutablePointer(to: &address) { pointer in
        pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { call(descriptor, $0, &length) }
      }
      guard status == 0 else { return nil }
      let bytes = withUnsafeBytes(of: address.sin_addr.s_addr) { Array($0) }
      ends.append(
        (IPAddress(v4: bytes[0], bytes[1], bytes[2], bytes[3]), UInt16(bigEndian: address.sin_port))
      )
    }
    return FlowAddress(
      local: ends[0].0, localPort: ends[0].1, remote: ends[1].0, remotePort: ends[1].1)
  }

  /// poll(2) without waiting.
  var readiness: Int32 {
    var entry = pollfd(descriptor: descriptor)
    return poll(&entry, 1, 0) < 0 ? -1 : Int32(entry.revents)
  }
}

extension pollfd {
  fileprivate init(descriptor: Int32) {
    // POLLRDHUP is a GNU name.
    self.init(fd: descriptor, events: Int16(POLLIN | POLLOUT) | 0x2000, revents: 0)
  }
}
