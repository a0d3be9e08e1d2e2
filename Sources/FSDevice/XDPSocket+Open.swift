import CXDP
import Glibc

/// Sizes that libxdp wants, all powers of two.
struct RingSizes {
  var fill: UInt32
  var completion: UInt32
  var frame: UInt32
}

extension XDPSocket {
  /// What libxdp has made.
  @safe
  struct Opened {
    var umem: OpaquePointer
    var socket: OpaquePointer
  }

  /// Opens the socket: zero-copy if wanted and possible, else copying. `zeroCopy` says which.
  ///
  /// The kernel frees the queue of a closed socket in the background. A daemon that follows on
  /// another's heels finds it taken for a moment, and waits.
  static func open(
    _ interface: String, _ queue: Int, memory: FrameMemory, core: UnsafeMutablePointer<Core>,
    sizes: RingSizes, zeroCopy: inout Bool
  ) throws(DeviceError) -> Opened {
    let patience = 50
    var attempts = 0
    while true {
      attempts += 1
      do throws(DeviceError) {
        let flag = zeroCopy ? XDP_ZEROCOPY : XDP_COPY
        return try unsafe attempt(interface, queue, memory, core, sizes, bind: flag)
      } catch .queueBusy where attempts < patience {
        usleep(10_000)
      } catch {
        guard zeroCopy, attempts < patience else { throw error }
        zeroCopy = false
      }
    }
  }

  /// Registers the memory and binds a socket. Both anew at each attempt, as the kernel keeps what a
  /// failed one has left in the socket.
  private static func attempt(
    _ interface: String, _ queue: Int, _ memory: FrameMemory, _ core: UnsafeMutablePointer<Core>,
    _ sizes: RingSizes, bind flag: Int32
  ) throws(DeviceError) -> Opened {
    // libxdp takes what is in the rings for what it has left there itself.
    unsafe core.pointee = Core(outstandingLimit: core.pointee.outstandingLimit)
    var umem: OpaquePointer?
    var umemConfiguration = xsk_umem_config()
    // Twice the frames: the kernel shows a packet in the receive ring before it shows that it has
    // taken the packet's frame from the fill ring, so for a moment the frame is in both.
    umemConfiguration.fill_size = sizes.fill * 2
    umemConfiguration.comp_size = sizes.completion
    umemConfiguration.frame_size = sizes.frame
    var status = unsafe xsk_umem__create(
      &umem, memory.base, UInt64(memory.size), &core.pointee.fill, &core.pointee.completion,
      &umemConfiguration)
    guard status == 0, let registered = unsafe umem else {
      throw failure(-status, "register AF_XDP memory for", interface, queue)
    }

    var socket: OpaquePointer?
    var configuration = xsk_socket_config()
    configuration.rx_size = sizes.fill
    configuration.tx_size = sizes.completion
    configuration.libbpf_flags = UInt32(XSK_LIBBPF_FLAGS__INHIBIT_PROG_LOAD)
    configuration.bind_flags = UInt16(XDP_USE_NEED_WAKEUP | flag)
    status = unsafe xsk_socket__create(
      &socket, interface, UInt32(queue), registered, &core.pointee.receive,
      &core.pointee.transmit, &configuration)
    guard status == 0, let bound = unsafe socket else {
      _ = unsafe xsk_umem__delete(registered)
      throw failure(-status, "bind AF_XDP socket to", interface, queue)
    }
    return unsafe Opened(umem: registered, socket: bound)
  }

  private static func failure(
    _ code: Int32, _ operation: String, _ interface: String, _ queue: Int
  ) -> DeviceError {
    switch code {
    case EBUSY:
      return .queueBusy(interface: interface, queue: queue)
    case EAFNOSUPPORT:
      return .unsupported("this kernel has no AF_XDP (CONFIG_XDP_SOCKETS)")
    default:
      return .system(
        operation: operation, subject: "queue \(queue) of \(interface)", errno: code)
    }
  }
}
