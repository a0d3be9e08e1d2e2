import Foundation
import Testing

@testable import FSDevice

/// What the kernel tells of ethtool's changes.
@Suite struct EthtoolMonitorTests {
  @Test func changesAreTold() throws {
    let network = try TestNetwork()
    let monitor = try network.host { try EthtoolMonitor() }
    let index = try network.interface().index
    #expect(monitor.changedInterfaces() == [])
    for state in ["on", "off"] {
      try run("ip netns exec \(network.host.name) ethtool -K fsdev0 gro \(state)")
    }
    #expect(monitor.changedInterfaces() == [index])
    #expect(monitor.changedInterfaces() == [])
  }
}

/// Where the memory of frames is.
@Suite struct FrameMemoryTests {
  /// The kernel's policy for the memory is to prefer the node; one that does not exist does no harm.
  @Test func preferredNode() throws {
    let memory = try FrameMemory(size: 1 << 20, node: 0, for: "a test")
    memory.base.storeBytes(of: 1, as: UInt8.self)
    let address = UInt(bitPattern: memory.base)
    let maps = try TextFile.read("/proc/self/numa_maps").split(separator: "\n")
    // The mapping that begins at or before it.
    let line = maps.last { line in
      (UInt(line.prefix { $0 != " " }, radix: 16) ?? .max) <= address
    }
    #expect(line?.contains(" prefer:0 ") == true, "\(line ?? "no line")")
    let far = try FrameMemory(size: 4096, node: 700, for: "a test")
    far.base.storeBytes(of: 1, as: UInt8.self)
    let plain = try FrameMemory(size: 4096, for: "a test")
    plain.base.storeBytes(of: 1, as: UInt8.self)
  }
}
