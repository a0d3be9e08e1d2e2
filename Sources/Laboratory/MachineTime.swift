import CLaboratory
import Foundation

/// Time that the processors of the whole machine have spent, from /proc/stat.
public struct MachineTime: Sendable {
  /// Seconds in programs, the kernel and interrupts, per core.
  public private(set) var busy: [Double] = []
  /// Seconds that the hypervisor gave to others, per core.
  public private(set) var stolen: [Double] = []

  /// Nothing spent.
  public init() {}

  /// Reads the present state.
  public static func read() throws -> MachineTime {
    var time = MachineTime()
    let text = try String(contentsOfFile: "/proc/stat", encoding: .utf8)
    let hertz = Double(sysconf(Int32(_SC_CLK_TCK)))
    for line in text.split(separator: "\n") where line.hasPrefix("cpu") && !line.hasPrefix("cpu ") {
      // user nice system idle iowait irq softirq steal
      let ticks = line.split(separator: " ").dropFirst().compactMap { Double($0) }
      guard ticks.count >= 8 else { continue }
      time.busy.append((ticks[0] + ticks[1] + ticks[2] + ticks[5] + ticks[6]) / hertz)
      time.stolen.append(ticks[7] / hertz)
    }
    return time
  }

  /// What has been spent since `earlier`.
  public func since(_ earlier: MachineTime) -> MachineTime {
    var difference = MachineTime()
    difference.busy = zip(busy, earlier.busy).map { $0 - $1 }
    difference.stolen = zip(stolen, earlier.stolen).map { $0 - $1 }
    return difference
  }

  /// Busy seconds of all cores.
  public var totalBusy: Double { busy.reduce(0, +) }
  /// Stolen seconds of all cores.
  public var totalStolen: Double { stolen.reduce(0, +) }
}
