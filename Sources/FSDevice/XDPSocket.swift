import CXDP
import Glibc

/// The AF_XDP socket of one (interface, queue), with frames of its own.
///
/// Frames never wander: the first `receiveFrames` of the memory circulate between the fill and the
/// receive ring, the rest belong to whoever transmits. Each ring has room for all the frames that
/// can be in it, so none can overflow, and the completion ring always has room for what is
/// outstanding, without which the kernel would refuse to transmit.
///
/// May be made on one thread and used on another, by one at a time. The hot path is in
/// XDPSocket+Burst.swift.
@safe
public final class XDPSocket: @unchecked Sendable {
  /// How packets get from the device into the frames.
  public enum Mode: String, Sendable {
    /// The device writes into the frames.
    case zeroCopy = "zero-copy"
    /// The driver runs the XDP program, the kernel copies.
    case copy
    /// The network core runs the XDP program on socket buffers, the kernel copies.
    case generic
  }

  /// Sizes of a socket.
  public struct Configuration: Sendable {
    /// Frames for receiving; rounded up to a power of two.
    public var receiveFrames = 4096
    /// Frames for transmitting; rounded up to a power of two.
    public var transmitFrames = 2048
    /// Bytes of a frame, 2048 or 4096.
    public var frameSize: Int
    /// Whether to ask the driver for zero-copy first.
    public var tryZeroCopy = true
    /// Packets the kernel may transmit in one system call, on Linux 6.17 and later; nil: a ring
    /// full. Earlier kernels take 32.
    public var transmitBudget: Int?
    /// Frames that may be with the kernel at a time; nil: as many as there are for transmitting.
    public var outstandingLimit: Int?
    /// NUMA node for the frames; nil: that of the thread that opens the socket.
    public var node: Int?

    /// Creates the configuration for an interface with this MTU.
    public init(mtu: Int) {
      frameSize = mtu + Configuration.overhead <= 2048 ? 2048 : 4096
    }

    /// Creates the configuration for this interface.
    public init(for interface: NetworkInterface) {
      self.init(mtu: interface.mtu)
      if interface.driver == "veth" { outstandingLimit = Configuration.vethRing }
    }

    /// A veth has 256 entries for what its peer has not received (VETH_RING_SIZE), and drops what does not fit.
    /// A frame is completed when the peer has received it, so the limit keeps the queue short, as TCP small
    /// queues do for the kernel's sockets. Some entries are left for what the kernel itself sends.
    static let vethRing = 224

    /// In front of a received frame the kernel wants 256 bytes, and an Ethernet header with a VLAN
    /// tag has 18.
    static let overhead = 256 + 18
  }

  /// What libxdp and the hot path work on. Its address does not change: libxdp keeps it.
  @safe
  struct Core {
    var receive = unsafe xsk_ring_cons()
    var fill = unsafe xsk_ring_prod()
    var transmit = unsafe xsk_ring_prod()
    var completion = unsafe xsk_ring_cons()
    /// Descriptors written to the transmit ring, not yet shown to the kernel.
    var unpublished: UInt32 = 0
    /// Frames queued or with the kernel.
    var outstanding = 0
    var outstandingLimit: Int
    var counters = XDPSocketCounters()
  }

  /// The interface's name.
  public let interface: String
  /// The queue of the interface.
  public let queue: Int
  /// How packets get in and out.
  public let mode: Mode
  /// The socket; readable when packets have arrived.
  public let descriptor: Int32
  /// The first byte of the frames.
  public let base: UnsafeMutableRawPointer
  /// Bytes of a frame.
  public let frameSize: Int

  let core: UnsafeMutablePointer<Core>
  private let memory: FrameMemory
  private let receiveFrames: Int
  private let transmitFrameCount: Int
  private var socket: OpaquePointer?
  private var umem: OpaquePointer?

  /// Opens the socket: zero-copy if the driver can, else copying. `attachMode` is that of the
  /// interface's `XDPProgram`.
  public init(
    interface: NetworkInterface, queue: Int, attachMode: XDPProgram.AttachMode,
    configuration: Configuration
  ) throws(DeviceError) {
    guard interface.mtu + Configuration.overhead <= configuration.frameSize else {
      throw .unsupported(
        "the MTU of \(interface.name), \(interface.mtu), is too large for AF_XDP; at most"
          + " \(4096 - Configuration.overhead) is possible")
    }
    let receiveFrames = XDPSocket.powerOfTwo(configuration.receiveFrames)
    let transmitFrames = XDPSocket.powerOfTwo(configuration.transmitFrames)
    let memory = try FrameMemory(
      size: (receiveFrames + transmitFrames) * configuration.frameSize, node: configuration.node,
      for: interface.name)
    let core = UnsafeMutablePointer<Core>.allocate(capacity: 1)
    unsafe core.initialize(
      to: Core(outstandingLimit: min(configuration.outstandingLimit ?? .max, transmitFrames)))

    let sizes = RingSizes(
      fill: UInt32(receiveFrames), completion: UInt32(transmitFrames),
      frame: UInt32(configuration.frameSize))
    var zeroCopy = configuration.tryZeroCopy && attachMode == .native
    let opened: Opened
    do throws(DeviceError) {
      opened = try unsafe XDPSocket.open(
        interface.name, queue, memory: memory, core: core, sizes: sizes, zeroCopy: &zeroCopy)
    } catch {
      unsafe core.deallocate()
      throw error
    }

    self.interface = interface.name
    self.queue = queue
    mode = zeroCopy ? .zeroCopy : attachMode == .native ? .copy : .generic
    frameSize = configuration.frameSize
    self.receiveFrames = receiveFrames
    transmitFrameCount = transmitFrames
    self.memory = memory
    unsafe base = unsafe memory.base
    unsafe self.core = unsafe core
    unsafe socket = opened.socket
    unsafe umem = opened.umem
    descriptor = unsafe xsk_socket__fd(opened.socket)
    setBuffers(budget: configuration.transmitBudget ?? transmitFrames)
    fillAll()
  }

  deinit {
    close()
    unsafe core.deallocate()
  }

  /// Closes the socket and frees its frames; the kernel takes it out of the XDP program's map. Safe
  /// to repeat; nothing else may be called afterwards.
  public func close() {
    if let open = unsafe socket { unsafe xsk_socket__delete(open) }
    unsafe socket = nil
    if let registered = unsafe umem { _ = unsafe xsk_umem__delete(registered) }
    unsafe umem = nil
    memory.unmap()
  }

  /// Offsets from `base` of the frames for transmission.
  public var transmitFrames: [UInt64] {
    (receiveFrames..<receiveFrames + transmitFrameCount).map { UInt64($0 * frameSize) }
  }

  /// What this socket has done.
  public var counters: XDPSocketCounters { unsafe core.pointee.counters }

  /// What the kernel counts; nil if it does not say.
  public func statistics() -> XDPStatistics? {
    var raw = xdp_statistics()
    var length = socklen_t(MemoryLayout<xdp_statistics>.size)
    guard unsafe getsockopt(descriptor, SOL_XDP, XDP_STATISTICS, &raw, &length) == 0 else {
      return nil
    }
    var result = XDPStatistics()
    result.receiveDropped = raw.rx_dropped
    result.receiveInvalid = raw.rx_invalid_descs
    result.transmitInvalid = raw.tx_invalid_descs
    result.receiveRingFull = raw.rx_ring_full
    result.fillRingEmpty = raw.rx_fill_ring_empty_descs
    result.transmitRingEmpty = raw.tx_ring_empty_descs
    return result
  }

  private static func powerOfTwo(_ count: Int) -> Int {
    var power = 64
    while power < count { power *= 2 }
    return power
  }

  /// Largest IP packet that frames hold, bytes.
  public var largestPacket: Int { frameSize - Configuration.overhead }

  /// Room for all outstanding packets in the socket's send buffer, from which copy mode takes its
  /// memory, and one system call for all of them.
  private func setBuffers(budget: Int) {
    // The kernel doubles the value, which covers its overhead for each packet.
    var bytes = Int32(transmitFrameCount * frameSize)
    let size = socklen_t(MemoryLayout<Int32>.size)
    _ = unsafe setsockopt(descriptor, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, size)
    // Unknown before Linux 6.17: then 32 packets go in a system call.
    var packets = Int32(min(max(budget, 32), transmitFrameCount))
    _ = unsafe setsockopt(descriptor, SOL_XDP, FS_XDP_MAX_TX_SKB_BUDGET, &packets, size)
  }

  /// Gives all receive frames to the kernel.
  private func fillAll() {
    var index: UInt32 = 0
    let count = UInt32(receiveFrames)
    let reserved = unsafe xsk_ring_prod__reserve(&core.pointee.fill, count, &index)
    precondition(reserved == count, "the fill ring has room for all receive frames")
    for frame in 0..<count {
      unsafe xsk_ring_prod__fill_addr(&core.pointee.fill, index &+ frame).unsafelyUnwrapped
        .pointee = UInt64(frame) * UInt64(frameSize)
    }
    unsafe xsk_ring_prod__submit(&core.pointee.fill, count)
  }
}
