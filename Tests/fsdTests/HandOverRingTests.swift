import Glibc
import Testing

@testable import fsd

private func push(_ ring: HandOverRing, _ bytes: [UInt8], interface: Int = 0) -> Bool {
  unsafe bytes.withUnsafeBytes { unsafe ring.push($0, interface: interface) }
}

@Suite struct HandOverRingTests {
  @Test func framesArriveInOrderWithTheirInterface() throws {
    let ring = try HandOverRing(frameSize: 64)
    #expect(ring.isEmpty)
    #expect(push(ring, [1], interface: 3))
    #expect(push(ring, [2, 2], interface: 4))
    var seen: [(bytes: [UInt8], interface: Int)] = []
    #expect(ring.drain(maximum: 64) { unsafe seen.append((Array($0), $1)) } == 2)
    #expect(seen.map(\.bytes) == [[1], [2, 2]])
    #expect(seen.map(\.interface) == [3, 4])
    #expect(ring.isEmpty)
    #expect(ring.drain(maximum: 64) { _, _ in } == 0)
  }

  @Test func fullRingAndLongFrameAreRefused() throws {
    let ring = try HandOverRing(frameSize: 64)
    #expect(!push(ring, [UInt8](repeating: 0, count: 65)))
    for _ in 0..<HandOverRing.capacity { #expect(push(ring, [7])) }
    #expect(!push(ring, [8]))
    #expect(ring.drain(maximum: 10) { _, _ in } == 10)
    #expect(push(ring, [9]))
  }

  @Test func twoThreadsKeepTheOrder() throws {
    let ring = try HandOverRing(frameSize: 64)
    let total: UInt32 = 200_000
    let producer = try PinnedThread(name: "producer", processor: 0) {
      var next: UInt32 = 0
      while next < total {
        let sent = unsafe withUnsafeBytes(of: next) { unsafe ring.push($0, interface: 1) }
        if sent { next += 1 } else { sched_yield() }
      }
    }
    var expected: UInt32 = 0
    var disorder = 0
    while expected < total {
      let count = ring.drain(maximum: 64) { frame, _ in
        if unsafe frame.loadUnaligned(as: UInt32.self) != expected { disorder += 1 }
        expected += 1
      }
      if count == 0 { sched_yield() }
    }
    producer.join()
    #expect(disorder == 0)
    #expect(ring.isEmpty)
  }
}
