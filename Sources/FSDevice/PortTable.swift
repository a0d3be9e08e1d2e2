import CXDP
import FSStack
import Glibc

/// What the XDP program has to know of each port, in memory that it shares: `ports` in
/// bpf/fastsocket.bpf.c, a byte for each IPv4 port and then for each IPv6 port.
@safe
struct PortTable {
  /// `enum port_flags`.
  struct Flags: OptionSet {
    let rawValue: UInt8
    static let kernelFlows = Flags(rawValue: 1)
    static let draining = Flags(rawValue: 2)
    static let listener = Flags(rawValue: 4)
    static let specific = Flags(rawValue: 8)
    static let active = Flags(rawValue: 16)
    static let activeKernelFlows = Flags(rawValue: 32)

    /// What belongs to a listener on all addresses.
    static let ofListener: Flags = [.kernelFlows, .draining, .listener]
    /// What belongs to the active range.
    static let ofRange: Flags = [.active, .activeKernelFlows]
  }

  private static let portsPerFamily = 65536
  private static let size = 2 * portsPerFamily
  private let bytes: UnsafeMutablePointer<UInt8>

  /// The table of a loaded program. Not libbpf's view of it, which is live in later versions only.
  init?(of object: OpaquePointer) {
    let section = unsafe bpf_object__find_map_fd_by_name(object, ".bss")
    let memory = unsafe mmap(
      nil, PortTable.size, PROT_READ | PROT_WRITE, MAP_SHARED, section, 0)
    guard let memory = unsafe memory, unsafe memory != MAP_FAILED else { return nil }
    unsafe bytes = unsafe memory.assumingMemoryBound(to: UInt8.self)
  }

  /// Ends the use of the table.
  func unmap() { _ = unsafe munmap(bytes, PortTable.size) }

  /// Replaces the flags in `mask` of one port.
  func set(_ port: UInt16, isIPv4: Bool, _ mask: Flags, to flags: Flags) {
    let position = Int(port) + (isIPv4 ? 0 : PortTable.portsPerFamily)
    // One byte, so that the program sees the old flags or the new ones.
    let kept = unsafe Flags(rawValue: bytes[position]).subtracting(mask)
    unsafe bytes[position] = kept.union(flags).rawValue
  }

  /// Makes `range`, and no other ports, the ports of connections that the stack opens.
  func setActive(_ range: ClosedRange<UInt16>?, flags: Flags) {
    for port in UInt16.min...UInt16.max {
      let isInside = range?.contains(port) ?? false
      for isIPv4 in [true, false] {
        set(port, isIPv4: isIPv4, .ofRange, to: isInside ? flags.union(.active) : [])
      }
    }
  }
}
