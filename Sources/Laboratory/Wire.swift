import CLaboratory

/// The frames under way.
struct Wire {
  private struct Frame {
    var due: UInt64
    var number: UInt64
    var port: Int
    var bytes: [UInt8]

    func isBefore(_ other: Frame) -> Bool {
      due < other.due || due == other.due && number < other.number
    }
  }

  private let ports: [PacketPort]
  private var random: SplitMix
  /// A binary heap: the next to arrive is the first.
  private var heap: [Frame] = []
  private var number: UInt64 = 0
  private static let burst = 128

  init(ports: [PacketPort], seed: UInt64) {
    self.ports = ports
    random = SplitMix(state: seed)
  }

  /// Waits for a frame, or until one is due; 20 ms at most.
  func wait() {
    let now = MonotonicTime.nanoseconds
    let rest = heap.first.map { $0.due > now ? $0.due - now : 0 } ?? 20_000_000
    lab_wait(ports[0].descriptor, ports[1].descriptor, min(rest, 20_000_000))
  }

  mutating func receive(_ conditions: ImpairmentConditions, _ counters: inout Impairment.Counters) {
    for index in 0..<2 {
      for _ in 0..<Self.burst {
        guard let bytes = ports[index].receive() else { break }
        counters.received += 1
        decide(bytes, to: 1 - index, conditions, &counters)
      }
    }
  }

  private mutating func decide(
    _ bytes: [UInt8], to port: Int, _ conditions: ImpairmentConditions,
    _ counters: inout Impairment.Counters
  ) {
    if chance(conditions.loss) {
      counters.lost += 1
      return
    }
    var due = MonotonicTime.nanoseconds + conditions.delay * 1_000
    if chance(conditions.reordering) {
      counters.reordered += 1
      due += conditions.reorderingDelay * 1_000
    }
    push(bytes, port, due)
    if chance(conditions.duplication) {
      counters.duplicated += 1
      push(bytes, port, due)
    }
  }

  private mutating func chance(_ share: Double) -> Bool {
    share > 0 && Double.random(in: 0..<1, using: &random) < share
  }

  /// Sends what is due.
  mutating func send(_ counters: inout Impairment.Counters) {
    let now = MonotonicTime.nanoseconds
    while let first = heap.first, first.due <= now {
      if !ports[first.port].send(first.bytes) { counters.refused += 1 }
      removeFirst()
    }
  }

  private mutating func push(_ bytes: [UInt8], _ port: Int, _ due: UInt64) {
    number += 1
    heap.append(Frame(due: due, number: number, port: port, bytes: bytes))
    var child = heap.count - 1
    while child > 0, heap[child].isBefore(heap[(child - 1) / 2]) {
      heap.swapAt(child, (child - 1) / 2)
      child = (child - 1) / 2
    }
  }

  private mutating func removeFirst() {
    heap.swapAt(0, heap.count - 1)
    heap.removeLast()
    var parent = 0
    while true {
      var least = parent
      for child in [2 * parent + 1, 2 * parent + 2]
      where child < heap.count && heap[child].isBefore(heap[least]) {
        least = child
      }
      if least == parent { return }
      heap.swapAt(parent, least)
      parent = least
    }
  }
}
