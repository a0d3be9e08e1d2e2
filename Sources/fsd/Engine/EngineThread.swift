import FSDevice
import FSStack
import Glibc
import Synchronization

/// The thread of one engine, seen from the control thread.
final class EngineThread: EngineControl {
  /// What an engine is made of.
  struct Setup {
    var index: Int
    var processor: Int
    var policy: IdlePolicy
    var configuration: EngineConfiguration
    var interfaces: [Interface]
    var loopback: LoopbackFrames
    var peers: EngineLoop.Peers
    var outbox: Outbox

    /// One interface, with the engine's sockets on it; the first one transmits.
    struct Interface {
      var name: String
      var macAddress: MACAddress
      var mtu: Int
      var isVirtual: Bool
      var sockets: [XDPSocket]
    }
  }

  let index: Int
  let processor: Int
  private let mailbox: Mailbox<EngineLoop>
  private let thread: PinnedThread

  /// Starts the engine's thread.
  init(_ setup: Setup) throws(SystemError) {
    index = setup.index
    processor = setup.processor
    let doorbell = setup.peers.doorbells[setup.index]
    let mailbox = Mailbox<EngineLoop>(doorbell: doorbell)
    self.mailbox = mailbox
    let poller = try Poller()
    try poller.add(doorbell.event.descriptor.number, token: .max, edge: true)
    for interface in setup.interfaces {
      for socket in interface.sockets { try poller.add(socket.descriptor, token: .max) }
    }
    thread = try PinnedThread(name: "fsd-engine-\(setup.index)", processor: setup.processor) {
      Self.run(setup, mailbox: mailbox, poller: poller)
    }
  }

  private static func run(_ setup: Setup, mailbox: Mailbox<EngineLoop>, poller: Poller) {
    var loop = makeLoop(setup, mailbox: mailbox, poller: poller)
    loop.run()
  }

  /// Made on the engine's own thread, so that its memory is near its processor.
  private static func makeLoop(
    _ setup: Setup, mailbox: Mailbox<EngineLoop>, poller: Poller
  ) -> EngineLoop {
    var engine = Engine(
      configuration: setup.configuration, now: .current)
    var ports: [EngineLoop.Port] = []
    var exits: [EngineLoop.Exit] = []
    for interface in setup.interfaces {
      guard let first = interface.sockets.first else {
        preconditionFailure("an engine without a queue of \(interface.name)")
      }
      let queue = unsafe TransmitQueue(
        base: first.base, frameSize: first.frameSize, frames: first.transmitFrames)
      let number = engine.addInterface(
        InterfaceConfiguration(
          macAddress: interface.macAddress, mtu: interface.mtu,
          largestPacket: first.largestPacket, isVirtual: interface.isVirtual, transmit: queue))
      exits.append(
        EngineLoop.Exit(port: EngineLoop.Port(first, interface: number), queue: queue))
      ports += interface.sockets.map { EngineLoop.Port($0, interface: number) }
    }
    _ = engine.addLoopback(mtu: LoopbackFrames.mtu, transmit: unsafe setup.loopback.queue)
    return EngineLoop(
      index: setup.index, processor: setup.processor, policy: setup.policy, engine: engine,
      sockets: setup.interfaces.flatMap(\.sockets), ports: ports, exits: exits,
      loopback: setup.loopback, peers: setup.peers, mailbox: mailbox, outbox: setup.outbox,
      poller: poller, handedOver: Array(repeating: false, count: setup.peers.doorbells.count))
  }

  /// Milliseconds after which an engine that does not answer is interrupted. Interrupting one that
  /// is only busy does no harm.
  private static let patience = 100

  /// Runs `body` on the engine's thread and waits for it.
  ///
  /// An engine that does not answer may be stuck in the write to an eventfd which a hostile
  /// application has made to block: it shares the descriptor's flags. The interruption gets it out,
  /// and the engine closes the channel (`EngineLoop.wakeApplications`).
  private func perform<Result: Sendable>(
    _ body: @escaping @Sendable (inout EngineLoop) -> Result
  ) -> Result {
    let reply = Reply<Result>()
    mailbox.post { loop in reply.deliver(body(&loop)) }
    while true {
      if let result = reply.wait(milliseconds: Self.patience) { return result }
      thread.interrupt()
    }
  }

  /// Returns when the engine has gone round its loop, which frees it if it is stuck.
  func ensureProgress() {
    perform { _ in }
  }

  /// Ends the thread, also if it is stuck. Nothing else may be asked afterwards.
  func stop() {
    mailbox.post { loop in loop.isRunning = false }
    while !thread.join(milliseconds: Self.patience) { thread.interrupt() }
  }
}

extension EngineThread {
  func attach(_ channel: Channel) -> ChannelID? { perform { $0.attach(channel) } }

  func detach(_ channel: ChannelID, _ end: Engine.ApplicationEnd) {
    perform { $0.engine.detachChannel(channel, end, now: .current) }
  }

  func free(_ channel: ChannelID) { perform { $0.engine.freeChannel(channel) } }

  func catchUp(_ channel: ChannelID) {
    perform { $0.engine.catchUp(channel, now: .current) }
  }

  func isClaimed(_ flow: FlowAddress, by claims: [Engine.ExportClaim]) -> Bool {
    perform { $0.engine.isClaimed(flow, by: claims) }
  }

  func exportConnection(
    _ flow: FlowAddress, _ claims: [Engine.ExportClaim]
  ) -> Result<ExportedConnection, Engine.ExportRefusal> {
    perform { $0.engine.exportConnection(flow, claims: claims, now: .current) }
  }

  func exportableConnections(_ claim: Engine.ExportClaim) -> [FlowAddress] {
    perform { $0.engine.exportableConnections(claim) }
  }

  func addListener(_ listener: ListenerDescription) -> Bool {
    perform {
      let isAdded = $0.engine.addListener(
        listener.number, address: listener.address, port: listener.port,
        ipv6Only: listener.ipv6Only, backlog: listener.backlog)
      $0.engine.updateListener(
        listener.number, backlog: listener.backlog, options: listener.options)
      return isAdded
    }
  }

  func updateListener(_ listener: ListenerDescription) {
    perform {
      $0.engine.updateListener(
        listener.number, backlog: listener.backlog, options: listener.options)
    }
  }

  func removeListener(_ number: UInt32) {
    perform { $0.engine.removeListener(number) }
  }

  func join(_ number: UInt32, channel: ChannelID, remote: Bool) -> Bool {
    perform { $0.engine.joinListener(number, channel: channel, remote: remote, now: .current) }
  }

  func leave(_ number: UInt32, channel: ChannelID) {
    perform { $0.engine.leaveListener(number, channel: channel) }
  }

  func connectionCount(onPort port: UInt16) -> Int {
    perform { $0.engine.connectionCount(onPort: port) }
  }

  func setLocalAddresses(_ addresses: [LocalAddress]) {
    perform { loop in
      loop.engine.setLocalAddresses(
        addresses.map { (interface: $0.interface, address: $0.address) })
    }
  }

  func updateInterface(_ interface: Int, macAddress: MACAddress, mtu: Int) {
    perform { $0.engine.updateInterface(interface, macAddress: macAddress, mtu: mtu) }
  }

  func setPaths(_ paths: [PathConfiguration]) {
    // Plain values, though FSStack does not say that they may cross threads.
    nonisolated(unsafe) let paths = paths
    perform { loop in for path in unsafe paths { loop.engine.setPath(path) } }
  }

  func removePaths(_ destinations: [IPAddress]) {
    perform { loop in for destination in destinations { loop.engine.removePath(destination) } }
  }

  /// The cards' hash leads elsewhere now, or nil: as at the start.
  func setArrivals(_ scaling: ReceiveSideScaling?) {
    perform { $0.engine.setArrivals(scaling) }
  }

  /// The kernel has connections of its own on these ports of the range of active opens.
  func setKernelPorts(_ ports: Set<UInt16>) {
    perform { $0.engine.setKernelPorts(ports) }
  }

  func advanceRouteGeneration() {
    perform { $0.engine.advanceRouteGeneration() }
  }

  func snapshot() -> EngineSnapshot {
    perform { $0.snapshot() }
  }
}
