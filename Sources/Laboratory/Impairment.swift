import CLaboratory
import Foundation
import Synchronization

/// What happens to frames on an impaired link, in either direction.
public struct ImpairmentConditions: Sendable {
  /// Share of the frames that are lost.
  public var loss = 0.0
  /// Share of the frames that arrive twice.
  public var duplication = 0.0
  /// Share of the frames that are held back by `reorderingDelay`, so that later ones overtake them.
  public var reordering = 0.0
  /// Microseconds from one end to the other.
  public var delay: UInt64 = 0
  /// Microseconds that a reordered frame takes longer.
  public var reorderingDelay: UInt64 = 1_000
  /// What is drawn by lot follows from it.
  public var seed: UInt64 = 1

  /// A link that changes nothing, but for what is set.
  public init(
    loss: Double = 0, duplication: Double = 0, reordering: Double = 0, delay: UInt64 = 0
  ) {
    self.loss = loss
    self.duplication = duplication
    self.reordering = reordering
    self.delay = delay
  }
}

/// A stretch of wire between two interfaces of one host, in user space: every frame that arrives at
/// one leaves at the other, late, twice or never, as the conditions say.
///
/// A thread of its own carries the frames through packet sockets. It does what the kernel's network
/// emulator does where that is not built in.
public final class Impairment: Sendable {
  /// What has happened to frames, in both directions.
  public struct Counters: Sendable {
    /// Frames that arrived at either interface.
    public var received = 0
    /// Those lost on purpose.
    public var lost = 0
    /// Those duplicated on purpose.
    public var duplicated = 0
    /// Those held back on purpose.
    public var reordered = 0
    /// Those the outgoing interface did not take.
    public var refused = 0
  }

  private struct State {
    var conditions: ImpairmentConditions
    var counters = Counters()
    var isStopped = false
  }

  private let state: Mutex<State>
  private let ended = DispatchSemaphore(value: 0)

  /// Joins two interfaces of `host` until the laboratory is torn down.
  init(on host: NetworkHost, _ first: String, _ second: String, _ conditions: ImpairmentConditions)
    throws
  {
    state = Mutex(State(conditions: conditions))
    let ports = try host.perform {
      [try PacketPort(on: first), try PacketPort(on: second)]
    }
    let thread = Thread { [self] in
      defer { ended.signal() }
      var wire = Wire(ports: ports, seed: conditions.seed)
      while carry(&wire) {}
    }
    thread.stackSize = 1 << 20
    thread.start()
  }

  /// What has happened so far.
  public var counters: Counters { state.withLock { $0.counters } }

  /// Changes the conditions for the frames that arrive from now on.
  public func set(_ conditions: ImpairmentConditions) {
    state.withLock { $0.conditions = conditions }
  }

  /// Stops carrying frames.
  public func stop() {
    let wasStopped = state.withLock { state in
      defer { state.isStopped = true }
      return state.isStopped
    }
    if !wasStopped { ended.wait() }
  }

  /// One round: waits for frames or for a moment at which one is due. False when it is over.
  private func carry(_ wire: inout Wire) -> Bool {
    wire.wait()
    let (conditions, isStopped) = state.withLock { ($0.conditions, $0.isStopped) }
    guard !isStopped else { return false }
    var counters = Counters()
    wire.receive(conditions, &counters)
    wire.send(&counters)
    state.withLock { state in
      state.counters.received += counters.received
      state.counters.lost += counters.lost
      state.counters.duplicated += counters.duplicated
      state.counters.reordered += counters.reordered
      state.counters.refused += counters.refused
    }
    return true
  }
}

/// The frames under way.
private struct Wire {
  private struct Frame {
    var due: UInt64
    var number: UInt64
    var port: Int
    var bytes: [UInt8]

    func isBefore(_ other: Frame) -> Bool {
      due < other.due || due == other.due && number < other.number
    }
  }

  private let ports: [PacketPort]
  private var random: SplitMix
  /// A binary heap: the next to arrive is the first.
  private var heap: [Frame] = []
  private var number: UInt64 = 0
  private static let burst = 128

  init(ports: [PacketPort], seed: UInt64) {
    self.ports = ports
    random = SplitMix(state: seed)
  }

  /// Waits for a frame, or until one is due; 20 ms at most.
  func wait() {
    let now = MonotonicTime.nanoseconds
    let rest = heap.first.map { $0.due > now ? $0.due - now : 0 } ?? 20_000_000
    lab_wait(ports[0].descriptor, ports[1].descriptor, min(rest, 20_000_000))
  }

  mutating func receive(_ conditions: ImpairmentConditions, _ counters: inout Impairment.Counters) {
    for index in 0..<2 {
      for _ in 0..<Self.burst {
        guard let bytes = ports[index].receive() else { break }
        counters.received += 1
        decide(bytes, to: 1 - index, conditions, &counters)
      }
    }
  }

  private mutating func decide(
    _ bytes: [UInt8], to port: Int, _ conditions: ImpairmentConditions,
    _ counters: inout Impairment.Counters
  ) {
    if chance(conditions.loss) {
      counters.lost += 1
      return
    }
    var due = MonotonicTime.nanoseconds + conditions.delay * 1_000
    if chance(conditions.reordering) {
      counters.reordered += 1
      due += conditions.reorderingDelay * 1_000
    }
    push(bytes, port, due)
    if chance(conditions.duplication) {
      counters.duplicated += 1
      push(bytes, port, due)
    }
  }

  private mutating func chance(_ share: Double) -> Bool {
    share > 0 && Double.random(in: 0..<1, using: &random) < share
  }

  /// Sends what is due.
  mutating func send(_ counters: inout Impairment.Counters) {
    let now = MonotonicTime.nanoseconds
    while let first = heap.first, first.due <= now {
      if !ports[first.port].send(first.bytes) { counters.refused += 1 }
      removeFirst()
    }
  }

  private mutating func push(_ bytes: [UInt8], _ port: Int, _ due: UInt64) {
    number += 1
    heap.append(Frame(due: due, number: number, port: port, bytes: bytes))
    var child = heap.count - 1
    while child > 0, heap[child].isBefore(heap[(child - 1) / 2]) {
      heap.swapAt(child, (child - 1) / 2)
      child = (child - 1) / 2
    }
  }

  private mutating func removeFirst() {
    heap.swapAt(0, heap.count - 1)
    heap.removeLast()
    var parent = 0
    while true {
      var least = parent
      for child in [2 * parent + 1, 2 * parent + 2]
      where child < heap.count && heap[child].isBefore(heap[least]) {
        least = child
      }
      if least == parent { return }
      heap.swapAt(parent, least)
      parent = least
    }
  }
}

/// A raw Ethernet socket on one interface.
private final class PacketPort: Sendable {
  let descriptor: Int32

  /// Opens a socket on an interface of the calling thread's namespace.
  init(on interface: String) throws {
    descriptor = unsafe lab_open_packet_socket(interface)
    guard descriptor >= 0 else {
      throw LaboratoryError(
        unsafe "no packet socket on \(interface): \(String(cString: strerror(errno)))")
    }
  }

  deinit { close(descriptor) }

  /// The next frame that has arrived.
  func receive() -> [UInt8]? {
    var count = 0
    let bytes = unsafe [UInt8](unsafeUninitializedCapacity: 2048) { buffer, used in
      count = unsafe recv(descriptor, buffer.baseAddress, buffer.count, Int32(MSG_DONTWAIT))
      used = max(count, 0)
    }
    return count > 0 ? bytes : nil
  }

  func send(_ bytes: [UInt8]) -> Bool {
    unsafe Foundation.send(descriptor, bytes, bytes.count, Int32(MSG_DONTWAIT)) == bytes.count
  }
}

extension Laboratory {
  /// Joins two hosts by an impaired link in subnet number `subnet`: each packet is what it would be
  /// on a wire, with a checksum of its own. Begins with a link that changes nothing.
  public func impairedLink(
    _ first: NetworkHost, _ firstName: String, _ second: NetworkHost, _ secondName: String,
    subnet: Int
  ) throws -> (LinkEnd, LinkEnd, Impairment) {
    let wire = try host("wire")
    let options = LinkOptions(segmentationOffload: false, checksumOffload: false)
    let (firstEnd, near) = try link(
      first, firstName, wire, "near", subnet: subnet, options: options)
    let (far, secondEnd) = try link(
      wire, "far", second, secondName, subnet: subnet, options: options)
    // What lies between the ends has no part in the conversation.
    try wire.setSystemControl("net.ipv6.conf.all.disable_ipv6", "1")
    for interface in [near.interface, far.interface] {
      try run(["ip", "-n", wire.name, "address", "flush", "dev", interface])
      try run(["ip", "-n", wire.name, "link", "set", interface, "arp", "off", "promisc", "on"])
    }
    let impairment = try Impairment(
      on: wire, near.interface, far.interface, ImpairmentConditions())
    atTearDown { impairment.stop() }
    return (firstEnd, secondEnd, impairment)
  }
}
