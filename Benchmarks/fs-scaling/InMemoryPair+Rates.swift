import CLaboratory
import Foundation
import Laboratory
import Synchronization

extension InMemoryPair {
  /// Connections a second of pairs that run at the same time, one on each of these processors, each by
  /// itself. The `others` count meanwhile: a processor whose neighbour is idle is another one.
  static func rates(on processors: [Int], besides others: [Int] = [], seconds: Double) -> [Double] {
    let ready = Atomic<Int>(0)
    let isOver = Atomic<Bool>(false)
    let counting = DispatchGroup()
    for processor in others {
      counting.enter()
      Thread {
        _ = lab_pin_to_core(Int32(processor))
        while !isOver.load(ordering: .relaxed) {}
        counting.leave()
      }.start()
    }
    let rates = Mutex([Int: Double]())
    let finished = DispatchGroup()
    for processor in processors {
      finished.enter()
      let thread = Thread {
        _ = lab_pin_to_core(Int32(processor))
        let pair = InMemoryPair(maximumTimeWait: 1 << 16)
        for _ in 0..<2000 { pair.shortConnection() }
        // All begin together.
        ready.add(1, ordering: .sequentiallyConsistent)
        while ready.load(ordering: .relaxed) < processors.count {}
        let began = MonotonicTime.now
        var count = 0
        while MonotonicTime.now - began < seconds {
          for _ in 0..<100 { pair.shortConnection() }
          count += 100
        }
        let rate = Double(count) / (MonotonicTime.now - began)
        rates.withLock { $0[processor] = rate }
        finished.leave()
      }
      thread.stackSize = 8 << 20
      thread.start()
    }
    finished.wait()
    isOver.store(true, ordering: .relaxed)
    counting.wait()
    return processors.map { processor in rates.withLock { $0[processor] ?? 0 } }
  }
}
