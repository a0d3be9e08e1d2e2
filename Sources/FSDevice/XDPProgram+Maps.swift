import CXDP
import FSStack
import Glibc

/// The key of the map `ports`: `struct port_key` in bpf/fastsocket.bpf.c. 20 bytes, no padding.
private struct PortKey: BitwiseCopyable {
  var address: IPAddress
  /// Network order.
  var port: UInt16
  var zero: UInt16 = 0

  init(_ address: IPAddress, _ port: UInt16) {
    self.address = address
    self.port = port.bigEndian
  }
}

/// The value of the map `active`: `struct active_range`.
private struct ActiveRange: BitwiseCopyable {
  var first: UInt32
  var count: UInt32
  var flags: UInt32
}

extension XDPProgram {
  /// Gives the packets of a queue to an AF_XDP socket.
  public func setSocket(queue: Int, descriptor: Int32) throws(DeviceError) {
    try update(sockets, UInt32(queue), UInt32(descriptor), "set AF_XDP socket of")
  }

  /// Gives the packets of a queue back to the kernel.
  public func clearSocket(queue: Int) {
    remove(sockets, UInt32(queue))
  }

  /// Manages an address: packets for owned ports on it are redirected.
  public func addAddress(_ address: IPAddress) throws(DeviceError) {
    try update(addresses, address, UInt32(1), "add address to")
  }

  /// Leaves an address to the kernel.
  public func removeAddress(_ address: IPAddress) {
    remove(addresses, address)
  }

  /// Owns a port, on one address or on all of a family (`anyIPv4`, `anyIPv6`). An entry for the
  /// packet's own address wins over a wildcard.
  public func setPort(
    _ address: IPAddress, _ port: UInt16, flags: PortFlags
  ) throws(DeviceError) {
    try update(ports, PortKey(address, port), flags.rawValue, "add port \(port) to")
  }

  /// Leaves a port to the kernel.
  public func removePort(_ address: IPAddress, _ port: UInt16) {
    remove(ports, PortKey(address, port))
  }

  /// Owns the source ports of connections opened by the stack; nil owns none.
  ///
  /// With `kernelFlows`, a packet for which the kernel has a socket, listening ones included, is the
  /// kernel's: for the time in which the kernel still has sockets of its own in the range.
  public func setActiveRange(
    _ range: ClosedRange<UInt16>?, flags: PortFlags = []
  ) throws(DeviceError) {
    let value = ActiveRange(
      first: UInt32(range?.lowerBound ?? 0), count: UInt32(range?.count ?? 0),
      flags: flags.rawValue)
    try update(activeRange, UInt32(0), value, "set the active port range of")
  }

  /// What the program has decided so far.
  public func counters() -> XDPCounters {
    let cores = max(Int(libbpf_num_possible_cpus()), 1)
    var perCore = [UInt64](repeating: 0, count: cores)
    return XDPCounters { index in
      var key = index
      let status = unsafe perCore.withUnsafeMutableBytes { values in
        unsafe bpf_map_lookup_elem(counterMap, &key, values.baseAddress)
      }
      return status == 0 ? perCore.reduce(0, &+) : 0
    }
  }

  private func update<Key: BitwiseCopyable, Value: BitwiseCopyable>(
    _ map: Int32, _ key: Key, _ value: Value, _ operation: String
  ) throws(DeviceError) {
    let status = unsafe withUnsafePointer(to: key) { key in
      unsafe withUnsafePointer(to: value) { value in
        unsafe bpf_map_update_elem(map, key, value, UInt64(BPF_ANY))
      }
    }
    guard status == 0 else { throw .last(operation, interface) }
  }

  private func remove<Key: BitwiseCopyable>(_ map: Int32, _ key: Key) {
    // An entry that is not there is as good as removed.
    _ = unsafe withUnsafePointer(to: key) { key in unsafe bpf_map_delete_elem(map, key) }
  }
}
