/// Which processors share a physical core.
enum Topology {
  /// For each processor, those of its physical core, itself included; from sysfs.
  static func siblings(of processors: [Int]) -> [Int: [Int]] {
    var result: [Int: [Int]] = [:]
    for processor in processors {
      let path = "/sys/devices/system/cpu/cpu\(processor)/topology/thread_siblings_list"
      let text = TextFile.read(path)?.split(separator: "\n").first.map(String.init) ?? ""
      if case .success(let list) = CoreList.parse(text) {
        result[processor] = list.processors
      } else {
        result[processor] = [processor]
      }
    }
    return result
  }

  /// The processors for engines that keep away from applications: the second hyper-thread of each
  /// physical core, or, without hyper-threads, the upper half of the processors.
  static func splitProcessors(_ processors: [Int], siblings: [Int: [Int]]) -> [Int] {
    let seconds = processors.filter { processor in
      (siblings[processor] ?? []).contains { $0 < processor && processors.contains($0) }
    }
    if !seconds.isEmpty { return seconds }
    return Array(processors.suffix(max(1, processors.count / 2)))
  }
}
