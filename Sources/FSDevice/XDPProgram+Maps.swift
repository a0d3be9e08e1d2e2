import CXDP
import FSStack
import Glibc

/// The key of the map `listeners`: `struct port_key` in bpf/fastsocket.bpf.c. 20 bytes, no padding.
struct PortKey: BitwiseCopyable, Hashable {
  var address: IPAddress
  /// Network order.
  var port: UInt16
  var zero: UInt16 = 0

  init(_ address: IPAddress, _ port: UInt16) {
    self.address = address
    self.port = port.bigEndian
  }
}

/// The key of the map `moved`: `struct moved_flow` in bpf/fastsocket.bpf.c. 36 bytes, no padding.
struct MovedFlowKey: BitwiseCopyable {
  var local: (UInt32, UInt32, UInt32, UInt32)
  var remote: (UInt32, UInt32, UInt32, UInt32)
  /// Network order.
  var localPort: UInt16
  var remotePort: UInt16

  init(_ flow: FlowAddress) {
    local = Self.words(flow.local)
    remote = Self.words(flow.remote)
    localPort = flow.localPort.bigEndian
    remotePort = flow.remotePort.bigEndian
  }

  private static func words(_ address: IPAddress) -> (UInt32, UInt32, UInt32, UInt32) {
    unsafe unsafeBitCast(address, to: (UInt32, UInt32, UInt32, UInt32).self)
  }
}

/// The maps of a loaded program.
struct Maps {
  /// Queue to AF_XDP socket.
  var sockets: Int32
  /// Managed addresses.
  var addresses: Int32
  /// `PortKey` to flags.
  var listeners: Int32
  /// `MovedFlowKey` to anything.
  var moved: Int32
  /// `enum counter` to a value for each core.
  var counters: Int32
  /// Flags of every port.
  var ports: PortTable

  init?(of object: OpaquePointer) {
    guard let ports = unsafe PortTable(of: object) else { return nil }
    self.ports = ports
    sockets = unsafe bpf_object__find_map_fd_by_name(object, "xsks")
    addresses = unsafe bpf_object__find_map_fd_by_name(object, "addresses")
    listeners = unsafe bpf_object__find_map_fd_by_name(object, "listeners")
    moved = unsafe bpf_object__find_map_fd_by_name(object, "moved")
    counters = unsafe bpf_object__find_map_fd_by_name(object, "counters")
  }
}

extension XDPProgram {
  /// Gives the packets of a queue to an AF_XDP socket.
  public func setSocket(queue: Int, descriptor: Int32) throws(DeviceError) {
    try update(\.sockets, UInt32(queue), UInt32(descriptor), "set AF_XDP socket of")
  }

  /// Gives the packets of a queue back to the kernel.
  public func clearSocket(queue: Int) {
    remove(\.sockets, UInt32(queue))
  }

  /// Manages an address: packets for owned ports on it are redirected.
  public func addAddress(_ address: IPAddress) throws(DeviceError) {
    try update(\.addresses, address, UInt32(1), "add address to")
  }

  /// Leaves an address to the kernel.
  public func removeAddress(_ address: IPAddress) {
    remove(\.addresses, address)
  }

  /// Owns a port, on one address or on all of a family (`anyIPv4`, `anyIPv6`). An entry for the
  /// packet's own address wins over a wildcard.
  public func setPort(
    _ address: IPAddress, _ port: UInt16, flags: PortFlags
  ) throws(DeviceError) {
    if address.isUnspecified {
      let ofListener = PortTable.Flags(rawValue: UInt8(truncatingIfNeeded: flags.rawValue))
        .intersection(.ofListener).union(.listener)
      maps?.ports.set(port, isIPv4: address.isIPv4, .ofListener, to: ofListener)
    } else {
      let key = PortKey(address, port)
      try update(\.listeners, key, flags.rawValue, "add port \(port) to")
      specificListeners.insert(key)
      maps?.ports.set(port, isIPv4: address.isIPv4, .specific, to: .specific)
    }
  }

  /// Leaves a port to the kernel.
  public func removePort(_ address: IPAddress, _ port: UInt16) {
    if address.isUnspecified {
      maps?.ports.set(port, isIPv4: address.isIPv4, .ofListener, to: [])
      return
    }
    let key = PortKey(address, port)
    specificListeners.remove(key)
    let others = specificListeners.contains {
      $0.port == key.port && $0.address.isIPv4 == address.isIPv4
    }
    if !others { maps?.ports.set(port, isIPv4: address.isIPv4, .specific, to: []) }
    remove(\.listeners, key)
  }

  /// A connection has been handed over to the kernel: packets of its flow are the kernel's also when its
  /// socket there is in TIME-WAIT, until a SYN begins it anew. For ports with `kernelFlows`. The map
  /// forgets the oldest when it is full.
  public func addMovedFlow(_ flow: FlowAddress) throws(DeviceError) {
    try update(\.moved, MovedFlowKey(flow), UInt32(1), "add connection to")
  }

  /// Owns the source ports of connections opened by the stack; nil owns none.
  ///
  /// With `kernelFlows`, a packet for which the kernel has a socket, listening ones included, is the
  /// kernel's: for the time in which the kernel still has sockets of its own in the range.
  public func setActiveRange(_ range: ClosedRange<UInt16>?, flags: PortFlags = []) {
    maps?.ports.setActive(range, flags: flags.contains(.kernelFlows) ? .activeKernelFlows : [])
  }

  /// What the program has decided so far.
  public func counters() -> XDPCounters {
    guard let map = maps?.counters else { return XDPCounters() }
    let cores = max(Int(libbpf_num_possible_cpus()), 1)
    var perCore = [UInt64](repeating: 0, count: cores)
    return XDPCounters { index in
      var key = index
      let status = unsafe perCore.withUnsafeMutableBytes { values in
        unsafe bpf_map_lookup_elem(map, &key, values.baseAddress)
      }
      return status == 0 ? perCore.reduce(0, &+) : 0
    }
  }

  private func update<Key: BitwiseCopyable, Value: BitwiseCopyable>(
    _ map: KeyPath<Maps, Int32>, _ key: Key, _ value: Value, _ operation: String
  ) throws(DeviceError) {
    guard let map = maps?[keyPath: map] else { return }
    let status = unsafe withUnsafePointer(to: key) { key in
      unsafe withUnsafePointer(to: value) { value in
        unsafe bpf_map_update_elem(map, key, value, UInt64(BPF_ANY))
      }
    }
    guard status == 0 else { throw .last(operation, interface) }
  }

  private func remove<Key: BitwiseCopyable>(_ map: KeyPath<Maps, Int32>, _ key: Key) {
    guard let map = maps?[keyPath: map] else { return }
    // An entry that is not there is as good as removed.
    _ = unsafe withUnsafePointer(to: key) { key in unsafe bpf_map_delete_elem(map, key) }
  }
}
