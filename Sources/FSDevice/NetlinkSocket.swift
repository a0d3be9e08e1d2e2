import CXDP
import Glibc

/// A netlink socket: requests with their answers, or notifications.
final class NetlinkSocket {
  /// The socket.
  let descriptor: Int32
  private let subject: String
  private var sequence: UInt32 = 0
  private var buffer = [UInt8](repeating: 0, count: 65536)

  /// What a non-blocking receive has found.
  enum Reception {
    case messages([NetlinkMessage])
    case nothing
    /// The kernel had to drop notifications.
    case overrun
  }

  /// Opens a socket of NETLINK_ROUTE or another protocol.
  init(protocol number: Int32, subject: String) throws(DeviceError) {
    self.subject = subject
    descriptor = socket(
      AF_NETLINK, Int32(SOCK_RAW.rawValue | SOCK_CLOEXEC.rawValue), number)
    guard descriptor >= 0 else { throw .last("open a netlink socket for", subject) }
    // Without an address of its own, which the kernel chooses, a socket is told of nothing.
    var address = sockaddr_nl()
    address.nl_family = sa_family_t(AF_NETLINK)
    let status = unsafe withUnsafePointer(to: &address) { pointer in
      unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        unsafe bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_nl>.size))
      }
    }
    guard status == 0 else { throw .last("bind a netlink socket for", subject) }
  }

  deinit { close(descriptor) }

  /// Subscribes to groups of notifications. They need room: a burst of them is no reason to read
  /// everything anew.
  func join(_ groups: [UInt32]) throws(DeviceError) {
    let size = socklen_t(MemoryLayout<Int32>.size)
    var room: Int32 = 4 << 20
    _ = unsafe setsockopt(descriptor, SOL_SOCKET, SO_RCVBUFFORCE, &room, size)
    for group in groups {
      var number = group
      guard
        unsafe setsockopt(descriptor, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &number, size) == 0
      else { throw .last("subscribe to notifications of", subject) }
    }
  }

  /// Asks, and returns the answer, all messages of it in the case of a dump. The kernel answers
  /// within the send call, so this does not wait.
  func request(_ request: NetlinkRequest) throws(DeviceError) -> [NetlinkMessage] {
    for _ in 0..<8 {
      sequence &+= 1
      try send(request.finished(sequence: sequence))
      if let answer = try receiveAnswer() { return answer }
    }
    throw .system(operation: "read a changing table of", subject: subject, errno: EAGAIN)
  }

  /// Takes what has arrived, without waiting.
  func receiveWaiting() -> Reception {
    let count = receive(flags: Int32(MSG_DONTWAIT))
    if count >= 0 { return .messages(NetlinkMessage.split(buffer[..<count])) }
    return errno == ENOBUFS ? .overrun : .nothing
  }

  private func send(_ message: [UInt8]) throws(DeviceError) {
    let sent = unsafe message.withUnsafeBytes { bytes in
      unsafe Glibc.send(descriptor, bytes.baseAddress, bytes.count, 0)
    }
    guard sent == message.count else { throw .last("ask about", subject) }
  }

  /// The answer to the last request; nil if the table changed under the dump, which makes it void.
  private func receiveAnswer() throws(DeviceError) -> [NetlinkMessage]? {
    var answer: [NetlinkMessage] = []
    var isConsistent = true
    while true {
      let count = receive(flags: 0)
      guard count >= 0 else { throw .last("read about", subject) }
      for message in NetlinkMessage.split(buffer[..<count]) where message.sequence == sequence {
        if message.flags & NLM_F_DUMP_INTR != 0 { isConsistent = false }
        switch message.type {
        case NLMSG_DONE:
          return isConsistent ? answer : nil
        case NLMSG_ERROR:
          let code = -message.body.load(0, as: Int32.self)
          guard code == 0 else {
            throw .system(operation: "ask about", subject: subject, errno: code)
          }
          return answer
        default:
          answer.append(message)
          if message.flags & NLM_F_MULTI == 0 { return answer }
        }
      }
    }
  }

  private func receive(flags: Int32) -> Int {
    unsafe buffer.withUnsafeMutableBytes { bytes in
      var count: Int
      repeat {
        count = unsafe recv(descriptor, bytes.baseAddress, bytes.count, flags)
      } while count < 0 && errno == EINTR
      return count
    }
  }
}
