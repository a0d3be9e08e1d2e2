import Glibc

/// On which processor the kernel works for each queue of an interface: where its interrupts go
/// (/proc/irq/N/smp_affinity_list), and which processors send through it (XPS).
public struct QueueAffinity {
  private let interface: String
  private let root: String

  /// Of an interface. `root` is put before /proc and /sys: tests have trees of other machines.
  public init(interface: String, root: String = "") {
    self.interface = interface
    self.root = root
  }

  /// What was bound.
  public struct Result: Equatable, Sendable {
    /// Interrupts.
    public var interrupts = 0
    /// Transmit queues.
    public var transmitQueues = 0
  }

  /// Binds the interrupts of each queue to the processor of its engine, and lets that processor send through
  /// the queue, recording what was before. What the kernel refuses stays as it is: some interrupts
  /// cannot be moved.
  public func bind(processors: [Int], journal: RestoreJournal) -> Result {
    var result = Result()
    for (interrupt, queue) in interrupts() where queue < processors.count {
      let path = "\(root)/proc/irq/\(interrupt)/smp_affinity_list"
      if replace(path, with: "\(processors[queue])", journal) { result.interrupts += 1 }
    }
    for (queue, processor) in processors.enumerated() {
      let path = "\(root)/sys/class/net/\(interface)/queues/tx-\(queue)/xps_cpus"
      if replace(path, with: Self.mask(processor), journal) { result.transmitQueues += 1 }
    }
    return result
  }

  private func replace(_ path: String, with line: String, _ journal: RestoreJournal) -> Bool {
    (try? journal.replaceFile(path, with: line)) != nil
  }

  /// One processor as the kernel writes a mask: hexadecimal, in groups of 32 bits.
  static func mask(_ processor: Int) -> String {
    let groups = processor / 32 + 1
    return (0..<groups).reversed().map { group in
      let digits = String(group == groups - 1 ? 1 << (processor % 32) : 0, radix: 16)
      return String(repeating: "0", count: 8 - digits.count) + digits
    }.joined(separator: ",")
  }

  /// The interrupts of the interface's queues: interrupt and queue.
  func interrupts() -> [(interrupt: Int, queue: Int)] {
    // A virtio device's interrupts are those of the PCI device above it.
    let device = "\(root)/sys/class/net/\(interface)/device"
    let numbers = Set(
      ["\(device)/msi_irqs", "\(device)/../msi_irqs"].lazy.map(Self.entries)
        .first { !$0.isEmpty }?.compactMap { Int($0) } ?? [])
    guard !numbers.isEmpty, let table = try? TextFile.read("\(root)/proc/interrupts") else {
      return []
    }
    var found: [(interrupt: Int, queue: Int)] = []
    for line in table.split(separator: "\n") {
      let words = line.split(separator: " ")
      guard let first = words.first, let last = words.last, first.hasSuffix(":"),
        let number = Int(first.dropLast()), numbers.contains(number),
        let queue = Self.queue(ofAction: String(last), interface: interface)
      else { continue }
      found.append((number, queue))
    }
    return found
  }

  /// The queue that an interrupt is for, by the name that its driver gives it: `eth0-TxRx-3`, `eth0-rx-3`,
  /// `mlx5_comp3@pci:0000:01:00.0`, `virtio0-input.3`. Nil: it is for something else.
  static func queue(ofAction action: String, interface: String) -> Int? {
    let name = String(action.prefix { $0 != "@" })
    guard name != interface, !name.contains("async"), !name.contains("config") else { return nil }
    let digits = name.reversed().prefix { $0.isNumber }
    let kind = name.dropLast(digits.count).lowercased()
    let kinds = ["txrx-", "rx-", "tx-", "comp", "input.", "output.", "fp-"]
    guard kinds.contains(where: kind.hasSuffix) else { return nil }
    return Int(String(digits.reversed()))
  }

  private static func entries(_ path: String) -> [String] {
    guard let directory = unsafe opendir(path) else { return [] }
    defer { unsafe closedir(directory) }
    var names: [String] = []
    while let entry = unsafe readdir(directory) {
      let name = unsafe withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
        unsafe String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
      }
      if !name.hasPrefix(".") { names.append(name) }
    }
    return names
  }
}
