import FSDevice

/// Which processors share a physical core, and which are near to which memory: what sysfs says.
struct Topology: Equatable, Sendable {
  /// A processor, which is a hyper-thread where a core has several.
  struct Processor: Equatable, Sendable {
    var number: Int
    /// Those of its physical core, itself included, in ascending order.
    var siblings: [Int]
    /// Its NUMA node.
    var node: Int
  }

  /// In ascending order of their numbers.
  var processors: [Processor]

  /// Reads what there is to know of some processors. `root` is put before /sys: tests have trees of
  /// other machines. What is missing there is taken for a machine without hyper-threads, or with one
  /// node.
  init(of numbers: [Int], root: String = "") {
    let system = root + "/sys/devices/system"
    var nodes: [Int: Int] = [:]
    for node in Self.list("\(system)/node/online") {
      for processor in Self.list("\(system)/node/node\(node)/cpulist") { nodes[processor] = node }
    }
    processors = numbers.sorted().map { number in
      let siblings = Self.list("\(system)/cpu/cpu\(number)/topology/thread_siblings_list").sorted()
      return Processor(
        number: number, siblings: siblings.isEmpty ? [number] : siblings, node: nodes[number] ?? 0)
    }
  }

  /// Processors as given.
  init(processors: [Processor]) {
    self.processors = processors
  }

  private static func list(_ path: String) -> [Int] {
    guard let line = try? TextFile.readLine(path), case .success(let list) = CoreList.parse(line)
    else { return [] }
    return list.processors
  }

  /// The NUMA node of an interface's card; nil if it is on none.
  static func node(ofInterface name: String, root: String = "") -> Int? {
    let line = try? TextFile.readLine("\(root)/sys/class/net/\(name)/device/numa_node")
    return line.flatMap { Int($0) }.flatMap { $0 >= 0 ? $0 : nil }
  }

  /// For each processor, those of its physical core, itself included.
  var siblings: [Int: [Int]] {
    Dictionary(uniqueKeysWithValues: processors.map { ($0.number, $0.siblings) })
  }

  /// The node of a processor; nil if it is none of these.
  func node(of processor: Int) -> Int? {
    processors.first { $0.number == processor }?.node
  }

  /// The processors that are the first of their core.
  var firstOfEachCore: [Int] {
    processors.filter { earlierSiblings(of: $0).isEmpty }.map(\.number)
  }

  /// The processors that are the second of their core, or a later one.
  var laterOfEachCore: [Int] {
    processors.filter { !earlierSiblings(of: $0).isEmpty }.map(\.number)
  }

  private func earlierSiblings(of processor: Processor) -> [Int] {
    processor.siblings.filter { sibling in
      sibling < processor.number && processors.contains { $0.number == sibling }
    }
  }

  /// Moves the processors of a node to the front.
  func nearFirst(_ numbers: [Int], to node: Int?) -> [Int] {
    guard let node else { return numbers }
    return numbers.filter { self.node(of: $0) == node }
      + numbers.filter { self.node(of: $0) != node }
  }
}
