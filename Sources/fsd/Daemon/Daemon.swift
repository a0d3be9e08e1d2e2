import FSDevice
import FSStack
import Glibc

/// The daemon: what it sets up, in order, and what it undoes.
final class Daemon {
  let options: DaemonOptions
  let teardown = Teardown()
  let loop: EventLoop
  let outbox: Outbox
  let started = MonotonicClock.now

  var devices: [ManagedDevice] = []
  var engines: [EngineThread] = []
  var plan = EnginePlan(processors: [], placement: .merged)
  var topology = Topology(processors: [])
  var network: NetworkMirror?
  var paths: PathDirectory?
  var activePorts: ActivePorts?
  var steering: CardSteering?
  var monitor: EthtoolMonitor?
  var server: ControlServer?
  var ticks: UInt64 = 0

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

  /// SIGHUP comes when the terminal closes; with nohup(1) it is ignored, and stays so. Nobody may read what the
  /// daemon writes any more: that is no reason to end.
  private func watchSignals() throws {
    signal(SIGPIPE, SIG_IGN)
    var names = [SIGTERM: "SIGTERM", SIGINT: "SIGINT"]
    if !SignalDescriptor.isIgnored(SIGHUP) { names[SIGHUP] = "SIGHUP" }
    let signals = try SignalDescriptor(Array(names.keys))
    _ = try loop.add(signals.descriptor.number) { [loop] in
      if let number = signals.take() {
        Log.note("received \(names[number] ?? "signal \(number)")")
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
  /// features in the way off, queues, ring sizes, how long packets gather, flow rules. Most may reset the card.
  private func prepareInterfaces(_ journal: RestoreJournal) throws -> [NetworkInterface] {
    var interfaces = try Preflight.interfaces(options.interfaces)
    plan = try makePlan(interfaces.map { ($0.name, $0.maximumQueueCount) })
    for position in interfaces.indices {
      let interface = interfaces[position]
      try interface.prepareForXDP(journal: journal)
      tune(interface, journal)
      interfaces[position] = try NetworkInterface(named: interface.name)
    }
    // Where queues could not be had there are fewer engines.
    plan = try makePlan(interfaces.map { ($0.name, $0.queueCount) })
    steering = try CardSteering(
      interfaces, engineCount: plan.processors.count, journal: journal)
    return interfaces
  }

  /// What a card may refuse: then it stays as it is.
  private func tune(_ interface: NetworkInterface, _ journal: RestoreJournal) {
    func attempt(_ subject: String, _ change: () throws(DeviceError) -> Void) {
      do throws(DeviceError) {
        try change()
      } catch {
        Log.note("\(interface.name): \(subject) as before: \(error)")
      }
    }
    if interface.hasCombinedQueues {
      attempt("queues") { () throws(DeviceError) in
        try interface.setQueueCount(plan.processors.count, journal: journal)
      }
    }
    if let size = options.ringSize {
      attempt("rings") { () throws(DeviceError) in
        try interface.setRingSize(size, journal: journal)
      }
    }
    if let time = options.coalesceMicroseconds {
      attempt("interrupts") { () throws(DeviceError) in
        try interface.coalesceInterrupts(microseconds: time, journal: journal)
      }
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
