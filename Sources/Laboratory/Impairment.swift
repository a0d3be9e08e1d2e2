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
