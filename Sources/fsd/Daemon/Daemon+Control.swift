import FSDevice
import FSStack
import Glibc

// The control socket.
extension Daemon {
  func startServer() throws {
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

  /// Seconds between two looks for kernel sockets among the active ports, for closed listeners, and at the cards.
  private static let reviewPeriod: UInt64 = 10

  private func tick() {
    ticks += 1
    for engine in engines { engine.ensureProgress() }
    server?.tick()
    guard ticks % Self.reviewPeriod == 0 else { return }
    activePorts?.review()
    forgetClosedListeners()
    if steering?.needsReview == true { steering?.review(engines) }
  }

  private func forgetClosedListeners() {
    guard let listeners = server?.services.listeners, !listeners.listeners.isEmpty else { return }
    do throws(DeviceError) {
      listeners.forgetClosed(cookies: try KernelFlows.listeningCookies())
    } catch {
      Log.note("whether listening sockets are open is not known: \(error)")
    }
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
      processes: processes(), handOvers: server?.handOvers ?? KernelHandOverCounters(),
      held: server?.held.count ?? 0,
      uptimeNanoseconds: MonotonicClock.now - started)
  }

  /// Running programs with the library.
  private func processes() -> [Int32] {
    Set(server?.connections.values.filter(\.isApplication).map(\.peer.process) ?? []).sorted()
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
          coalescedMicroseconds: device.interface.coalescedMicroseconds,
          addresses: paths.localAddresses().filter { $0.interface == interface.number }
            .map(\.address), steering: steering?.report(position) ?? .null)
      },
      engines: plan, topology: topology, server: server)
  }

  /// A line for each interface, and what is worth knowing beside.
  func summary() -> [String] {
    var lines = devices.map { device in
      let queues = device.sockets.count
      return "\(device.interface.name): \(queues) \(queues == 1 ? "queue" : "queues"), "
        + "\(device.modes) mode, served by \(engineText)"
    }
    if let limit = plan.limit {
      lines.append(
        "no more engines, because \(limit), and each needs one of its own on every interface")
    }
    let tracked = try? TextFile.readLine("/proc/sys/net/netfilter/nf_conntrack_count")
    if let tracked, tracked != "0", let range = activePorts?.range {
      lines.append(
        "connections are tracked: if this host translates addresses (NAT), it must not choose ports "
          + "\(range.lowerBound)-\(range.upperBound), which are the engines' now")
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
