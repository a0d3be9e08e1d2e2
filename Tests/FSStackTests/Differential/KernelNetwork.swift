import CLaboratory
import Glibc

@testable import FSStack

/// Linux's TCP in a network namespace of its own, reached through a TUN device. Belongs to the thread
/// that made it, and goes with it.
final class KernelNetwork {
  /// Linux's address. Peers have other addresses of the same /16.
  static let address = IPAddress(v4: 10, 200, 0, 1)
  private let device: Int32
  /// Read from the device, and not taken yet.
  private var frames: [[UInt8]] = []
  /// A netlink socket that tells states.
  private let diagnosis: Int32

  /// What the namespace's TCP is set to; everything else is Linux's default. Every
  /// socket has CUBIC, see `KernelRun`.
  static let settings: [(name: String, value: String)] = [
    ("ipv6/conf/all/disable_ipv6", "1"),
    ("ipv4/tcp_ecn", "2"),
    ("ipv4/tcp_timestamps", "1"),
    ("ipv4/tcp_sack", "1"),
    ("ipv4/tcp_window_scaling", "1"),
    ("ipv4/tcp_syncookies", "1"),
    // An application's writes are segments at once, whatever waits in the device's queue.
    ("ipv4/tcp_autocorking", "0"),
    // What one connection has measured does not decide for another.
    ("ipv4/tcp_no_metrics_save", "1"),
    // Room for what a script sends in one call.
    ("ipv4/tcp_wmem", "4096 1048576 4194304"),
    ("ipv4/ip_local_port_range", "36864 57343"),
  ]

  enum Failure: Error { case call(String, Int32) }

  /// The kernel's release, as uname(2) tells it.
  static let release: String = {
    var names = utsname()
    uname(&names)
    return withUnsafeBytes(of: names.release) {
      String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
    }
  }()

  /// Why there can be no such network; nil if there can.
  static var obstacle: String? {
    if geteuid() != 0 { return "needs root" }
    if access("/dev/net/tun", R_OK | W_OK) != 0 { return "needs /dev/net/tun" }
    return nil
  }

  init() throws {
    guard lab_unshare_network() == 0 else { throw Failure.call("unshare", errno) }
    for (name, value) in Self.settings { try Self.set(name, value) }
    device = lab_open_tun("fs-diff", Self.address.v4Native, 16, 1500)
    guard device >= 0 else { throw Failure.call("TUN device", errno) }
    try Self.sendSegmentBySegment("fs-diff")
    diagnosis = socket(AF_NETLINK, Int32(bitPattern: SOCK_RAW.rawValue), 4)
    guard diagnosis >= 0 else { throw Failure.call("sock_diag", errno) }
  }

  deinit {
    Glibc.close(device)
    Glibc.close(diagnosis)
  }

  /// Lets TCP give the device segments, not several in one to be cut there: it marks the last of each
  /// such piece with PSH, whatever the application has written.
  private static func sendSegmentBySegment(_ name: String) throws {
    let netlink = socket(AF_NETLINK, Int32(bitPattern: SOCK_RAW.rawValue), 0)
    defer { Glibc.close(netlink) }
    // struct nlmsghdr: length, type RTM_NEWLINK, flags NLM_F_REQUEST and NLM_F_ACK, number, port.
    // struct ifinfomsg: family, type, index, flags, changes. IFLA_GSO_MAX_SEGS: 1.
    var request: [UInt8] = [40, 0, 0, 0, 16, 0, 5, 0] + [UInt8](repeating: 0, count: 12)
    withUnsafeBytes(of: if_nametoindex(name)) { request += $0 }
    request += [0, 0, 0, 0, 0, 0, 0, 0] + [8, 0, 40, 0, 1, 0, 0, 0]
    var answer = [UInt8](repeating: 0, count: 1024)
    guard send(netlink, request, request.count, 0) == request.count,
      recv(netlink, &answer, answer.count, 0) >= 20, answer[16..<20].allSatisfy({ $0 == 0 })
    else { throw Failure.call("one segment at a time", errno) }
  }

  private static func set(_ name: String, _ value: String) throws {
    let file = open("/proc/sys/net/" + name, O_WRONLY | O_CLOEXEC)
    guard file >= 0 else { throw Failure.call(name, errno) }
    defer { Glibc.close(file) }
    guard write(file, value, value.utf8.count) == value.utf8.count else {
      throw Failure.call(name, errno)
    }
  }

  /// Gives an IP packet to the kernel, which answers before this returns unless a timer is to.
  func inject(_ packet: [UInt8]) {
    _ = packet.withUnsafeBytes { write(device, $0.baseAddress, $0.count) }
  }

  /// Takes what the kernel has sent, as Ethernet frames; only IPv4.
  func take() -> [[UInt8]] {
    readDevice()
    defer { frames.removeAll() }
    return frames
  }

  /// Takes what the kernel has sent to one peer.
  func take(for peer: IPAddress) -> [[UInt8]] {
    readDevice()
    let isForPeer = { (frame: [UInt8]) in Self.destination(of: frame) == peer }
    defer { frames.removeAll(where: isForPeer) }
    return frames.filter(isForPeer)
  }

  static func destination(of frame: [UInt8]) -> IPAddress {
    frame[30..<34].withUnsafeBytes { IPAddress(bytes: $0) }
  }

  private func readDevice() {
    while true {
      var frame = [UInt8](repeating: 0, count: 14 + 2048)
      frame[12] = 8
      let count = frame.withUnsafeMutableBytes {
        read(device, UnsafeMutableRawBufferPointer(rebasing: $0[14...]).baseAddress, 2048)
      }
      guard count > 0 else { return }
      if frame[14] >> 4 == 4, count >= 40 { frames.append(Array(frame[..<(14 + count)])) }
    }
  }

  /// Waits until the kernel has sent something, or for some milliseconds.
  func wait(milliseconds: Int) {
    var item = pollfd(fd: device, events: Int16(POLLIN), revents: 0)
    _ = poll(&item, 1, Int32(milliseconds))
  }

  /// The state of a connection by sock_diag(7). A listener is none.
  func state(local: (IPAddress, UInt16), remote: (IPAddress, UInt16)) -> TCPState {
    // struct nlmsghdr: length, type SOCK_DIAG_BY_FAMILY, flag NLM_F_REQUEST, number, port.
    // struct inet_diag_req_v2: family, protocol, extensions, padding, states, then the identity:
    // ports, addresses, interface, cookie (none).
    var request: [UInt8] = [72, 0, 0, 0, 20, 0, 1, 0] + [UInt8](repeating: 0, count: 8)
    request += [UInt8(AF_INET), UInt8(IPPROTO_TCP), 0, 0, 255, 255, 255, 255]
    for port in [local.1, remote.1] { request += [UInt8(port >> 8), UInt8(port & 255)] }
    for address in [local.0, remote.0] {
      withUnsafeBytes(of: address.v4Native) { request += $0 }
      request += [UInt8](repeating: 0, count: 12)
    }
    request += [0, 0, 0, 0] + [UInt8](repeating: 255, count: 8)
    guard send(diagnosis, request, request.count, 0) == request.count else { return .closed }
    var answer = [UInt8](repeating: 0, count: 1024)
    let count = recv(diagnosis, &answer, answer.count, 0)
    // struct inet_diag_msg: family, state; an error message if there is none.
    guard count > 18, answer[4] == 20 else { return .closed }
    return Self.states[answer[17]] ?? .closed
  }

  /// The numbers of include/net/tcp_states.h.
  private static let states: [UInt8: TCPState] = [
    1: .established, 2: .synSent, 3: .synReceived, 4: .finWait1, 5: .finWait2, 6: .timeWait,
    8: .closeWait, 9: .lastAck, 11: .closing, 12: .synReceived,
  ]
}
