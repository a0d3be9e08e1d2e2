import FSStack
import Glibc

/// Whether a host answers an ICMP echo within two seconds.
func ping(_ address: IPAddress) -> Bool {
  let family = address.isIPv4 ? AF_INET : AF_INET6
  let descriptor = socket(
    family, Int32(SOCK_RAW.rawValue), Int32(address.isIPv4 ? IPPROTO_ICMP : IPPROTO_ICMPV6))
  guard descriptor >= 0 else { return false }
  defer { close(descriptor) }
  var limit = timeval(tv_sec: 2, tv_usec: 0)
  setsockopt(
    descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))

  // Type, code, checksum (the kernel fills in that of ICMPv6), identifier 0x7777, sequence number 1.
  let request: [UInt8] =
    address.isIPv4
    ? [8, 0, 0x80, 0x87, 0x77, 0x77, 0, 1] : [128, 0, 0, 0, 0x77, 0x77, 0, 1]
  guard withSocketAddress(address, { sendto(descriptor, request, 8, 0, $0, $1) }) == 8 else {
    return false
  }
  // A raw IPv4 socket delivers the IP header too. ICMPv6 messages of others arrive as well.
  let answer = address.isIPv4 ? 20 : 0
  let type: UInt8 = address.isIPv4 ? 0 : 129
  var buffer = [UInt8](repeating: 0, count: 256)
  while true {
    let count = recv(descriptor, &buffer, buffer.count, 0)
    guard count > 0 else { return false }
    if count >= answer + 8, buffer[answer] == type, buffer[answer + 4] == 0x77 { return true }
  }
}

/// Lends the address as the C library wants it, with port 0.
private func withSocketAddress<Result>(
  _ address: IPAddress, _ body: (UnsafePointer<sockaddr>?, socklen_t) -> Result
) -> Result {
  var bytes = [UInt8](repeating: 0, count: address.isIPv4 ? 16 : 28)
  let family = sa_family_t(address.isIPv4 ? AF_INET : AF_INET6)
  bytes.withUnsafeMutableBytes { $0.storeBytes(of: family, as: sa_family_t.self) }
  let start = address.isIPv4 ? 4 : 8
  bytes.replaceSubrange(start..<start + Frame.bytes(address).count, with: Frame.bytes(address))
  return bytes.withUnsafeBytes { raw in
    raw.withMemoryRebound(to: sockaddr.self) { body($0.baseAddress, socklen_t(raw.count)) }
  }
}
