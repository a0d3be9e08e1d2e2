import CXDP
import FSStack

extension Ethtool {
  /// How the card spreads packets over its queues.
  struct Hash: Equatable {
    var key: [UInt8]
    /// The indirection table: a queue for each entry.
    var queues: [UInt32]
    /// Whether it is the Toeplitz hash, of nothing but the packet's own fields.
    var isToeplitz: Bool
  }

  /// Key, table and function; nil if the driver does not say.
  func hash() -> Hash? {
    // struct ethtool_rxfh: cmd, context, entries, bytes of key, function (8 bits), transformation of the
    // input (8 bits), 16 and 32 bits reserved, then the table, then the key.
    let header = MemoryLayout<ethtool_rxfh>.size
    var sizes = [UInt8](repeating: 0, count: header)
    set(&sizes, 0, UInt32(ETHTOOL_GRSSH))
    guard send(&sizes) else { return nil }
    let (entries, keyLength) = (Int(get(sizes, 8)), Int(get(sizes, 12)))
    guard (1...65536).contains(entries), (1...1024).contains(keyLength) else { return nil }
    var request = [UInt8](repeating: 0, count: header + entries * 4 + keyLength)
    set(&request, 0, UInt32(ETHTOOL_GRSSH))
    set(&request, 8, UInt32(entries))
    set(&request, 12, UInt32(keyLength))
    guard send(&request) else { return nil }
    let queues = (0..<entries).map { get(request, header + $0 * 4) }
    // ETH_RSS_HASH_TOP; a symmetric transformation hashes something else than the packet's fields.
    return Hash(
      key: Array(request[(header + entries * 4)...]), queues: queues,
      isToeplitz: request[16] & 1 != 0 && request[17] == 0)
  }

  /// Whether the hash is of both addresses and both ports of TCP packets.
  func hashesPorts(isIPv6: Bool) -> Bool {
    var request = FlowRequest(UInt32(ETHTOOL_GRXFH))
    request.flowType = UInt32(isIPv6 ? TCP_V6_FLOW : TCP_V4_FLOW)
    guard send(&request.bytes) else { return false }
    return request.data == UInt64(RXH_IP_SRC | RXH_IP_DST | RXH_L4_B_0_1 | RXH_L4_B_2_3)
  }

  /// The hash as engines need it, queue n being served by engine n mod `engineCount`; nil if it cannot be
  /// computed here.
  func receiveSideScaling(engineCount: Int) -> ReceiveSideScaling? {
    guard engineCount <= 256, let hash = hash(), hash.isToeplitz, hashesPorts(isIPv6: false) else {
      return nil
    }
    let scaling = ReceiveSideScaling(
      key: hash.key, engines: hash.queues.map { UInt8(Int($0) % engineCount) })
    return scaling.isValid(engineCount: engineCount) ? scaling : nil
  }
}
