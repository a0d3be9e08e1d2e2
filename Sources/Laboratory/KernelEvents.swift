import CLaboratory
import Foundation

/// What the kernel does on one core, counted as long as this lives: system calls, wake-ups and context
/// switches. Counting costs time: not for runs in which time is measured.
public final class KernelEvents {
  private var descriptors: [(name: String, number: Int32)] = []

  /// Tracepoints, with what they count.
  private static let tracepoints = [
    ("system calls", "raw_syscalls/sys_enter"), ("wake-ups", "sched/sched_waking"),
    ("context switches", "sched/sched_switch"),
  ]

  /// Begins to count. `laboratory` lends a directory for the kernel's list of tracepoints.
  public init(onCore core: Int, _ laboratory: Laboratory) throws {
    let directory = try laboratory.makeDirectory("tracing-\(laboratory.nextNumber())")
    try laboratory.run(["mount", "-t", "tracefs", "tracefs", directory])
    defer { _ = try? laboratory.run(["umount", directory]) }
    for (name, path) in Self.tracepoints {
      let text = try String(contentsOfFile: "\(directory)/events/\(path)/id", encoding: .utf8)
      guard let number = UInt64(text.trimmingCharacters(in: .whitespacesAndNewlines)) else {
        throw LaboratoryError("no number of \(path): \(text)")
      }
      let descriptor = lab_count_event(
        UInt32(PERF_TYPE_TRACEPOINT.rawValue), number, Int32(core))
      guard descriptor >= 0 else {
        throw LaboratoryError(
          "the kernel does not count \(path): \(unsafe String(cString: strerror(errno)))")
      }
      descriptors.append((name, descriptor))
    }
  }

  /// The counts so far, by name.
  public var counts: [String: UInt64] {
    descriptors.reduce(into: [:]) { result, descriptor in
      var value: UInt64 = 0
      let length = unsafe read(descriptor.number, &value, 8)
      result[descriptor.name] = length == 8 ? value : 0
    }
  }

  deinit { for descriptor in descriptors { close(descriptor.number) } }
}
