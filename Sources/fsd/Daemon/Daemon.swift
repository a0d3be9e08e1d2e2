import CLinux
import FSDevice
import FSRing
import FSStack
import Glibc

/// The daemon: what it sets up, in order, and what it undoes.
final class Daemon {
  private let options: DaemonOptions
  private let teardown = Teardown()
  private let loop: EventLoop
  private let outbox: Outbox
  private let started = MonotonicClock.now

  private var devices: [ManagedDevice] = []
  private var engines: [EngineThread] = []
  private var plan = EnginePlan(processors: [], placement: .merged)
  private var topology = Topology(processors: [])
  private var network: NetworkMirror?
  private var paths: PathDirectory?
  private var activePorts: ActivePorts?
  private var steering: CardSteering?
  private var monitor: EthtoolMonitor?
  private var server: ControlServer?
  private var ticks: UInt64 = 0

  /// Seconds between two looks for kernel sockets among the active ports, and at the cards.
  private static let reviewPeriod: UInt64 = 10

  private init(_ options: DaemonOptions) throws(SystemError) {
    self.options = options
    loop = try EventLoop()
    outbox = try Outbox()
  }

  /// Sets everything up, calls `ready` with a line for each interface, serves until it is told to
  /// stop, and undoes everything.
  static func run(_ options: DaemonOptions, ready: ([String]) -> Void) throws {
    let daemon = try Daemon(options)
    do {
      try daemon.setUp()
      ready(daemon.summary())
      daemon.loop.run()
      Log.note("stopping")
      daemon.teardown.run()
    } catch {
      daemon.teardown.run()
      throw error as? Failure ?? Failure("\(error)")
    }
  }

  private func setUp() throws {
    try Preflight.checkPrivileges()
    try takeRuntimeDirectory()
    try watchSignals()
    PinnedThread.prepareInterruption()
    Self.raiseDescriptorLimit()
    try Preflight.checkKernel()
    let journal = RestoreJournal(path: options.paths.journal)
    for sentence in try journal.undoStale() { Log.note(sentence) }
    teardown.add { for sentence in journal.undo() { Log.note(sentence) } }
    let interfaces = try prepareInterfaces(journal)
    let configuration = EngineConfiguration(
      engineIndex: 0, engineCount: plan.processors.count, secret: (0, 0, 0, 0))
    try ReservedPorts.reserve(configuration.activePorts, journal: journal)
    try openDevices(interfaces)
    try startEngines()
    try startNetwork(interfaces, activePorts: configuration.activePorts)
    for device in devices { try device.open() }
    teardown.add { [devices] in for device in devices { device.shut() } }
    try startServer()
    for device in devices { bindQueues(of: device.interface, journal) }
  }

  private func takeRuntimeDirectory() throws {
    let paths = options.paths
    let made = try RuntimeDirectory.make(paths.directory) || options.directoryIsOurs
    let keepsLog = options.logFile != nil
    // The standard one may be from a daemon that crashed; it goes too, if nothing else is in it.
    if made || paths.directory == RuntimePaths.standard {
      teardown.add { _ = unsafe rmdir(paths.directory) }
    }
    let lock = try RuntimeDirectory.lock(paths)
    teardown.add {
      if !keepsLog { _ = unsafe unlink(paths.log) }
      _ = unsafe unlink(paths.processFile)
      withExtendedLifetime(lock) {}
    }
  }

  private func watchSignals() throws {
    let signals = try SignalDescriptor([SIGTERM, SIGINT])
    _ = try loop.add(signals.descriptor.number) { [loop] in
      if let number = signals.take() {
        Log.note("received \(number == SIGINT ? "SIGINT" : "SIGTERM")")
        loop.stop()
      }
    }
  }

  /// Each channel takes two descriptors, each process one.
  private static func raiseDescriptorLimit() {
    var limit = rlimit(rlim_cur: 1 << 20, rlim_max: 1 << 20)
    if unsafe setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 { return }
    unsafe getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
    limit.rlim_cur = limit.rlim_max
    _ = unsafe setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
  }

  /// What has to be done to the cards before their XDP programs, in the order in which they can bear it:
  /// features in the way off, queues, ring sizes, flow rules. Each may reset the card.
  private func prepareInterfaces(_ journal: RestoreJournal) throws -> [NetworkInterface] {
    var interfaces = try Preflight.interfaces(options.interfaces)
    plan = try makePlan(interfaces.map { ($0.name, $0.maximumQueueCount) })
    for position in interfaces.indices {
      let interface = interfaces[position]
      try interface.prepareForXDP(journal: journal)
      if interface.hasCombinedQueues { setQueues(interface, journal) }
      if let size = options.ringSize {
        do throws(DeviceError) {
          try interface.setRingSize(size, journal: journal)
        } catch {
          Log.note("\(interface.name): the rings stay as they are: \(error)")
        }
      }
      if let time = options.coalesceMicroseconds {
        do throws(DeviceError) {
          try InterruptCoalescing(interface: interface.name).set(
            microseconds: time, journal: journal)
        } catch {
          Log.note("\(interface.name): packets do not gather: \(error)")
        }
      }
      interfaces[position] = try NetworkInterface(named: interface.name)
    }
    // Where queues could not be had there are fewer engines.
    plan = try makePlan(interfaces.map { ($0.name, $0.queueCount) })
    steering = try CardSteering(
      interfaces, engineCount: plan.processors.count, journal: journal)
    return interfaces
  }

  private func setQueues(_ interface: NetworkInterface, _ journal: RestoreJournal) {
    do throws(DeviceError) {
      try interface.setQueueCount(plan.processors.count, journal: journal)
    } catch {
      Log.note("\(interface.name): the queues stay as they are: \(error)")
    }
  }

  /// Interrupts, and the queues that processors send through. Both only tune.
  private func bindQueues(of interface: NetworkInterface, _ journal: RestoreJournal) {
    guard interface.followsFlowHash else { return }
    let bound = QueueAffinity(interface: interface.name).bind(
      processors: (0..<interface.queueCount).map { plan.processor(ofQueue: $0) },
      journal: journal)
    Log.note(
      "\(interface.name): bound \(bound.interrupts) interrupts and \(bound.transmitQueues) transmit queues"
    )
  }

  private func makePlan(_ queues: [EnginePlan.Interface]) throws -> EnginePlan {
    topology = Topology(of: try ProcessorSet.allowed().members)
    return EnginePlan.make(
      interfaces: queues, topology: topology,
      chosen: try options.cores.map { try Preflight.processors($0) }, placement: options.placement,
      node: options.interfaces.lazy.compactMap { Topology.node(ofInterface: $0) }.first)
  }

  private func openDevices(_ interfaces: [NetworkInterface]) throws {
    for interface in interfaces {
      let nodes = (0..<interface.queueCount).map {
        topology.node(of: plan.processor(ofQueue: $0))
      }
      let device = try ManagedDevice(interface, attach: options.attach, nodes: nodes)
      devices.append(device)
      teardown.add { device.close() }
      if let refusal = device.program.nativeRefusal {
        Log.note("\(interface.name): generic mode, because the driver refused: \(refusal)")
      }
    }
  }
}

// Engines.
extension Daemon {
  private func startEngines() throws {
    let count = plan.processors.count
    let frameSize = devices.map { $0.sockets[0].frameSize }.max() ?? 2048
    let doorbells = try (0..<count).map { _ in try EngineDoorbell() }
    var rings: [[HandOverRing?]] = []
    for from in 0..<count {
      rings.append(
        try (0..<count).map { to in
          from == to ? nil : try HandOverRing(frameSize: frameSize)
        })
    }
    let secret = try Self.randomWords()
    for index in 0..<count {
      var configuration = EngineConfiguration(
        engineIndex: index, engineCount: count, secret: secret)
      configuration.congestionAlgorithm = options.congestion
      configuration.ecn = options.ecn
      configuration.softwareSteering = steering?.isSoftware ?? false
      configuration.receiveSideScaling = steering?.scaling
      configuration.activeSteering = steering?.active ?? ActiveSteering()
      let peers = EngineLoop.Peers(
        incoming: rings.compactMap { $0[index] }, outgoing: rings[index], doorbells: doorbells)
      let engine = try EngineThread(
        EngineThread.Setup(
          index: index, processor: plan.processors[index], policy: policy,
          configuration: configuration, interfaces: places(ofEngine: index),
          loopback: try LoopbackFrames(), peers: peers, outbox: outbox))
      engines.append(engine)
      teardown.add { engine.stop() }
    }
  }

  private var policy: IdlePolicy {
    IdlePolicy(
      placement: plan.placement,
      budgetNanoseconds: options.spinMicroseconds.map { $0 * 1000 }
        ?? IdlePolicy.budget(
          for: plan.placement, packetsGather: options.coalesceMicroseconds ?? 0 > 0))
  }

  private func places(ofEngine index: Int) -> [EngineThread.Setup.Interface] {
    devices.map { device in
      let queues = plan.queues(ofEngine: index, queueCount: device.sockets.count)
      return EngineThread.Setup.Interface(
        name: device.interface.name, macAddress: device.interface.macAddress,
        mtu: device.interface.mtu, isVirtual: device.interface.isVirtual,
        sockets: queues.map { device.sockets[$0] })
    }
  }

  private static func randomWords() throws -> (UInt64, UInt64, UInt64, UInt64) {
    var words: (UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0)
    let count = unsafe withUnsafeMutableBytes(of: &words) {
      unsafe getrandom($0.baseAddress, $0.count, 0)
    }
    guard count == MemoryLayout.size(ofValue: words) else { throw SystemError("getrandom") }
    return words
  }
}

// The network as the kernel sees it.
extension Daemon {
  private func startNetwork(
    _ interfaces: [NetworkInterface], activePorts range: ClosedRange<UInt16>
  ) throws {
    let network = try NetworkMirror()
    self.network = network
    let paths = PathDirectory(
      engines: engines, network: network,
      interfaces: interfaces.enumerated().map { number, interface in
        ManagedInterface(
          number: number, name: interface.name, index: interface.index,
          macAddress: interface.macAddress, mtu: interface.mtu)
      })
    self.paths = paths
    activePorts = ActivePorts(range: range, devices: devices)
    updateAddresses()
    // What changed before the mirror was there.
    for link in network.links.values { paths.linkChanged(link) }
    _ = try loop.add(network.descriptor) { [unowned self] in followNetwork() }
    followCards()
    _ = try loop.add(outbox.event.descriptor.number) { [unowned self] in
      for notice in outbox.take() { server?.handle(notice) }
    }
  }

  /// Cards are looked at again when the kernel says that ethtool has changed something, when a link comes
  /// up, and from time to time, as older kernels say nothing of hash and rules.
  private func followCards() {
    guard steering?.needsReview == true else { return }
    do throws(DeviceError) {
      let monitor = try EthtoolMonitor()
      _ = try? loop.add(monitor.descriptor) { [unowned self] in
        let changed = monitor.changedInterfaces()
        let ours = devices.contains { changed?.contains($0.interface.index) ?? true }
        if ours { steering?.review(engines) }
      }
      self.monitor = monitor
    } catch {
      Log.note("changes of the cards are noticed later: \(error)")
    }
  }

  private func updateAddresses() {
    guard let paths else { return }
    let addresses = paths.localAddresses()
    for engine in engines { engine.setLocalAddresses(addresses) }
    for (number, device) in devices.enumerated() {
      device.setAddresses(
        Set(addresses.lazy.filter { $0.interface == number }.map(\.address)))
    }
  }

  private func followNetwork() {
    guard let network, let paths else { return }
    var addressesChanged = false
    var routesChanged = false
    for change in network.processNotifications() {
      switch change {
      case .link(let link):
        paths.linkChanged(link)
        if link.isUp, devices.contains(where: { $0.interface.index == link.index }) {
          steering?.review(engines)
        }
      case .linkRemoved(let index): noteLoss(ofLink: index)
      case .addresses: addressesChanged = true
      case .neighbour(let interface, let address, let macAddress):
        paths.neighbourChanged(
          interface: interface, address: address, macAddress: macAddress)
      case .routes: routesChanged = true
      case .resynchronised:
        for link in network.links.values { paths.linkChanged(link) }
        addressesChanged = true
        routesChanged = true
      }
    }
    if addressesChanged { updateAddresses() }
    if addressesChanged || routesChanged { paths.routesChanged() }
  }

  private func noteLoss(ofLink index: Int) {
    guard let device = devices.first(where: { $0.interface.index == index }) else { return }
    Log.note("interface \(device.interface.name) is gone; restart the daemon when it is back")
  }
}

// The control socket.
extension Daemon {
  private func startServer() throws {
    guard let paths else { return }
    let path = options.paths.socket
    let listener = try ControlSocket.listen(at: path)
    teardown.add { _ = unsafe unlink(path) }
    let steering = DeviceSteering(devices: devices)
    let server = try ControlServer(
      listener: listener, loop: loop,
      services: ControlServer.Services(
        engines: engines, listeners: ListenerTable(engines: engines, steering: steering),
        paths: paths,
        placement: EnginePlacement(
          processors: plan.processors, siblings: topology.siblings, placement: plan.placement),
        status: { [unowned self] in status() }, statistics: { [unowned self] in statistics() },
        kernelSockets: { orders throws(DeviceError) in try KernelConnection.make(orders) },
        expectKernelFlow: { [unowned self] in expectKernelFlow($0) },
        stop: { [loop] in loop.stop() }))
    self.server = server
    // Undone last: who asked for the end learns of it when everything else is undone.
    teardown.addFirst { server.answerStopRequests() }
    teardown.add { server.closeListener() }
    loop.needsTicks = { [unowned server] in server.needsTicks || !server.connections.isEmpty }
    loop.onTick = { [unowned self] in tick() }
  }

  private func expectKernelFlow(_ flow: FlowAddress) {
    activePorts?.expectKernelFlow(onPort: flow.localPort)
    for device in devices {
      do throws(DeviceError) {
        try device.program.addMovedFlow(flow)
      } catch {
        Log.note("\(device.interface.name): the end of a connection may be lost: \(error)")
      }
    }
  }

  private func tick() {
    ticks += 1
    for engine in engines { engine.ensureProgress() }
    server?.tick()
    guard ticks % Self.reviewPeriod == 0 else { return }
    activePorts?.review()
    if steering?.needsReview == true { steering?.review(engines) }
  }

  private func statistics() -> JSON {
    StatisticsReport.make(
      engines: engines.map { $0.snapshot() },
      programs: devices.map { device in
        (
          device.interface.name,
          device.program.counters().entries.map { (Fields.snakeCase($0.name), $0.value) }
        )
      },
      interfaces: devices.map { device in
        (
          device.interface.name,
          device.interface.statistics(named: ["fdir_match", "fdir_miss", "fdir_overflow"])
        )
      },
      acceptsCommon: acceptsCommon(), handOvers: server?.handOvers ?? KernelHandOverCounters(),
      held: server?.held.count ?? 0,
      uptimeNanoseconds: MonotonicClock.now - started)
  }

  /// Connections that running programs have accepted by way of the kernel.
  private func acceptsCommon() -> UInt64 {
    let processes = Set(
      server?.connections.values.filter(\.isApplication).map(\.peer.process) ?? [])
    return processes.reduce(0) { sum, process in
      let counters = try? FallbackCounters(process: process)
      return sum + (counters?.count(ofReasonBeginning: "accept:") ?? 0)
    }
  }

  private func status() -> JSON {
    guard let server, let paths else { return .null }
    return StatusReport.make(
      directory: options.paths.directory, uptimeNanoseconds: MonotonicClock.now - started,
      interfaces: zip(paths.interfaces, devices).enumerated().map { position, both in
        let (interface, device) = both
        return StatusReport.Interface(
          interface: interface, driver: device.interface.driver, queues: device.sockets.count,
          mode: device.modes, attach: device.program.attachMode.rawValue,
          coalesceMicroseconds: options.coalesceMicroseconds,
          addresses: paths.localAddresses().filter { $0.interface == interface.number }
            .map(\.address), steering: steering?.report(position) ?? .null)
      },
      engines: plan, topology: topology, server: server)
  }

  /// A line for each interface, and what is worth knowing beside.
  private func summary() -> [String] {
    var lines = devices.map { device in
      let queues = device.sockets.count
      return "\(device.interface.name): \(queues) \(queues == 1 ? "queue" : "queues"), "
        + "\(device.modes) mode, served by \(engineText)"
    }
    if let limit = plan.limit {
      lines.append(
        "no more engines, because \(limit), and each needs one of its own on every interface")
    }
    return lines
  }

  private var engineText: String {
    let list = plan.processors.map(String.init).joined(separator: ",")
    return plan.processors.count == 1
      ? "1 engine on processor \(list)"
      : "\(plan.processors.count) engines on processors \(list)"
  }
}
