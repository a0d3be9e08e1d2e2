import CXDP
import FSStack
import Glibc

/// The XDP program of one interface, with maps of its own.
///
/// Attached by a link whose only reference is this process: when the process dies, however it dies,
/// the kernel detaches the program and serves alone. Nothing is pinned.
///
/// For one thread at a time.
@safe
public final class XDPProgram: @unchecked Sendable {
  /// Where the kernel runs the program.
  public enum AttachMode: String, Sendable {
    /// In the driver, before a socket buffer exists.
    case native
    /// In the network core, for drivers without XDP.
    case generic
  }

  /// Which attach modes to try.
  public enum AttachPreference: Sendable {
    /// Native, and generic where the driver refuses.
    case automatic
    /// Native only.
    case native
    /// Generic only.
    case generic
  }

  /// What the program has to know of an owned port. `enum port_flags` in bpf/fastsocket.bpf.c.
  public struct PortFlags: OptionSet, Sendable {
    /// The bits.
    public let rawValue: UInt32
    /// The kernel has, or may have, connections of its own on the port: it is asked for each packet.
    public static let kernelFlows = PortFlags(rawValue: 1)
    /// New connections belong to the kernel, what exists stays.
    public static let draining = PortFlags(rawValue: 2)

    /// Creates flags from their bits.
    public init(rawValue: UInt32) { self.rawValue = rawValue }
  }

  /// The wildcard of IPv4 listeners, 0.0.0.0.
  public static let anyIPv4 = IPAddress(v4: 0, 0, 0, 0)
  /// The wildcard of IPv6 listeners, ::. A dual-stack listener has both wildcards.
  public static let anyIPv6 = IPAddress(high: 0, low: 0)

  /// The interface's name.
  public let interface: String
  /// Where the program runs.
  public let attachMode: AttachMode
  /// Why the driver refused, when it was asked first and the program runs generic.
  public let nativeRefusal: String?
  /// The kernel's number of the program, as `ip link` and `bpftool prog` show it.
  public let programID: UInt32

  private var object: OpaquePointer?
  private var link: Int32
  /// Nil once closed: then there is nothing to change any more.
  private(set) var maps: Maps?
  /// The keys of the map of listeners.
  var specificListeners: Set<PortKey> = []

  /// Loads the program and attaches it to the interface. Nothing is redirected before an address, a
  /// port and a socket are set.
  public init(
    interface: NetworkInterface, prefer preference: AttachPreference = .automatic
  ) throws(DeviceError) {
    let object = try unsafe XDPProgram.load(queues: interface.queueCount, for: interface.name)
    let program = unsafe bpf_program__fd(bpf_object__next_program(object, nil))
    let attachment: Attachment
    guard let maps = unsafe Maps(of: object) else {
      unsafe bpf_object__close(object)
      throw .unsupported("this kernel cannot map the port table of the XDP program")
    }
    do throws(DeviceError) {
      attachment = try XDPProgram.attach(program, to: interface, preference)
    } catch {
      maps.ports.unmap()
      unsafe bpf_object__close(object)
      throw error
    }
    self.interface = interface.name
    unsafe self.object = unsafe object
    link = attachment.link
    attachMode = attachment.mode
    nativeRefusal = attachment.nativeRefusal
    self.maps = maps
    programID = XDPProgram.identifier(ofProgram: program)
  }

  deinit { close() }

  /// Detaches and unloads. From then on the kernel gets every packet. Safe to repeat.
  public func close() {
    if link >= 0 { _ = Glibc.close(link) }
    link = -1
    maps?.ports.unmap()
    maps = nil
    if let loaded = unsafe object { unsafe bpf_object__close(loaded) }
    unsafe object = nil
  }

  /// Opens and loads the compiled program, with room for `queues` sockets.
  private static func load(
    queues: Int, for interface: String
  ) throws(DeviceError) -> OpaquePointer {
    var options = unsafe bpf_object_open_opts()
    unsafe options.sz = MemoryLayout<bpf_object_open_opts>.size
    let opened = unsafe "fastsocket".withCString { name in
      unsafe options.object_name = unsafe name
      return unsafe xdpObject.withUnsafeBytes { bytes in
        unsafe bpf_object__open_mem(bytes.baseAddress, bytes.count, &options)
      }
    }
    guard let object = unsafe opened else { throw .last("open XDP program for", interface) }
    let map = unsafe bpf_object__find_map_by_name(object, "xsks")
    let status = unsafe bpf_map__set_max_entries(map, UInt32(max(queues, 1)))
    guard status == 0, unsafe bpf_object__load(object) == 0 else {
      let code = errno
      unsafe bpf_object__close(object)
      throw .system(operation: "load XDP program for", subject: interface, errno: code)
    }
    return unsafe object
  }

  private struct Attachment {
    var link: Int32
    var mode: AttachMode
    var nativeRefusal: String?
  }

  /// Attaches in the driver if it may and can, else in the network core.
  private static func attach(
    _ program: Int32, to interface: NetworkInterface, _ preference: AttachPreference
  ) throws(DeviceError) -> Attachment {
    var refusal: String?
    if preference != .generic {
      let link = createLink(program, interface.index, flags: UInt32(XDP_FLAGS_DRV_MODE))
      if link >= 0 { return Attachment(link: link, mode: .native) }
      let code = errno
      try throwIfTaken(interface, code)
      guard preference == .automatic else {
        throw .system(operation: "attach XDP program to", subject: interface.name, errno: code)
      }
      refusal = DeviceError.text(of: code)
    }
    let link = createLink(program, interface.index, flags: UInt32(XDP_FLAGS_SKB_MODE))
    if link >= 0 { return Attachment(link: link, mode: .generic, nativeRefusal: refusal) }
    let code = errno
    try throwIfTaken(interface, code)
    throw .system(operation: "attach XDP program to", subject: interface.name, errno: code)
  }

  private static func createLink(_ program: Int32, _ interface: Int, flags: UInt32) -> Int32 {
    var options = unsafe bpf_link_create_opts()
    unsafe options.sz = MemoryLayout<bpf_link_create_opts>.size
    unsafe options.flags = flags
    return unsafe bpf_link_create(program, Int32(interface), BPF_XDP, &options)
  }

  /// The kernel answers EBUSY when a program of the same mode is there, EEXIST when one of the other
  /// mode is.
  private static func throwIfTaken(
    _ interface: NetworkInterface, _ code: Int32
  ) throws(DeviceError) {
    guard code == EBUSY || code == EEXIST else { return }
    var other: UInt32 = 0
    guard unsafe bpf_xdp_query_id(Int32(interface.index), 0, &other) == 0, other != 0 else {
      return
    }
    throw .alreadyAttached(interface: interface.name, programID: other)
  }

  private static func identifier(ofProgram program: Int32) -> UInt32 {
    var info = bpf_prog_info()
    var length = UInt32(MemoryLayout<bpf_prog_info>.size)
    _ = unsafe bpf_obj_get_info_by_fd(program, &info, &length)
    return info.id
  }
}
