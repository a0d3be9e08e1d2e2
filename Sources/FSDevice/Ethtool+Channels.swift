import CXDP

extension Ethtool {
  /// How many queues of each kind there are, and at most.
  struct Channels: Equatable {
    var receive = 0
    var combined = 0
    var maximumCombined = 0
    var transmit = 0
    var other = 0
  }

  /// The queues; nil if the driver does not say.
  func channels() -> Channels? {
    // struct ethtool_channels: cmd, max rx, tx, other, combined, then the same of now.
    guard let answer = read(ETHTOOL_GCHANNELS, MemoryLayout<ethtool_channels>.size) else {
      return nil
    }
    return Channels(
      receive: Int(get(answer, 20)), combined: Int(get(answer, 32)),
      maximumCombined: Int(get(answer, 16)), transmit: Int(get(answer, 24)),
      other: Int(get(answer, 28)))
  }

  /// Sets the number of combined queues; the others stay.
  func setCombinedChannels(_ count: Int) throws(DeviceError) {
    // The driver compares what shall stay with what is.
    guard var request = read(ETHTOOL_GCHANNELS, MemoryLayout<ethtool_channels>.size)
    else { throw .last("read the queues of", interface) }
    set(&request, 0, UInt32(ETHTOOL_SCHANNELS))
    set(&request, 32, UInt32(count))
    guard send(&request) else { throw .last("set \(count) queues on", interface) }
  }

  /// Descriptors of each ring.
  struct RingSizes: Equatable {
    var receive: Int
    var transmit: Int
    var maximumReceive: Int
    var maximumTransmit: Int
  }

  /// The sizes of the rings; nil if the driver does not say.
  func ringSizes() -> RingSizes? {
    // struct ethtool_ringparam: cmd, max rx, mini, jumbo, tx, then the same of now.
    guard let answer = read(ETHTOOL_GRINGPARAM, MemoryLayout<ethtool_ringparam>.size) else {
      return nil
    }
    return RingSizes(
      receive: Int(get(answer, 20)), transmit: Int(get(answer, 32)),
      maximumReceive: Int(get(answer, 4)), maximumTransmit: Int(get(answer, 16)))
  }

  /// Sets the sizes of the receive and the transmit rings.
  func setRingSizes(receive: Int, transmit: Int) throws(DeviceError) {
    guard var request = read(ETHTOOL_GRINGPARAM, MemoryLayout<ethtool_ringparam>.size)
    else { throw .last("read the ring sizes of", interface) }
    set(&request, 0, UInt32(ETHTOOL_SRINGPARAM))
    set(&request, 20, UInt32(receive))
    set(&request, 32, UInt32(transmit))
    guard send(&request) else {
      throw .last("set rings of \(receive) and \(transmit) descriptors on", interface)
    }
  }

  /// What the driver counts, under its own names.
  func statistics() -> [(name: String, value: UInt64)] {
    let names = strings(ETH_SS_STATS)
    guard !names.isEmpty else { return [] }
    // struct ethtool_stats: cmd, count, then 64-bit numbers.
    var request = [UInt8](repeating: 0, count: 8 + names.count * 8)
    set(&request, 0, UInt32(ETHTOOL_GSTATS))
    set(&request, 4, UInt32(names.count))
    guard send(&request) else { return [] }
    let view = ByteView(bytes: request[...])
    return names.enumerated().map { ($1, view.load(8 + $0 * 8, as: UInt64.self)) }
  }
}
