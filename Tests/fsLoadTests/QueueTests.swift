import Testing

@testable import fs_load

struct QueueTests {
  @Test("first in, first out, also when it grows in the middle of a turn")
  func order() {
    var queue = Queue<Int>(capacity: 3)
    var expected: [Int] = []
    for number in 0..<100 {
      queue.append(number)
      expected.append(number)
      if number % 3 == 2 { #expect(queue.removeFirst() == expected.removeFirst()) }
    }
    #expect(queue.count == expected.count)
    for number in expected { #expect(queue.removeFirst() == number) }
    #expect(queue.removeFirst() == nil)
  }
}
