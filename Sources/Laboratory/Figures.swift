import Foundation

// Numbers and the machine, as reports of measurements show them.

/// The middle value, or the mean of the two in the middle; 0 of nothing.
public func median(_ values: [Double]) -> Double {
  let sorted = values.sorted()
  guard !sorted.isEmpty else { return 0 }
  let middle = sorted.count / 2
  return sorted.count % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
}

/// A number with its thousands apart.
public func grouped(_ number: Int) -> String {
  var text = ""
  for (position, digit) in String(number).reversed().enumerated() {
    if position > 0 && position % 3 == 0 { text = "," + text }
    text = String(digit) + text
  }
  return text
}

/// A whole number with its thousands apart, rounded.
public func grouped(_ number: Double) -> String { grouped(Int(number.rounded())) }

/// What a figure was measured on.
public struct Machine: Sendable {
  /// Processors that are there.
  public let processorCount = ProcessInfo.processInfo.activeProcessorCount
  /// What the processors call themselves.
  public let processor: String
  /// The release of the kernel, as uname(1) tells it.
  public let kernelRelease: String

  /// This machine.
  public init() {
    processor =
      (try? String(contentsOfFile: "/proc/cpuinfo", encoding: .utf8))?
      .split(separator: "\n").first { $0.hasPrefix("model name") }?
      .split(separator: ":").last?.trimmingCharacters(in: .whitespaces) ?? "unknown processor"
    kernelRelease =
      (try? String(contentsOfFile: "/proc/sys/kernel/osrelease", encoding: .utf8))?
      .trimmingCharacters(in: .whitespacesAndNewlines) ?? "?"
  }
}
