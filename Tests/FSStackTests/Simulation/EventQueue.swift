@testable import FSStack

/// What will happen, in order of time; what was entered first comes first among equals.
struct EventQueue<Event> {
  private struct Entry {
    var time: Instant
    var serial: UInt64
    var event: Event

    static func < (a: Self, b: Self) -> Bool {
      a.time == b.time ? a.serial < b.serial : a.time < b.time
    }
  }

  private var heap: [Entry] = []
  private var serial: UInt64 = 0

  var isEmpty: Bool { heap.isEmpty }
  var nextTime: Instant? { heap.first?.time }

  mutating func insert(_ event: Event, at time: Instant) {
    serial += 1
    heap.append(Entry(time: time, serial: serial, event: event))
    var child = heap.count - 1
    while child > 0, heap[child] < heap[(child - 1) / 2] {
      heap.swapAt(child, (child - 1) / 2)
      child = (child - 1) / 2
    }
  }

  /// Takes the first event if it is due.
  mutating func popFirst(by now: Instant) -> Event? {
    guard let first = heap.first, first.time <= now else { return nil }
    heap.swapAt(0, heap.count - 1)
    heap.removeLast()
    var parent = 0
    while true {
      var least = parent
      for child in [2 * parent + 1, 2 * parent + 2]
      where child < heap.count && heap[child] < heap[least] {
        least = child
      }
      if least == parent { return first.event }
      heap.swapAt(parent, least)
      parent = least
    }
  }
}
