import CXDP
import Glibc

/// Carries out ethtool requests: on a real system `KernelEthtool`, in tests the model of a card.
public protocol EthtoolTransport: Sendable {
  /// Carries out a request, whose answer is written over it. Returns 0 or an errno value.
  func exchange(_ request: UnsafeMutableRawBufferPointer, with interface: String) -> Int32
}

/// The kernel, by ioctl(2), in the network namespace of the calling thread.
public struct KernelEthtool: EthtoolTransport {
  /// Creates a transport.
  public init() {}

  /// Carries out a request.
  public func exchange(
    _ request: UnsafeMutableRawBufferPointer, with interface: String
  ) -> Int32 {
    let socket = Glibc.socket(AF_INET, Int32(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
    guard socket >= 0 else { return errno }
    defer { close(socket) }
    var argument = unsafe ifreq.named(interface)
    unsafe argument.ifr_ifru.ifru_data = request.baseAddress?.assumingMemoryBound(
      to: CChar.self)
    return unsafe ioctl(socket, UInt(SIOCETHTOOL), &argument) == 0 ? 0 : errno
  }
}

/// The ethtool requests that are needed, to one interface. The structures are those of
/// linux/ethtool.h, as bytes: most of them have a variable length.
struct Ethtool {
  let interface: String
  private let transport: any EthtoolTransport

  /// A feature that the device may change.
  struct Feature: Equatable {
    var name: String
    var isActive: Bool
    var isChangeable: Bool
  }

  init(_ interface: String, by transport: any EthtoolTransport = KernelEthtool()) {
    self.interface = interface
    self.transport = transport
  }

  /// Whether the interface is there.
  var isPresent: Bool {
    read(ETHTOOL_GDRVINFO, MemoryLayout<ethtool_drvinfo>.size) != nil || errno != ENODEV
  }

  /// Driver name and position on the bus; both empty for a device without either.
  func driver() -> (name: String, bus: String) {
    // struct ethtool_drvinfo: cmd, driver[32], version[32], fw_version[32], bus_info[32], …
    guard let answer = read(ETHTOOL_GDRVINFO, MemoryLayout<ethtool_drvinfo>.size) else {
      return ("", "")
    }
    return (text(answer[4..<36]), text(answer[100..<132]))
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

  private func featureNames() -> [String] { strings(ETH_SS_FEATURES) }

  /// A set of names that the driver or the kernel gives to its numbers.
  func strings(_ set: ethtool_stringset) -> [String] {
    // struct ethtool_sset_info: cmd, reserved, mask (64 bits), then the count.
    var size = [UInt8](repeating: 0, count: 24)
    self.set(&size, 0, UInt32(ETHTOOL_GSSET_INFO))
    self.set(&size, 8, UInt32(1) << set.rawValue)
    guard send(&size) else { return [] }
    let count = Int(get(size, 16))
    // struct ethtool_gstrings: cmd, set, count, then strings of 32 bytes.
    let length = Int(ETH_GSTRING_LEN)
    var request = [UInt8](repeating: 0, count: 12 + count * length)
    self.set(&request, 0, UInt32(ETHTOOL_GSTRINGS))
    self.set(&request, 4, set.rawValue)
    self.set(&request, 8, UInt32(count))
    guard send(&request) else { return [] }
    return (0..<count).map { number in
      text(request[(12 + number * length)..<(12 + (number + 1) * length)])
    }
  }

  /// Asks for a structure of `size` bytes of which only the command, its first field, matters to the
  /// request. Nil, with errno set, when it is refused.
  func read(_ command: Int32, _ size: Int) -> [UInt8]? {
    var request = [UInt8](repeating: 0, count: size)
    set(&request, 0, UInt32(command))
    return send(&request) ? request : nil
  }

  /// Sends a request; false, with errno set, when it is refused.
  func send(_ request: inout [UInt8]) -> Bool {
    let code = unsafe request.withUnsafeMutableBytes { bytes in
      unsafe transport.exchange(bytes, with: interface)
    }
    errno = code
    return code == 0
  }

  func set(_ bytes: inout [UInt8], _ offset: Int, _ value: UInt32) {
    bytes.replaceSubrange(offset..<offset + 4, with: value.nativeBytes)
  }

  func get(_ bytes: [UInt8], _ offset: Int) -> UInt32 {
    ByteView(bytes: bytes[...]).load(offset, as: UInt32.self)
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
