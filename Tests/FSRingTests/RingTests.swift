import Synchronization
import Testing

@testable import FSRing

/// A ring of 32-bit numbers in ordinary memory, and both of its ends.
private final class TestRing {
  let capacity: UInt32
  let elements: UnsafeMutablePointer<UInt32>
  let producerIndex: SharedIndex
  let consumerIndex: SharedIndex
  var producer: RingProducer<UInt32>
  var consumer: RingConsumer<UInt32>

  init(capacity: UInt32) {
    self.capacity = capacity
    elements = .allocate(capacity: Int(capacity))
    producerIndex = .allocate(capacity: 1)
    consumerIndex = .allocate(capacity: 1)
    producerIndex.initialize(to: Atomic(0))
    consumerIndex.initialize(to: Atomic(0))
    producer = RingProducer(
      elements: elements, capacity: capacity, producerIndex: producerIndex,
      consumerIndex: consumerIndex)
    consumer = RingConsumer(
      elements: elements, capacity: capacity, producerIndex: producerIndex,
      consumerIndex: consumerIndex)
  }

  deinit {
    elements.deallocate()
    producerIndex.deallocate()
    consumerIndex.deallocate()
  }
}

@Suite struct RingTests {
  @Test func elementsArriveInOrderAcrossManyRounds() throws {
    let ring = TestRing(capacity: 64)
    var next: UInt32 = 0
    var expected: UInt32 = 0
    for round: UInt32 in 0..<1000 {
      let count = round % 65
      #expect((ring.producer.freeCount(atLeast: count) ?? 0) >= count)
      for _ in 0..<count {
        ring.producer.append(next)
        next += 1
      }
      #expect(ring.consumer.readyCount() == 0, "nothing shows before it is published")
      #expect(ring.producer.hasUnpublished == (count > 0))
      ring.producer.publish()
      let ready = try #require(ring.consumer.readyCount())
      #expect(ready == count)
      #expect(ring.producer.isDrained == (count == 0))
      for position in 0..<ready {
        #expect(ring.consumer.element(at: position) == expected)
        expected += 1
      }
      ring.consumer.release(ready)
      #expect(ring.producer.isDrained)
    }
    #expect(expected == next)
  }

  @Test func aFullRingHasNoRoomUntilSomethingIsReleased() {
    let ring = TestRing(capacity: 64)
    for number: UInt32 in 0..<64 { ring.producer.append(number) }
    ring.producer.publish()
    #expect(ring.producer.freeCount() == 0)
    ring.consumer.release(3)
    #expect(ring.producer.freeCount() == 3)
    #expect(ring.consumer.element(at: 0) == 3)
  }

  /// Whatever the other side writes into its index, no end believes more than is possible.
  @Test(arguments: [65, 1 << 31, UInt32.max] as [UInt32])
  func impossibleIndicesAreReported(_ index: UInt32) {
    let claims = TestRing(capacity: 64)
    claims.producerIndex.pointee.store(index, ordering: .releasing)
    #expect(claims.consumer.readyCount() == nil)

    let overtakes = TestRing(capacity: 64)
    for number: UInt32 in 0..<64 { overtakes.producer.append(number) }
    overtakes.producer.publish()
    overtakes.consumerIndex.pointee.store(index, ordering: .releasing)
    #expect(overtakes.producer.freeCount() == nil)
  }

  @Test func appendingToAFullRingTraps() async {
    await #expect(processExitsWith: .failure) {
      let ring = TestRing(capacity: 64)
      for number: UInt32 in 0...64 { ring.producer.append(number) }
    }
  }
}
