import FSDevice
import FSStack

/// One network interface in the daemon's hands: its XDP program and its AF_XDP sockets.
final class ManagedDevice {
  let interface: NetworkInterface
  let program: XDPProgram
  /// By queue.
  let sockets: [XDPSocket]
  /// Addresses that the XDP program knows.
  private var addresses: Set<IPAddress> = []

  /// Attaches the program and opens the sockets, the memory of each on the NUMA node of its queue's
  /// engine. Nothing is redirected yet.
  init(
    _ interface: NetworkInterface, attach: XDPProgram.AttachPreference, nodes: [Int?]
  ) throws(DeviceError) {
    self.interface = interface
    let program = try XDPProgram(interface: interface, prefer: attach)
    self.program = program
    var sockets: [XDPSocket] = []
    do throws(DeviceError) {
      for queue in 0..<interface.queueCount {
        var configuration = XDPSocket.Configuration(for: interface)
        configuration.node = nodes[queue]
        sockets.append(
          try XDPSocket(
            interface: interface, queue: queue, attachMode: program.attachMode,
            configuration: configuration))
      }
    } catch {
      for socket in sockets { socket.close() }
      program.close()
      throw error
    }
    self.sockets = sockets
  }

  /// Packets come to the sockets from now on.
  func open() throws(DeviceError) {
    for socket in sockets {
      try program.setSocket(queue: socket.queue, descriptor: socket.descriptor)
    }
  }

  /// Packets are the kernel's again.
  func shut() {
    for socket in sockets { program.clearSocket(queue: socket.queue) }
  }

  /// Closes everything. No engine may use the sockets any more.
  func close() {
    for socket in sockets { socket.close() }
    program.close()
  }

  /// The addresses whose ports are steered are these now.
  func setAddresses(_ wanted: Set<IPAddress>) {
    for address in addresses.subtracting(wanted) { program.removeAddress(address) }
    for address in wanted.subtracting(addresses) {
      do throws(DeviceError) {
        try program.addAddress(address)
      } catch {
        Log.note("\(interface.name): \(address) stays with the kernel: \(error)")
      }
    }
    addresses = wanted
  }

  /// How packets get in: the one word for all queues, or each.
  var modes: String {
    let modes = sockets.map(\.mode.rawValue)
    return Set(modes).count == 1 ? modes[0] : modes.joined(separator: "/")
  }
}

/// The XDP programs of all interfaces, as listeners see them.
final class DeviceSteering: PortSteering {
  private let devices: [ManagedDevice]

  init(devices: [ManagedDevice]) {
    self.devices = devices
  }

  func setPort(_ address: IPAddress, _ port: UInt16, _ treatment: PortTreatment) throws {
    let flags: XDPProgram.PortFlags
    switch treatment {
    case .all: flags = []
    case .exceptKernelFlows: flags = .kernelFlows
    case .draining: flags = [.draining, .kernelFlows]
    }
    for device in devices { try device.program.setPort(address, port, flags: flags) }
  }

  func removePort(_ address: IPAddress, _ port: UInt16) {
    for device in devices { device.program.removePort(address, port) }
  }

  func kernelHasFlows(onPorts ports: ClosedRange<UInt16>) -> Bool {
    do throws(DeviceError) {
      return try KernelFlows.count(localPorts: ports).live > 0
    } catch {
      // Not knowing, the careful treatment stays.
      return true
    }
  }
}
