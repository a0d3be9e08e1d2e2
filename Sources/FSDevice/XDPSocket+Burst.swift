import CProcessor
import CXDP
import Glibc

/// The path of packets: no allocation, no reference counting, no lock.
extension XDPSocket {
  /// Lends up to `maximum` received frames, one after the other, and gives them back to the kernel. Before
  /// the first, all of them are lent to `announce`, which may look what will be needed for them. Returns
  /// their number.
  public func receiveBurst(
    maximum: Int, announce: (UnsafeRawBufferPointer) -> Void,
    _ body: (UnsafeRawBufferPointer) -> Void
  ) -> Int {
    let core = unsafe self.core
    let base = unsafe self.base
    var first: UInt32 = 0
    let count = unsafe xsk_ring_cons__peek(&core.pointee.receive, UInt32(maximum), &first)
    guard count > 0 else {
      wakeReceiver()
      return 0
    }
    var firstFill: UInt32 = 0
    let reserved = unsafe xsk_ring_prod__reserve(&core.pointee.fill, count, &firstFill)
    precondition(reserved == count, "a received frame has left room in the fill ring")

    let startOfFrame = ~UInt64(frameSize - 1)
    var bytes: UInt64 = 0
    for position in 0..<count {
      unsafe fs_prefetch(base + Int(descriptorAt(first &+ position).addr))
    }
    for position in 0..<count {
      let descriptor = descriptorAt(first &+ position)
      unsafe announce(
        UnsafeRawBufferPointer(start: base + Int(descriptor.addr), count: Int(descriptor.len)))
    }
    for position in 0..<count {
      let descriptor = descriptorAt(first &+ position)
      unsafe body(
        UnsafeRawBufferPointer(start: base + Int(descriptor.addr), count: Int(descriptor.len)))
      bytes &+= UInt64(descriptor.len)
      unsafe xsk_ring_prod__fill_addr(&core.pointee.fill, firstFill &+ position)
        .unsafelyUnwrapped.pointee = descriptor.addr & startOfFrame
    }
    unsafe xsk_ring_prod__submit(&core.pointee.fill, count)
    unsafe xsk_ring_cons__release(&core.pointee.receive, count)
    unsafe core.pointee.counters.receivedPackets &+= UInt64(count)
    unsafe core.pointee.counters.receivedBytes &+= bytes
    wakeReceiver()
    return Int(count)
  }

  /// Whether a received frame waits. To be asked once more before sleeping on `descriptor`.
  public var hasReceived: Bool {
    unsafe xsk_cons_nb_avail(&core.pointee.receive, 1) > 0
  }

  /// Hands out the offsets of transmitted frames. Returns their number.
  public func reapCompletions(_ body: (UInt64) -> Void) -> Int {
    let core = unsafe self.core
    guard unsafe core.pointee.outstanding > 0 else { return 0 }
    var first: UInt32 = 0
    let count = unsafe xsk_ring_cons__peek(
      &core.pointee.completion, core.pointee.completion.size, &first)
    guard count > 0 else { return 0 }
    for position in 0..<count {
      unsafe body(
        xsk_ring_cons__comp_addr(&core.pointee.completion, first &+ position)
          .unsafelyUnwrapped.pointee)
    }
    unsafe xsk_ring_cons__release(&core.pointee.completion, count)
    unsafe core.pointee.outstanding &-= Int(count)
    return Int(count)
  }

  /// Frames queued for transmission and not yet completed.
  public var outstanding: Int { unsafe core.pointee.outstanding }

  /// Whether it pays to queue some of `count` frames now: there is room for all of them, or for a burst. One
  /// system call for each completed frame would cost more than the wait.
  public func hasRoom(for count: Int) -> Bool {
    unsafe core.pointee.outstandingLimit - core.pointee.outstanding >= min(count, 32)
  }

  /// Queues a frame of `length` bytes at `offset` from `base` for transmission. False: too many are
  /// outstanding; try again after `reapCompletions`.
  public func enqueue(_ offset: UInt64, length: Int) -> Bool {
    let core = unsafe self.core
    var index: UInt32 = 0
    guard unsafe core.pointee.outstanding < core.pointee.outstandingLimit,
      unsafe xsk_ring_prod__reserve(&core.pointee.transmit, 1, &index) == 1
    else { return false }
    unsafe xsk_ring_prod__tx_desc(&core.pointee.transmit, index).unsafelyUnwrapped.pointee =
      xdp_desc(addr: offset, len: UInt32(length), options: 0)
    unsafe core.pointee.unpublished &+= 1
    unsafe core.pointee.outstanding &+= 1
    unsafe core.pointee.counters.transmittedPackets &+= 1
    unsafe core.pointee.counters.transmittedBytes &+= UInt64(length)
    return true
  }

  /// Whether frames wait in the transmit ring.
  public var needsKick: Bool { waiting > 0 }

  /// Shows the queued frames to the kernel and has it transmit them. Once for a burst.
  ///
  /// Returns false if the kernel has left frames in the ring: kick again in the next iteration.
  @discardableResult
  public func kick() -> Bool {
    let core = unsafe self.core
    if unsafe core.pointee.unpublished > 0 {
      unsafe xsk_ring_prod__submit(&core.pointee.transmit, core.pointee.unpublished)
      unsafe core.pointee.unpublished = 0
    }
    var left = waiting
    while left > 0 {
      // A zero-copy driver that is at work anyway does not want to be told.
      guard unsafe xsk_ring_prod__needs_wakeup(&core.pointee.transmit) != 0 else { return true }
      let progress = transmit()
      let now = waiting
      // What is a matter of the budget goes on at once, what is a matter of memory does not.
      guard progress, now < left else { return now == 0 }
      left = now
    }
    return true
  }

  /// One sendto(). Returns whether the next one may get further.
  private func transmit() -> Bool {
    unsafe core.pointee.counters.kicks &+= 1
    if sendto(descriptor, nil, 0, Int32(MSG_DONTWAIT), nil, 0) >= 0 {
      return true
    }
    switch errno {
    case EAGAIN:
      unsafe core.pointee.counters.kickAgain &+= 1
      return true
    case EBUSY:
      // The device had no room; the packet is gone and completed. TCP sends it again.
      unsafe core.pointee.counters.kickDropped &+= 1
      return true
    case ENOBUFS:
      unsafe core.pointee.counters.kickNoBuffers &+= 1
      return false
    default:
      unsafe core.pointee.counters.kickFailed &+= 1
      return false
    }
  }

  /// Descriptors in the transmit ring that the kernel has not taken.
  private var waiting: UInt32 {
    let ring = unsafe core.pointee.transmit.size
    return unsafe ring &- xsk_prod_nb_free(&core.pointee.transmit, ring)
  }

  /// Tells a zero-copy driver that has run out of free frames that there are some again.
  private func wakeReceiver() {
    guard unsafe xsk_ring_prod__needs_wakeup(&core.pointee.fill) != 0 else { return }
    unsafe core.pointee.counters.receiveWakeups &+= 1
    _ = recvfrom(descriptor, nil, 0, Int32(MSG_DONTWAIT), nil, nil)
  }

  private func descriptorAt(_ index: UInt32) -> xdp_desc {
    unsafe xsk_ring_cons__rx_desc(&core.pointee.receive, index).unsafelyUnwrapped.pointee
  }
}
