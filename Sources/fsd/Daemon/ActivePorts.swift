import FSDevice
import FSStack

/// The range of source ports for connections that applications open: kept from the kernel, steered
/// to the engines. Sockets that the kernel has there all the same stay the kernel's.
final class ActivePorts {
  private let devices: [ManagedDevice]
  private let engines: [EngineThread]
  let range: ClosedRange<UInt16>
  private var isCareful = true
  private var kernelPorts: Set<UInt16> = []

  /// Steers the range, carefully at first.
  init(range: ClosedRange<UInt16>, devices: [ManagedDevice], engines: [EngineThread]) {
    self.range = range
    self.devices = devices
    self.engines = engines
    steer()
    review()
  }

  private func steer() {
    for device in devices {
      device.program.setActiveRange(range, flags: isCareful ? .kernelFlows : [])
    }
  }

  /// The kernel is about to have a connection of its own on a port.
  func expectKernelFlow(onPort port: UInt16) {
    guard range.contains(port), !isCareful else { return }
    isCareful = true
    steer()
  }

  /// Looks whether the kernel has sockets in the range. While it has, it is asked about each packet,
  /// which costs time, and engines connect from other ports.
  func review() {
    do throws(DeviceError) {
      let count = try KernelFlows.count(localPorts: range)
      if count.ports != kernelPorts {
        kernelPorts = count.ports
        for engine in engines { engine.setKernelPorts(kernelPorts) }
      }
      let needsCare = count.live + count.listening > 0
      guard needsCare != isCareful else { return }
      isCareful = needsCare
      steer()
    } catch {
      Log.note("ports \(range.lowerBound)-\(range.upperBound): \(error)")
    }
  }
}
