import FSDevice
import FSStack
import Glibc

/// The JSON of `fsd status`.
enum StatusReport {
  /// A managed interface.
  struct Interface {
    var interface: ManagedInterface
    var driver: String
    var queues: Int
    var mode: String
    var attach: String
    /// How long packets gather.
    var coalescedMicroseconds: Int
    var addresses: [IPAddress]
    /// How its packets find their engines.
    var steering: JSON
  }

  /// Puts together what the daemon serves, and whom.
  static func make(
    directory: String, uptimeNanoseconds: UInt64, interfaces: [Interface], engines: EnginePlan,
    topology: Topology, server: ControlServer
  ) -> JSON {
    .object([
      JSON.Member("process", .count(Int(getpid()))),
      JSON.Member("uptime_milliseconds", .count(uptimeNanoseconds / 1_000_000)),
      JSON.Member("runtime_dir", .string(directory)),
      JSON.Member("placement", .string(engines.placement.rawValue)),
      JSON.Member("placement_reason", .string(engines.reason.rawValue)),
      JSON.Member("interfaces", .array(interfaces.map(interface))),
      JSON.Member("engines", .array(engineList(engines, topology, server))),
      JSON.Member("applications", .array(applications(server))),
      JSON.Member("listeners", .array(listeners(server))),
      JSON.Member("ports", .array(server.services.listeners.ports.summary.map(port))),
      JSON.Member("paths", .count(server.services.paths.count)),
    ])
  }

  private static func interface(_ entry: Interface) -> JSON {
    .object([
      JSON.Member("name", .string(entry.interface.name)),
      JSON.Member("driver", .string(entry.driver)),
      JSON.Member("mac_address", .string(entry.interface.macAddress.description)),
      JSON.Member("mtu", .count(entry.interface.mtu)),
      JSON.Member("queues", .count(entry.queues)),
      JSON.Member("mode", .string(entry.mode)),
      JSON.Member("xdp_attach", .string(entry.attach)),
      JSON.Member("coalesce_microseconds", .count(entry.coalescedMicroseconds)),
      JSON.Member("addresses", .array(entry.addresses.map { .string($0.description) })),
      JSON.Member("steering", entry.steering),
    ])
  }

  private static func engineList(
    _ plan: EnginePlan, _ topology: Topology, _ server: ControlServer
  ) -> [JSON] {
    plan.processors.enumerated().map { index, processor in
      let channels = server.connections.values.reduce(0) { count, connection in
        count + connection.channels.count { $0.engine == index }
      }
      return .object([
        JSON.Member("engine", .count(index)),
        JSON.Member("processor", .count(processor)),
        JSON.Member(
          "siblings", .array((topology.siblings[processor] ?? [processor]).map { .count($0) })),
        JSON.Member("node", .count(topology.node(of: processor) ?? 0)),
        JSON.Member("channels", .count(channels)),
      ])
    }
  }

  private static func applications(_ server: ControlServer) -> [JSON] {
    let applications = server.connections.values.filter(\.isApplication)
    return applications.sorted { $0.number < $1.number }.map { connection in
      .object([
        JSON.Member("process", .count(Int(connection.peer.process))),
        JSON.Member("user", .count(Int(connection.peer.user))),
        JSON.Member(
          "name",
          .string((try? TextFile.readLine("/proc/\(connection.peer.process)/comm")) ?? "")),
        JSON.Member("channels", .array(connection.channels.map { .count($0.engine) })),
        JSON.Member("kernel_hand_overs", .count(connection.handOvers)),
      ])
    }
  }

  private static func listeners(_ server: ControlServer) -> [JSON] {
    let listeners = server.services.listeners.listeners.values
    return listeners.sorted { $0.description.number < $1.description.number }.map { listener in
      let processes = listener.processes.sorted().compactMap { server.connections[$0] }
      return .object([
        JSON.Member("listener", .count(Int(listener.description.number))),
        JSON.Member("address", .string(listener.description.address.description)),
        JSON.Member("port", .count(Int(listener.description.port))),
        JSON.Member("ipv6_only", .bool(listener.description.ipv6Only)),
        JSON.Member("backlog", .count(listener.description.backlog)),
        JSON.Member(
          "processes", .array(processes.map { .count(Int($0.peer.process)) })),
        JSON.Member(
          "acceptors",
          .array(
            listener.acceptors.map { acceptor in
              .object([
                JSON.Member(
                  "process",
                  .count(Int(server.connections[acceptor.process]?.peer.process ?? 0))),
                JSON.Member("engine", .count(acceptor.engine)),
                JSON.Member("remote", .bool(acceptor.remote)),
              ])
            })),
      ])
    }
  }

  private static func port(_ key: SteeredPorts.Key, _ treatment: PortTreatment) -> JSON {
    .object([
      JSON.Member("address", .string(key.address.description)),
      JSON.Member("port", .count(Int(key.port))),
      JSON.Member("treatment", .string(Fields.snakeCase("\(treatment)"))),
    ])
  }
}
