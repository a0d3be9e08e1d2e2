@testable import FSStack

/// The hash of receive-side scaling as its definition says it, bit by bit, to compare with.
func referenceToeplitz(_ message: some Collection<UInt8>, key: [UInt8]) -> UInt32 {
  func keyBit(_ position: Int) -> UInt32 {
    position < key.count * 8 ? UInt32(key[position / 8] >> UInt8(7 - position % 8) & 1) : 0
  }
  var hash: UInt32 = 0
  var window = (0..<32).reduce(UInt32(0)) { $0 << 1 | keyBit($1) }
  for (index, byte) in message.enumerated() {
    for bit in 0..<8 {
      if byte >> UInt8(7 - bit) & 1 == 1 { hash ^= window }
      window = window << 1 | keyBit(index * 8 + bit + 32)
    }
  }
  return hash
}

/// What a card hashes of a TCP segment of its receiver's flow: the addresses, then the ports.
func rssMessage(_ flow: Flow) -> [UInt8] {
  var message: [UInt8] = flow.remote.withBytes { Array($0) }
  message += flow.local.withBytes { Array($0) }
  for port in [flow.remotePort, flow.localPort] {
    message.append(UInt8(port >> 8))
    message.append(UInt8(port & 255))
  }
  return message
}
