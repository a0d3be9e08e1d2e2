import CXDP
import Glibc

/// The ethtool requests that are needed, by ioctl(2): one descriptor, one interface.
@safe
struct Ethtool: ~Copyable {
  private let socket: Int32
  private let interface: String

  /// A feature that the device may change.
  struct Feature: Equatable {
    var name: String
    var isActive: Bool
    var isChangeable: Bool
  }

  init(_ interface: String) throws(DeviceError) {
    self.interface = interface
    socket = Glibc.socket(AF_INET, Int32(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
    guard socket >= 0 else { throw .last("open a socket for", interface) }
  }

  deinit { close(socket) }

  /// Driver name and position on the bus; both empty for a device without either.
  func driver() -> (name: String, bus: String) {
    // struct ethtool_drvinfo: cmd, driver[32], version[32], fw_version[32], bus_info[32], …
    var request = [UInt8](repeating: 0, count: MemoryLayout<ethtool_drvinfo>.size)
    set(&request, 0, UInt32(ETHTOOL_GDRVINFO))
    guard send(&request) else { return ("", "") }
    return (text(request[4..<36]), text(request[100..<132]))
  }

  /// Receive queues; nil if the driver does not say.
  func receiveQueues() -> Int? {
    // struct ethtool_channels: cmd, max rx, tx, other, combined, then the same of now.
    var request = [UInt8](repeating: 0, count: MemoryLayout<ethtool_channels>.size)
    set(&request, 0, UInt32(ETHTOOL_GCHANNELS))
    guard send(&request) else { return nil }
    let queues = Int(get(request, 20)) + Int(get(request, 32))
    return queues > 0 ? queues : nil
  }

  /// All features, in the kernel's order.
  func features() -> [Feature] {
    let names = featureNames()
    let blocks = (names.count + 31) / 32
    guard blocks > 0 else { return [] }
    // struct ethtool_gfeatures: cmd, size, then blocks of available, requested, active, never.
    var request = [UInt8](repeating: 0, count: 8 + blocks * 16)
    set(&request, 0, UInt32(ETHTOOL_GFEATURES))
    set(&request, 4, UInt32(blocks))
    guard send(&request) else { return [] }
    return names.enumerated().map { number, name in
      let block = 8 + number / 32 * 16
      let bit = UInt32(1) << UInt32(number % 32)
      return Feature(
        name: name, isActive: get(request, block + 8) & bit != 0,
        isChangeable: get(request, block) & bit != 0 && get(request, block + 12) & bit == 0)
    }
  }

  /// Switches a feature.
  func setFeature(_ name: String, on: Bool) throws(DeviceError) {
    let names = featureNames()
    guard let number = names.firstIndex(of: name) else {
      throw .unsupported("\(interface) has no feature \(name)")
    }
    // struct ethtool_sfeatures: cmd, size, then blocks of valid, requested.
    let blocks = (names.count + 31) / 32
    var request = [UInt8](repeating: 0, count: 8 + blocks * 8)
    set(&request, 0, UInt32(ETHTOOL_SFEATURES))
    set(&request, 4, UInt32(blocks))
    let bit = UInt32(1) << UInt32(number % 32)
    set(&request, 8 + number / 32 * 8, bit)
    set(&request, 12 + number / 32 * 8, on ? bit : 0)
    guard send(&request) else { throw .last("switch \(name) \(on ? "on" : "off") on", interface) }
  }

  private func featureNames() -> [String] {
    // struct ethtool_sset_info: cmd, reserved, mask (64 bits), then the count.
    var size = [UInt8](repeating: 0, count: 24)
    set(&size, 0, UInt32(ETHTOOL_GSSET_INFO))
    set(&size, 8, UInt32(1) << ETH_SS_FEATURES.rawValue)
    guard send(&size) else { return [] }
    let count = Int(get(size, 16))
    // struct ethtool_gstrings: cmd, set, count, then strings of 32 bytes.
    let length = Int(ETH_GSTRING_LEN)
    var request = [UInt8](repeating: 0, count: 12 + count * length)
    set(&request, 0, UInt32(ETHTOOL_GSTRINGS))
    set(&request, 4, ETH_SS_FEATURES.rawValue)
    set(&request, 8, UInt32(count))
    guard send(&request) else { return [] }
    return (0..<count).map { number in
      text(request[(12 + number * length)..<(12 + (number + 1) * length)])
    }
  }

  private func send(_ request: inout [UInt8]) -> Bool {
    unsafe request.withUnsafeMutableBytes { bytes in
      var argument = unsafe ifreq.named(interface)
      unsafe argument.ifr_ifru.ifru_data = bytes.baseAddress?.assumingMemoryBound(
        to: CChar.self)
      return unsafe ioctl(socket, UInt(SIOCETHTOOL), &argument) == 0
    }
  }

  private func set(_ bytes: inout [UInt8], _ offset: Int, _ value: UInt32) {
    unsafe bytes.withUnsafeMutableBytes { buffer in
      unsafe buffer.storeBytes(of: value, toByteOffset: offset, as: UInt32.self)
    }
  }

  private func get(_ bytes: [UInt8], _ offset: Int) -> UInt32 {
    unsafe bytes.withUnsafeBytes {
      unsafe $0.loadUnaligned(fromByteOffset: offset, as: UInt32.self)
    }
  }

  private func text(_ bytes: ArraySlice<UInt8>) -> String {
    String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
  }
}

extension ifreq {
  /// A request about the interface of this name, which is cut to what an interface name may have.
  static func named(_ name: String) -> ifreq {
    var request = unsafe ifreq()
    unsafe withUnsafeMutableBytes(of: &request.ifr_ifrn.ifrn_name) { field in
      unsafe field.copyBytes(from: name.utf8.prefix(field.count - 1))
    }
    return unsafe request
  }
}
